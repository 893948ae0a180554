package scaler

import (
	"fmt"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

const (
	// youngDeath: a replica that dies this soon after it was ready, without
	// having answered anything, has failed to start all the same.
	youngDeath = 30 * time.Second
	// keepFailures is how many moments of failure are kept.
	keepFailures = 20
)

// spell is what one failed start has cost.
type spell struct {
	At      time.Time `json:"at"`
	Seconds float64   `json:"s"`
}

// startFailed counts a start that failed. Replicas of one scale call count
// once: they fail for one reason at one moment, and a pause for each of them
// would punish a burst more than a lone request.
func (s *service) startFailed(now time.Time, r *replica, why string) {
	if r.failed != "" {
		return
	}
	if why == "" {
		why = "ended without a word"
	}
	r.failed = why
	f := &s.failures
	if r.launch == nil || !r.launch.failed {
		f.InARow++
		f.Times = append(f.Times, now)
		f.Times = f.Times[max(0, len(f.Times)-keepFailures):]
	}
	if r.launch != nil {
		r.launch.failed = true
	}
	f.Last, f.Reason = now, why
	s.logs.told = ""
	if why == r.alloc.Failure {
		s.logs.told = r.alloc.ID
	}
	if began := r.placed; !began.IsZero() && now.After(began) {
		s.spells = append(s.spells, spell{At: now, Seconds: now.Sub(began).Seconds() * float64(s.gpus)})
	}
	s.log.Warn("start failed", "replica", r.alloc.ID, "reason", why, "in_a_row", f.InARow)
	s.finish(now, r, jobs.OutcomeFailed)
	s.changed, s.due, s.learned = true, true, true
}

// recentFailures is what the brake judges by.
func (s *service) recentFailures(now time.Time) decide.Failures {
	// What lies ahead of a clock that was set back counts from now on: the pause
	// after a failure would else begin anew at each look until that hour has come.
	wall := now.Round(0)
	if s.failures.Last.Round(0).After(wall) {
		s.failures.Last = wall
	}
	f := s.failures
	f.Seconds = 0
	kept := s.spells[:0]
	for _, sp := range s.spells {
		if sp.At.Round(0).After(wall) {
			sp.At = wall
		}
		if now.Sub(sp.At) <= time.Hour {
			kept = append(kept, sp)
			f.Seconds += sp.Seconds
		}
	}
	s.spells = kept
	return f
}

// judge decides what the end of a replica means: the end of its life, or a
// start that failed. A replica that has answered did start, whatever follows.
func (s *service) judge(now time.Time, r *replica) {
	young := !r.firstReady.IsZero() && r.ended(now).Sub(r.firstReady) <= youngDeath
	switch {
	case r.answer != nil:
	case r.intended(), r.replaced:
	case r.firstReady.IsZero(), young:
		s.startFailed(now, r, r.alloc.Failure)
	}
	if r.story {
		outcome := jobs.OutcomeUnused
		switch {
		case r.answer != nil:
			outcome = jobs.OutcomeAnswered
		case r.firstReady.IsZero() && !r.intended() && !r.replaced:
			outcome = jobs.OutcomeFailed
		}
		s.finish(now, r, outcome)
	}
}

// intended reports whether the replica ended because somebody wanted it to.
func (r *replica) intended() bool {
	if !r.stopAsked.IsZero() {
		return true
	}
	switch r.alloc.Client {
	case jobs.ClientFailed: // a fleet may mark it stop afterwards, when it replaces it
		return false
	case jobs.ClientLost: // its node went; that says nothing about the model
		return true
	default:
		return r.alloc.Desired != jobs.DesiredRun
	}
}

func (r *replica) ended(now time.Time) time.Time {
	if at := r.alloc.Finished; at.Before(now) && !at.Before(r.firstReady) {
		return at
	}
	return now // not told, or by a clock that is not ours
}

// overdue fails replicas that have not become ready within probe.max, or whose
// last log lines do not come, and returns when the next one will be.
func (s *service) overdue(now time.Time) (next time.Time) {
	next = s.logsOverdue(now)
	for _, r := range s.replicas {
		if !r.starts() || r.loading().IsZero() {
			continue
		}
		limit := r.loading().Add(s.policy.Probe.Max)
		if now.Before(limit) {
			next = earlier(next, limit)
			continue
		}
		why := r.why
		if why == "" {
			why = "no address"
		}
		s.startFailed(now, r, fmt.Sprintf("not ready within %v: %s", s.policy.Probe.Max, why))
	}
	return next
}

// earlier returns the earlier of two times; zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
