package decide

import "time"

const halfAround = 6 // bins to either side that say how surely a time of day is asked

// Plan says which times of day the budget of prewarming is for. A higher patience
// makes more of the day worth a prewarm than the budget can pay; spent as it comes,
// it would be gone in the evening, and nothing left for the morning that is asked
// on nearly every day. A prewarm brings the same at any time, and costs what it
// idles until somebody asks, so gain by cost is the order of how surely a time of
// day is asked, and the best use of the budget is to pay for the surest times
// first: a knapsack, and Least the price that its budget puts on all of them.
type Plan struct {
	Hour  int64 `json:"h"` // since 1970, that it was made in; it holds for that hour
	Least int   `json:"n"` // marks around a time of day that is paid for
}

// budget is how many GPU-seconds prewarming may take in 24 h, and has taken: a
// fifth of what the service used, and one prewarm a day in any case.
func (p *Prewarm) budget(now time.Time, one float64) (budget, spent float64) {
	hour := now.Unix() / 3600
	used := 0.0
	for _, h := range p.Hours {
		if h.within24(hour) {
			used, spent = used+h.Used, spent+h.Prewarm
		}
	}
	if p.Hour.within24(hour) {
		used, spent = used+p.Hour.Used, spent+p.Hour.Prewarm
	}
	return max(prewarmShare*used, one), spent
}

// around counts the marks of the last seven days within half an hour of a time of
// day: finer than the hits of one bin, and not so easily a matter of luck, so that
// what is paid for are stretches of the day, not single bins that each need a
// start.
func (p *Prewarm) around(at time.Time) (marks int) {
	day, first := binAt(at.Add(-halfAround * binSeconds * time.Second))
	for back := int64(1); back <= prewarmDays; back++ {
		of, bin := day-back, first
		for range 2 * halfAround {
			if marked, _ := p.marked(of, bin); marked {
				marks++
			}
			if bin++; bin == binsADay {
				of, bin = of+1, 0
			}
		}
	}
	return marks
}

// plan is Least for the day ahead: the smallest n that the budget can pay,
//
//	Σ idle(t)·(300 s, and 1.1·L where a stretch begins) ≤ budget   over t with around(t) ≥ n
//
// of the times of day whose chance is above the least that is worth a prewarm.
// idle(t) is the share of days on which nobody had asked within the keep-alive
// before: else the replica is there without a prewarm. The surest time is paid
// for even if the budget cannot carry all of it.
func (p *Prewarm) plan(now time.Time, budget, start float64, keep time.Duration, least float64) int {
	var sure [binsADay]int
	var idle [binsADay]float64
	n := 0
	for i := range binsADay {
		at := now.Add(time.Duration(i) * binSeconds * time.Second)
		chance, _, days := p.chance(at)
		if chance > least {
			idle[i] = float64(p.idleDays(at, keep)) / float64(days)
			sure[i] = p.around(at)
			n = max(n, sure[i])
		}
	}
	for ; n > 1; n-- {
		cost := 0.0
		for i := range binsADay {
			if sure[i] < n-1 {
				continue
			}
			cost += idle[i] * binSeconds
			if before := (i + binsADay - 1) % binsADay; sure[before] < n-1 {
				cost += idle[i] * prewarmLead * start
			}
		}
		if cost > budget {
			break
		}
	}
	return n
}

// idleDays is on how many of the last seven days nobody had asked for so long, or
// longer, by the end of a time of day's bin.
func (p *Prewarm) idleDays(at time.Time, keep time.Duration) (days int) {
	keep = min(keep, 24*time.Hour)
	day, last := binAt(at)
	for back := int64(1); back <= prewarmDays; back++ {
		asked, known := p.marked(day-back, last)
		if !known {
			continue
		}
		of, bin := day-back, last
		for k := time.Duration(0); !asked && k+binSeconds*time.Second <= keep; k += binSeconds * time.Second {
			if bin--; bin < 0 {
				of, bin = of-1, binsADay-1
			}
			asked, _ = p.marked(of, bin)
		}
		if !asked {
			days++
		}
	}
	return days
}
