package scaler

import (
	"errors"
	"fmt"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// Kinds of what keeps a service from having the replicas it should have. They
// are the values of a metric's label.
const (
	kindStopped     = ruleStopped         // somebody stopped the job
	kindPurged      = rulePurged          // somebody purged it
	kindPaused      = "paused"            // by an operator
	kindPinned      = "pinned"            // to no replicas
	kindCannot      = "cannot-run"        // the job cannot be registered
	kindInUse       = "job-in-use"        // another service has not left the job yet
	kindStartFailed = "start-failed"      // the launch brake holds
	kindNoCapacity  = "no-capacity"       // the fleet cannot place
	kindDeployment  = "deployment"        // one is in the way
	kindDenied      = "permission-denied" // the fleet does not let us
	kindUnreachable = "fleet-unreachable" // it cannot be asked or heard
	kindRefused     = "refused"           // it refused a scale call otherwise
)

var kinds = []string{
	kindStopped, kindPurged, kindPaused, kindPinned, kindCannot, kindInUse, kindStartFailed,
	kindNoCapacity, kindDeployment, kindDenied, kindUnreachable, kindRefused,
}

// obstacle is what keeps a service from having replicas, in a sentence; the zero
// obstacle is nothing.
type obstacle struct{ kind, why string }

// obstacle returns what is in the way now, the cause that an operator must deal
// with first.
func (s *service) obstacle(now time.Time) obstacle {
	ready := s.ready()
	short := s.decision.To > ready
	empty := len(s.replicas) == 0 && s.unplaced() == 0
	switch op := &s.setting.Operator; {
	case s.out != nil:
		return obstacle{s.out.Rule, s.outWhy()}
	case op.Paused && ready == 0:
		return obstacle{kindPaused, s.pausedWhy()}
	case empty && s.pinnedToZero() != "":
		return obstacle{kindPinned, s.pinnedToZero()}
	case s.cannot != "":
		return obstacle{s.cannotKind, s.cannot}
	case s.decision.BrakeUntil.After(now):
		return obstacle{kindStartFailed, s.failures.Reason}
	case short && s.seen.Blocked != "":
		return obstacle{kindNoCapacity, s.seen.Blocked}
	case s.blind != nil:
		return obstacle{kindOf(s.blind, kindUnreachable), s.blind.Error()}
	case s.refused.kind != "":
		return s.refused
	case short && s.silent:
		return obstacle{kindUnreachable, s.silentWhy()}
	}
	return obstacle{}
}

// kindOf is the kind of an error of the fleet.
func kindOf(err error, otherwise string) string {
	var deployment *jobs.DeploymentError
	switch {
	case errors.Is(err, jobs.ErrDenied):
		return kindDenied
	case errors.As(err, &deployment):
		return kindDeployment
	}
	return otherwise
}

// ready is how many replicas have slots.
func (s *service) ready() (n int) {
	for _, r := range s.replicas {
		if r.phase == jobs.Ready {
			n++
		}
	}
	return n
}

const (
	blockedFor = time.Second // how long something must be in the way before it is told
	toldAgain  = 10 * time.Second
)

// toldBlock is the last obstacle of which a decision was stored.
type toldBlock struct {
	obstacle
	at time.Time
}

// tellBlocked stores a decision when something comes into the way of what is
// wanted, or becomes something else, and leaves a note with the fleet if
// somebody waits for the first replica: then whoever looks there sees why. What
// is nobody's but an operator's will has a decision of its own. It returns when
// it wants to be called again.
func (s *service) tellBlocked(now time.Time) (again time.Time) {
	o, ready := s.obstacle(now), s.ready()
	switch o.kind {
	case "", kindStopped, kindPurged, kindPaused, kindPinned, kindCannot:
		o = obstacle{}
	}
	if o.kind == "" || s.decision.To <= ready || s.leaving {
		s.inWay = ""
		return time.Time{}
	}
	if o.kind != s.inWay {
		s.inWay, s.inWayAt = o.kind, now
	}
	due := s.inWayAt.Add(blockedFor)
	if s.blocked.kind == o.kind {
		if s.blocked.why == o.why && !s.blocked.at.Before(s.inWayAt) {
			return time.Time{}
		}
		due = later(due, s.blocked.at.Add(ruleEvery)) // figures in it may change all the time
	} else if !s.blocked.at.IsZero() {
		due = later(due, s.blocked.at.Add(toldAgain))
	}
	if now.Before(due) {
		return due
	}
	s.blocked = toldBlock{o, now}
	wanted := s.decision.To
	s.entry.Decisions = append(s.entry.Decisions, s.event(now, "blocked",
		fmt.Sprintf("%d of %d replicas ready: %s", ready, wanted, o.why), map[string]any{"blocked": o.kind, "r": ready}))
	s.changed = true
	s.log.Warn("blocked", "wanted", wanted, "ready", ready, "reason", o.why)
	if ready == 0 && o.kind != kindDenied && o.kind != kindUnreachable {
		s.note(now, o)
	}
	return time.Time{}
}

// note leaves a remark with the fleet; that it fails harms nobody.
func (s *service) note(now time.Time, o obstacle) {
	t := s.ses.acting()
	if t == nil {
		return
	}
	ref, text := s.ref, fmt.Sprintf("cannot wake %s: %s", s.name, o.why)
	meta := map[string]string{"service": s.name, "rule": "blocked", "blocked": o.kind}
	s.call(&s.notes, now, func() func(time.Time) {
		err := s.ses.cfg.Fleet.Note(t.ctx, ref, text, meta)
		return func(time.Time) {
			if err != nil && s.ctx.Err() == nil {
				s.log.Debug("cannot leave a note with the fleet", "err", err)
			}
		}
	})
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
