package decide

import (
	"fmt"
	"strconv"
	"time"

	"github.com/pilotlight/pilotlight/policies"
)

// Window is the running window of a schedule, or its next one, so that cron is
// evaluated once a window and not at every look.
type Window struct {
	Of     uint32    `json:"of"`              // hash of the schedule: another one begins anew
	Since  int64     `json:"since"`           // it is the first to begin after this, unix seconds
	Begins time.Time `json:"begins,omitzero"` // zero: there is none
	From   string    `json:"from,omitempty"`  // what the clock of its zone shows then, for people
	Lasts  string    `json:"lasts,omitempty"` // how long its minimum lasts, in a sentence; "": not worked out
	Lead   float64   `json:"lead,omitempty"`  // L₉₀ with which that was worked out, seconds
}

// windowOf returns the first window of a schedule that is not over, from what
// was known before if that still says so (known), else worked out anew.
func windowOf(before []Window, s *policies.Schedule, now time.Time) (w Window, known bool) {
	after, of := now.Add(-s.For), windowHash(s)
	for _, w := range before {
		if w.Of == of && after.Unix() >= w.Since && (w.Begins.IsZero() || w.Begins.After(after)) {
			return w, true
		}
	}
	w = Window{Of: of, Since: after.Unix()}
	begins, ok := s.Next(after)
	if !ok {
		return w, false
	}
	w.Begins, w.From = begins, shown(begins, s)
	return w, false
}

func windowHash(s *policies.Schedule) uint32 {
	return digest(s.Name, s.Cron, s.Zone, s.For.String(), strconv.Itoa(s.Min))
}

// shown is what a clock in the schedule's zone shows at a moment.
func shown(at time.Time, s *policies.Schedule) string {
	if zone, err := time.LoadLocation(s.Zone); err == nil { // Next has found it
		at = at.In(zone)
	}
	return at.Format("Jan 2 15:04 MST")
}

// scheduled is what the schedules ask for now.
type scheduled struct {
	min    int
	of     int       // which schedule does
	change time.Time // when another answer is due; zero: never
	ended  int       // which schedule's end, since the look before, has lowered the minimum; -1: none's
	endsAt time.Time // that end
}

// schedules weighs the policy's schedules. A window counts from L₉₀ before it
// begins, so that its replicas are ready when it does; of those that count at
// once, the largest minimum does.
func (l *look) schedules() {
	var windows []Window
	l.sched.ended = -1
	lead := secondsOf(l.cold.p90)
	due := func(at time.Time) {
		if at.After(l.now) && (l.sched.change.IsZero() || at.Before(l.sched.change)) {
			l.sched.change = at
		}
	}
	same := len(l.mem.Schedules) == len(l.p.Schedules)
	for i := range l.p.Schedules {
		s := &l.p.Schedules[i]
		w, known := windowOf(l.mem.Schedules, s, l.now)
		same = same && known
		windows = append(windows, w)
		if !known {
			l.ends(i, lead)
		}
		if w.Begins.IsZero() {
			continue
		}
		due(w.Begins.Add(-lead))
		due(w.Begins)
		due(w.Begins.Add(s.For))
		if !l.now.Before(w.Begins.Add(-lead)) && s.Min > l.sched.min {
			l.sched.min, l.sched.of = s.Min, i
		}
	}
	for i := range windows {
		if !same { // how long a minimum lasts may depend on each of them
			windows[i].Lasts = ""
		}
	}
	l.mem.Schedules = windows
	l.min = max(l.p.Replicas.Min, l.sched.min)
}

// ends notes the end of a window that counted at the look before. Of several the
// largest minimum is the one that has held the count.
func (l *look) ends(i int, lead time.Duration) {
	s := &l.p.Schedules[i]
	if l.sched.ended >= 0 && s.Min <= l.p.Schedules[l.sched.ended].Min {
		return
	}
	of := windowHash(s)
	for _, w := range l.mem.Schedules {
		end := w.Begins.Add(s.For)
		if w.Of == of && !w.Begins.IsZero() && !l.mem.At.Before(w.Begins.Add(-lead)) && end.After(l.mem.At) && !end.After(l.now) {
			l.sched.ended, l.sched.endsAt = i, end
		}
	}
}

// sayEnd begins the reason of a step down that a schedule has held back until it
// ended, just now, with that end.
func (l *look) sayEnd() {
	if l.sched.ended < 0 || l.to >= l.count {
		return
	}
	if s := &l.p.Schedules[l.sched.ended]; l.to < s.Min {
		l.reason = fmt.Sprintf("schedule %q ended at %s; %s", s.Name, shown(l.sched.endsAt, s), l.reason)
	}
}

// minimum says what asks for the lowest count that may be.
func (l *look) minimum(n int) (int, string, string) {
	if l.sched.min <= l.p.Replicas.Min {
		return n, "min", fmt.Sprintf("min is %d", n)
	}
	s, w := &l.p.Schedules[l.sched.of], &l.mem.Schedules[l.sched.of]
	if l.now.Before(w.Begins) {
		return n, "schedule", fmt.Sprintf("schedule %q begins at %s: %s ready by then", s.Name, w.From, plural(n, "replica"))
	}
	if w.Lasts == "" || w.Lead != l.cold.p90 {
		w.Lasts, w.Lead = l.lasts(l.sched.of), l.cold.p90 // of a slice of this look's own
	}
	return n, "schedule", w.Lasts
}

// mostWindows bounds how many windows are looked at that follow one another.
const mostWindows = 32

// lasts says until when the minimum of a running window lasts. That may be later
// than its end: windows of the same or a larger minimum may follow without a gap,
// or with one that is shorter than their replicas take to start.
func (l *look) lasts(i int) string {
	first, lead := &l.p.Schedules[i], secondsOf(l.cold.p90)
	begins := make([]time.Time, len(l.p.Schedules))
	for j := range begins {
		begins[j] = l.mem.Schedules[j].Begins
	}
	last, until, more := i, begins[i].Add(first.For), true
	for n := 0; n < mostWindows && more; n++ {
		end := until
		more = false
		for j := range begins {
			s, ok := &l.p.Schedules[j], !begins[j].IsZero()
			if s.Min < first.Min || !ok {
				continue
			}
			if !begins[j].Add(s.For).After(end) { // over by then: the next one
				if begins[j], ok = s.Next(end.Add(-s.For)); !ok {
					continue
				}
			}
			if over := begins[j].Add(s.For); !begins[j].Add(-lead).After(end) && over.After(until) {
				last, until, more = j, over, true
			}
		}
	}
	say := fmt.Sprintf("schedule %q", first.Name)
	if last != i {
		say += fmt.Sprintf(", then %q", l.p.Schedules[last].Name)
	}
	say += fmt.Sprintf(": at least %d until %s", first.Min, shown(until, &l.p.Schedules[last]))
	if more {
		say += " or later"
	}
	return say
}
