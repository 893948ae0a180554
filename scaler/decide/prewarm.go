package decide

import (
	"fmt"
	"slices"
	"time"
)

const (
	binSeconds     = 300 // of the day, one mark each: was there any demand
	binsADay       = 24 * 3600 / binSeconds
	prewarmDays    = 7
	prewarmSlack   = 600.0 // Δ, seconds: a hit is a demand within two bins
	prewarmLead    = 1.1   // of a cold start
	fewestDays     = 2
	prewarmShare   = 0.2 // of the GPU-seconds of 24 h that prewarming may take
	prewarmsJudged = 20  // in the account
	prewarmOff     = 24 * time.Hour
)

const rulePrewarm = "prewarm"

// Prewarm remembers at what times of day a service is asked, and what starting
// ahead of that has brought.
type Prewarm struct {
	Days  []Day     `json:"days,omitempty"`  // at most 9, oldest first; marks are never written again
	Hours []Hour    `json:"hours,omitempty"` // of the last 24 h but the last one, oldest first; never written again
	Hour  Hour      `json:"hour,omitzero"`   // the last one
	Gains []float64 `json:"gains,omitempty"` // of the last prewarms, GPU-seconds, oldest first
	Off   time.Time `json:"off,omitzero"`    // it loses money: not before then
	Since time.Time `json:"since,omitzero"`  // the running one began; zero: none runs
	Spent float64   `json:"spent,omitempty"` // by the running one, GPU-seconds
	Plan  Plan      `json:"plan,omitzero"`   // which times of day the budget is for
}

// Day has the marks of one day, UTC.
type Day struct {
	Day   int64  `json:"d"` // since 1970
	From  int    `json:"f"` // bin of its first look: what was before is not known
	Marks []byte `json:"m"` // a bit for each bin
}

// Hour counts GPU-seconds.
type Hour struct {
	Hour    int64   `json:"h"` // since 1970
	Used    float64 `json:"u"`
	Prewarm float64 `json:"p,omitempty"` // of Used, for which only prewarming had a reason
}

func binAt(t time.Time) (day int64, bin int) {
	u := t.Unix()
	return u / (24 * 3600), int(u % (24 * 3600) / binSeconds)
}

// seen notes a look, and a mark if somebody asked at that moment.
func (p *Prewarm) seen(at time.Time, asked bool) {
	day, bin := binAt(at)
	i := len(p.Days) - 1
	for i >= 0 && p.Days[i].Day != day {
		i--
	}
	if i < 0 {
		if n := len(p.Days); n > 0 && day < p.Days[n-1].Day { // demand of before the first look of a day
			return
		}
		days := slices.Clip(p.Days[max(0, len(p.Days)-prewarmDays-1):])
		p.Days = append(days, Day{Day: day, From: bin, Marks: make([]byte, binsADay/8)})
		i = len(p.Days) - 1
	}
	if asked && p.Days[i].Marks[bin/8]&(1<<(bin%8)) == 0 {
		p.Days = slices.Clone(p.Days)
		d := &p.Days[i]
		d.Marks = slices.Clone(d.Marks)
		d.Marks[bin/8] |= 1 << (bin % 8)
	}
}

// setBack is what is remembered after a clock was set back. Days that have not come
// yet are forgotten: no other could be noted before they have.
func (p Prewarm) setBack(now time.Time) Prewarm {
	today, _ := binAt(now)
	p.Days = slices.DeleteFunc(slices.Clone(p.Days), func(d Day) bool { return d.Day > today })
	return p
}

// marked reports whether there was demand in a bin, and whether that is known.
func (p *Prewarm) marked(day int64, bin int) (marked, known bool) {
	for i := range p.Days {
		if d := &p.Days[i]; d.Day == day && bin >= d.From && len(d.Marks) == binsADay/8 {
			return d.Marks[bin/8]&(1<<(bin%8)) != 0, true
		}
	}
	return false, false
}

// chance is p, how probable demand within two bins from a moment on is:
// hits/(days + 2) over the last seven days. The two days too many are the doubt
// without which it kept GPUs on most of the day.
//
// Days are those of UTC, in any zone: only moments a whole number of days apart
// are compared, wherever a day begins. Weekdays are not told from weekends, which
// earned nothing on weeks of traces; and a change to summer time is learned in days.
func (p *Prewarm) chance(at time.Time) (chance float64, hits, days int) {
	day, bin := binAt(at)
	for back := int64(1); back <= prewarmDays; back++ {
		first, known := p.marked(day-back, bin)
		if !known {
			continue
		}
		next, after := day-back, bin+1
		if after == binsADay {
			next, after = next+1, 0
		}
		second, _ := p.marked(next, after)
		days++
		if first || second {
			hits++
		}
	}
	if days < fewestDays {
		return 0, hits, days
	}
	return float64(hits) / float64(days+2), hits, days
}

// uses adds GPU-seconds to the account of an hour.
func (p *Prewarm) uses(now time.Time, gpuSeconds float64, prewarming bool) {
	if gpuSeconds <= 0 {
		return
	}
	if hour := now.Unix() / 3600; p.Hour.Hour != hour {
		p.turn(hour)
	}
	p.Hour.Used += gpuSeconds
	if prewarming {
		p.Hour.Prewarm += gpuSeconds
		p.Spent += gpuSeconds
	}
}

// turn goes on with the account of an hour, and forgets those a day before it or
// ahead of it.
func (p *Prewarm) turn(hour int64) {
	last := Hour{Hour: hour}
	hours := make([]Hour, 0, len(p.Hours)+1)
	for _, h := range append(slices.Clip(p.Hours), p.Hour) {
		switch {
		case h.Hour == hour: // an earlier version kept it with the others; or the clock was set back
			last = h
		case h.within24(hour):
			hours = append(hours, h)
		}
	}
	p.Hours, p.Hour = hours, last
}

// within24 reports whether the hour is one of the 24 that end with another.
func (h Hour) within24(hour int64) bool { return h.Hour > hour-24 && h.Hour <= hour }

// ended closes the account of the running prewarm with what it has brought.
func (p *Prewarm) ended(now time.Time, gain float64) {
	gains := append(slices.Clip(p.Gains[max(0, len(p.Gains)-prewarmsJudged+1):]), gain)
	p.Gains, p.Since, p.Spent = gains, time.Time{}, 0
	if sum := sumOf(gains); len(gains) == prewarmsJudged && sum < 0 {
		p.Gains, p.Off = nil, now.Add(prewarmOff)
	}
}

func sumOf(list []float64) (sum float64) {
	for _, v := range list {
		sum += v
	}
	return sum
}

// accountPrewarm books the time since the look before, and judges a prewarm that
// has met demand: with the share f of the cold start that it saved,
//
//	gain = f·(θ·W + L) − what it spent
func (l *look) accountPrewarm() {
	p, since := &l.mem.Prewarm, l.mem.At
	if l.snap.Known {
		p.seen(l.now, l.demand > 0)
	}
	running := l.mem.Rule == rulePrewarm && !p.Since.IsZero()
	if dt := l.now.Sub(since); !since.IsZero() && dt > 0 && dt <= 2*longestRest {
		p.uses(l.now, dt.Seconds()*float64(l.n0), running)
	}
	switch {
	case running && l.asked():
		saved := 1.0
		if l.ready == 0 {
			saved = min(1, l.now.Sub(p.Since).Seconds()/l.cold.p50)
		}
		p.ended(l.now, saved*(l.theta*l.wakeWait()+l.cold.p50)-p.Spent)
	case !running:
		p.Since, p.Spent = time.Time{}, 0 // something else took over
	}
}

// wakeWait is W of a wake now.
func (l *look) wakeWait() float64 {
	return wakeWait(l.cold.p50, l.mem.Wake.arrivals(), 1/l.meanS, l.concurrency())
}

// prewarms is a floor of one replica ahead of demand at this time of day:
//
//	p·θ·W > (1 − p)·(L + Δ) + p·Δ/2
//
// It starts the day, and carries a replica over a gap that history says will
// end. A budget, planned for the surest times of day, and its own account bound
// what that may cost. keep is τ₁, the keep-alive after a demand.
func (l *look) prewarms(keep time.Duration) (floor bool, reason string) {
	p := &l.mem.Prewarm
	z := &l.p.ToZero
	running := !p.Since.IsZero()
	if !z.Prewarm || z.Mode != zeroAuto || l.asked() || l.now.Before(p.Off) {
		return false, ""
	}
	start := l.cold.p50
	at := l.now.Add(secondsOf(prewarmLead * start))
	chance, hits, days := p.chance(at)
	if hits == 0 {
		return false, ""
	}
	w := l.wakeWait()
	l.inputs.set("p", chance)
	l.inputs.set("W", w)
	one := start + prewarmSlack
	least := one / (l.theta*w + one - prewarmSlack/2) // of p, by the same rule
	if !(chance > least) {
		return false, ""
	}
	more := one
	if running {
		more = 0
	}
	budget, spent := p.budget(l.now, one)
	if spent+more > budget {
		return false, ""
	}
	if hour := l.now.Unix() / 3600; p.Plan.Hour != hour {
		p.Plan = Plan{Hour: hour, Least: p.plan(l.now, budget, start, keep, least)}
	}
	if p.around(at) < p.Plan.Least {
		return false, ""
	}
	_, bin := binAt(at)
	from := time.Unix(int64(bin)*binSeconds, 0).UTC()
	return true, fmt.Sprintf("asked between %s and %s UTC on %d of %d days: one replica ahead",
		from.Format("15:04"), from.Add(secondsOf(prewarmSlack)).Format("15:04"), hits, days)
}

// prewarming follows what the decision came to: a prewarm begins when the floor
// alone keeps a replica, and has lost what it spent if it ends without demand.
func (l *look) prewarming() {
	p := &l.mem.Prewarm
	switch now := l.rule == rulePrewarm; {
	case now && p.Since.IsZero():
		p.Since, p.Spent = l.now, 0
	case !now && !p.Since.IsZero() && l.mem.Rule == rulePrewarm && !l.asked():
		p.ended(l.now, -p.Spent)
	}
}
