package decide

import (
	"fmt"
	"time"

	"github.com/pilotlight/pilotlight/policies"
)

// Window is the running window of a schedule, or its next one, so that cron is
// evaluated once a window and not at every look.
type Window struct {
	Of     uint32    `json:"of"`              // hash of cron, zone and length: another one begins anew
	Since  int64     `json:"since"`           // it is the first to begin after this, unix seconds
	Begins time.Time `json:"begins,omitzero"` // zero: there is none
	From   string    `json:"from,omitempty"`  // what the clock of its zone shows then, for people
	Until  string    `json:"until,omitempty"` // and at its end
}

// windowOf returns the first window of a schedule that is not over, from what
// was known before if that still says so.
func windowOf(known []Window, s *policies.Schedule, now time.Time) Window {
	after, of := now.Add(-s.For), digest(s.Cron, s.Zone, s.For.String())
	for _, w := range known {
		if w.Of == of && after.Unix() >= w.Since && (w.Begins.IsZero() || w.Begins.After(after)) {
			return w
		}
	}
	w := Window{Of: of, Since: after.Unix()}
	begins, ok := s.Next(after)
	zone, err := time.LoadLocation(s.Zone)
	if !ok || err != nil {
		return w
	}
	const clock = "Jan 2 15:04 MST"
	w.Begins, w.From, w.Until = begins, begins.In(zone).Format(clock), begins.Add(s.For).In(zone).Format(clock)
	return w
}

// scheduled is what the schedules ask for now.
type scheduled struct {
	min    int
	name   string    // of the schedule that does
	window Window    // its running one, or the next
	change time.Time // when another answer is due; zero: never
}

// schedules weighs the policy's schedules. A window counts from L₉₀ before it
// begins, so that its replicas are ready when it does; of those that count at
// once, the largest minimum does.
func (l *look) schedules() {
	var windows []Window
	lead := secondsOf(l.cold.p90)
	due := func(at time.Time) {
		if at.After(l.now) && (l.sched.change.IsZero() || at.Before(l.sched.change)) {
			l.sched.change = at
		}
	}
	for i := range l.p.Schedules {
		s := &l.p.Schedules[i]
		w := windowOf(l.mem.Schedules, s, l.now)
		windows = append(windows, w)
		if w.Begins.IsZero() {
			continue
		}
		due(w.Begins.Add(-lead))
		due(w.Begins)
		due(w.Begins.Add(s.For))
		if !l.now.Before(w.Begins.Add(-lead)) && s.Min > l.sched.min {
			l.sched.min, l.sched.name, l.sched.window = s.Min, s.Name, w
		}
	}
	l.mem.Schedules = windows
	l.min = max(l.p.Replicas.Min, l.sched.min)
}

// minimum says what asks for the lowest count that may be.
func (l *look) minimum(n int) (int, string, string) {
	switch s := &l.sched; {
	case s.min <= l.p.Replicas.Min:
		return n, "min", fmt.Sprintf("min is %d", n)
	case l.now.Before(s.window.Begins):
		return n, "schedule", fmt.Sprintf("schedule %q begins at %s: %s ready by then", s.name, s.window.From, plural(n, "replica"))
	default:
		return n, "schedule", fmt.Sprintf("schedule %q: at least %d until %s", s.name, s.min, s.window.Until)
	}
}
