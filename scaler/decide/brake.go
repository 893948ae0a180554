package decide

import (
	"fmt"
	"time"
)

// Launch brake: replicas that die while loading do not buy GPUs for ever.
const (
	firstPause   = 30 * time.Second
	longestPause = 15 * time.Minute
	failedBudget = 30 * time.Minute // of GPU time in failed starts within an hour
	spentPause   = 24 * time.Hour
)

// Brake remembers that the budget of failed starts was spent, and when an
// operator's wake was seen whose stamp, by another clock, lay ahead of ours.
type Brake struct {
	Spent time.Time `json:"spent,omitzero"`
	Wake  time.Time `json:"wake,omitzero"` // that stamp; zero: the last wake had a stamp of the past
	Seen  time.Time `json:"seen,omitzero"` // when it was first seen
}

// braking is what the brake says now.
type braking struct {
	until     time.Time // no launch before; zero: launch
	maxStarts int       // at once; 0: no bound
	reason    string    // "2 starts failed in a row (exit status 1): next start at 12:00:30"
}

// pauseAfter is min(30 s·2^(f−1), 15 min) after f failures in a row.
func pauseAfter(f int) time.Duration {
	if f <= 0 {
		return 0
	}
	if f > 6 {
		return longestPause
	}
	return min(firstPause<<(f-1), longestPause)
}

// brake bounds launches after failures in a row: one start at a time, with
// growing pauses. More than 30 min of failed GPU time in an hour ends them
// until a replica answers (a new job version, Failures reset) or an operator
// wakes the service; once a day it is tried all the same. A wake by an operator
// after the last failure also ends a pause: one start is tried at once.
func (b *Brake) brake(now time.Time, f *Failures, wake time.Time) braking {
	wake = b.see(now, wake)
	if f.InARow <= 0 {
		b.Spent = time.Time{}
		return braking{}
	}
	r := braking{maxStarts: 1}
	last := f.Last
	if last.After(now) {
		last = now
	}
	woken := wake.After(last)
	switch spent := f.Seconds > failedBudget.Seconds(); {
	case woken:
		b.Spent = time.Time{}
	case b.Spent.IsZero() && spent:
		b.Spent = last
	case !b.Spent.IsZero() && !now.Before(b.Spent.Add(spentPause)):
		b.Spent = time.Time{}
	}
	if woken {
		r.reason = fmt.Sprintf("%s; one start is tried for the operator", failedStarts(f))
		return r
	}
	until := last.Add(pauseAfter(f.InARow))
	if !b.Spent.IsZero() {
		until = b.Spent.Add(spentPause)
	}
	if !now.Before(until) {
		r.reason = fmt.Sprintf("%s; one start at a time", failedStarts(f))
		return r
	}
	r.until = until
	r.reason = fmt.Sprintf("%s: next start at %s", failedStarts(f), until.UTC().Format("15:04:05"))
	if !b.Spent.IsZero() {
		r.reason = fmt.Sprintf("%s, %s of GPU time within an hour: no start until an operator wakes it or a new job version answers",
			failedStarts(f), short(time.Duration(f.Seconds)*time.Second))
	}
	return r
}

// see returns when a wake was given by our clock: what is seen has happened, so
// that a stamp ahead of now, by another clock, is the moment at which it was first
// seen. That is remembered until there is another wake: taken for now at every
// look, one wake would end every pause until its hour has come.
func (b *Brake) see(now, wake time.Time) time.Time {
	switch {
	case !b.Wake.IsZero() && wake.Equal(b.Wake):
		return b.Seen
	case wake.After(now):
		b.Wake, b.Seen = wake.Round(0).UTC(), now
		return now
	}
	b.Wake, b.Seen = time.Time{}, time.Time{}
	return wake
}

func failedStarts(f *Failures) string {
	what := "1 start failed"
	if f.InARow > 1 {
		what = fmt.Sprintf("%d starts failed in a row", f.InARow)
	}
	if f.Reason != "" {
		what += " (" + clip(f.Reason) + ")"
	}
	return what
}
