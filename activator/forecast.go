package activator

import (
	"fmt"
	"math"
	"time"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/eta"
)

// undecided is how long a request may wait for a launch that has not begun until it
// is not expected any more: a decision takes milliseconds.
const undecided = 5 * time.Second

// forecast says where a request stands on its way and how many seconds are left
// until it is sent to a replica; nil is unknown.
func (a *Activator) forecast(e queue.Entry) (phase string, seconds *float64) {
	if e.State != queue.StateHeld {
		return "running", nil
	}
	rt := a.routes.Load()
	if rt == nil || rt.services[e.Service] == nil {
		return jobs.PhaseDecide, nil
	}
	s, now := rt.services[e.Service], time.Now()
	st, _ := a.cfg.Statuses.Status(s.name)
	o := a.outlook(s, st, now)
	if phase = PhaseOf(st); o.Slots > 0 {
		phase = jobs.PhaseReady
	}
	if phase != jobs.PhaseDecide || now.Sub(e.At) < undecided {
		o = launching(s, st, o)
	}
	return phase, tenths(o.Wait(e.Position))
}

// newcomer is how many seconds a request would wait that came now; nil is unknown.
func (a *Activator) newcomer(s *service) *float64 {
	st, _ := a.cfg.Statuses.Status(s.name)
	o := launching(s, st, a.outlook(s, st, time.Now()))
	return tenths(o.Wait(a.held(s, st) + 1))
}

// outlook is what requests of a service wait for. Which slots there are this
// activator knows before the scaler has told anybody.
func (a *Activator) outlook(s *service, st jobs.Status, now time.Time) eta.Outlook {
	o := eta.Read(st, now)
	slots := 0
	for _, offer := range a.cfg.Queue.Offers(s.name) {
		slots += offer.Slots
	}
	if slots > 0 {
		o.Slots, o.Free = slots, max(0, slots-max(st.Demand.InFlight, int(s.inFlight.Load())))
	}
	return o
}

// launching is the outlook of somebody whose waiting wakes the service.
func launching(s *service, st jobs.Status, o eta.Outlook) eta.Outlook {
	switch st.State {
	case jobs.StateZero, jobs.StateWaking:
		return o.Launching(s.policy.Replicas.Concurrency, st.Start)
	}
	return o
}

// held is how many requests wait for a service: those of all activators as the
// scaler has told, or those of this one if they are more.
func (a *Activator) held(s *service, st jobs.Status) int {
	return max(st.Demand.Held, int(s.entered.Load()-s.left.Load()))
}

// HopelessError says that a deadline cannot be met any more: the service is on its
// way, but even the fastest tenth of its past starts, and a queue that drains twice
// as fast as usual, would be too late.
type HopelessError struct {
	Soonest float64  // seconds
	ETA     *float64 // seconds; nil: unknown
}

func (e *HopelessError) Error() string {
	expected := ""
	if e.ETA != nil {
		expected = fmt.Sprintf("a slot is expected in about %.0f s, and ", math.Ceil(*e.ETA))
	}
	return fmt.Sprintf("it cannot be met any more: %shardly ever in less than %.0f s", expected, math.Ceil(e.Soonest))
}

// Unwrap makes it ErrDeadline: for everything but words it has passed.
func (e *HopelessError) Unwrap() error { return ErrDeadline }

// inTime returns a *HopelessError if the deadline of a request at a place of the
// queue is past hope. While nothing is on its way nobody is past hope: whoever
// waits is what launches it.
func (a *Activator) inTime(s *service, deadline time.Time, position int) error {
	st, known := a.cfg.Statuses.Status(s.name)
	if !known {
		return nil
	}
	now := time.Now()
	o := a.outlook(s, st, now)
	if o.Slots == 0 && len(o.Coming) == 0 {
		return nil
	}
	replicas := max(st.Replicas.Ready, len(a.cfg.Queue.Offers(s.name))) + len(o.Coming)
	soonest := o.Soonest(position, max(0, s.policy.Replicas.Max-replicas), s.policy.Replicas.Concurrency, st.Start)
	if soonest == nil || !deadline.Before(after(now, *soonest)) {
		return nil
	}
	s.promise(now, o.Latest(position))
	return &HopelessError{Soonest: *soonest, ETA: tenths(o.Wait(position))}
}

// giveUp ends the waits for a service that is on its way, but too late for them.
func (a *Activator) giveUp(name string, st jobs.Status) {
	rt := a.routes.Load()
	if rt == nil || rt.services[name] == nil {
		return
	}
	s, now := rt.services[name], time.Now()
	o := a.outlook(s, st, now)
	soonest := o.Soonest(1, 0, 0, nil)
	if soonest == nil || *soonest == 0 {
		return
	}
	err := &HopelessError{Soonest: *soonest, ETA: tenths(o.Wait(1))}
	ended := a.cfg.Queue.FailBefore(name, after(now, *soonest), err)
	if a.waiting.failBefore(name, after(now, *soonest), err)+ended > 0 {
		s.promise(now, o.Latest(1))
	}
}

// promise remembers that somebody was told when to come back. Until then they are
// demand, though they do not wait here: the start must not be given up meanwhile.
func (s *service) promise(now time.Time, latest *float64) {
	if latest == nil {
		return
	}
	until := after(now, min(*latest, s.policy.Hold.MaxWait.Seconds())).UnixNano()
	for {
		before := s.promised.Load()
		if until <= before || s.promised.CompareAndSwap(before, until) {
			return
		}
	}
}

func after(t time.Time, seconds float64) time.Time {
	return t.Add(time.Duration(min(seconds, math.MaxInt32) * float64(time.Second)))
}

// tenths of seconds are as exact as an estimate is.
func tenths(seconds *float64) *float64 {
	if seconds == nil {
		return nil
	}
	rounded := math.Round(*seconds*10) / 10
	return &rounded
}

// PhaseOf says how far a cold start has come for those who wait for it, in the
// names of its phases: ready while replicas are there and all their slots are out.
func PhaseOf(st jobs.Status) string {
	switch {
	case st.Replicas.Ready > 0:
		return jobs.PhaseReady
	case len(st.Coming) > 0:
		return st.Coming[0].Phase
	}
	return jobs.PhaseDecide
}
