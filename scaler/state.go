package scaler

import (
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// judgeState says in one word how the service stands, and why if it cannot run.
// When a replica will be ready is told only of one that is on its way.
func (s *service) judgeState(now time.Time, st *jobs.Status) {
	n := &st.Replicas
	o := s.obstacle(now)
	if o.kind != "" {
		st.Blocked = &o.why
	}
	switch {
	case s.setting.Operator.Paused:
		st.State = jobs.StatePaused
	case n.Ready > 0:
		st.State = jobs.StateReady
	case o.kind == kindStopped, o.kind == kindPurged, o.kind == kindPinned:
		// Nothing will come, however many wait: they must be told.
		st.State = jobs.StatePaused
	case s.cannotKind == kindInUse:
		st.State = jobs.StateBlocked // no try is due: those who ask are held until it is free
	case s.cannot != "":
		st.State = jobs.StateBlocked
		until := s.ensureAfter.UTC()
		if !until.After(now) { // a try is under way
			until = now.Add(s.ses.cfg.Tick).UTC()
		}
		st.BlockedUntil = &until
	case o.kind == kindStartFailed && s.hopeless():
		// Also when nothing is wanted any more, for those who waited were told:
		// the next one must be told too, until the pause is over.
		st.State = jobs.StateBlocked
		until := s.decision.BrakeUntil.UTC()
		st.BlockedUntil = &until
	case n.Wanted > 0 && o.kind != "" && o.kind != kindStartFailed && n.Starting == 0:
		st.State = jobs.StateBlocked
	case n.Wanted > 0:
		st.State = jobs.StateWaking
		if len(st.Coming) > 0 && st.Coming[0].Left != nil {
			st.ETA = &st.Coming[0].Left.P50
		}
	case len(s.replicas) > 0 || n.Pending > 0:
		st.State = jobs.StateDraining
	default:
		st.State = jobs.StateZero
	}
}

// pausedWhy says in a sentence who paused the service and why.
func (s *service) pausedWhy() string {
	cmd := s.setting.Pause()
	return "paused" + said(cmd.By, cmd.Reason)
}

// pinnedToZero says in a sentence who pinned the service to no replicas and
// why; "" if nobody did.
func (s *service) pinnedToZero() string {
	op := s.setting.InEffect()
	switch {
	case s.hand != nil && s.hand.Count > 0:
		return ""
	case s.hand != nil:
		return "count set to 0 by hand" + said("", s.hand.By)
	case op.Pinned == nil || *op.Pinned > 0:
		return ""
	}
	return "pinned to 0" + said(op.By, op.Reason)
}

// hopeless reports whether nothing is ready or may become so.
func (s *service) hopeless() bool {
	for _, r := range s.replicas {
		if r.phase == jobs.Ready || r.starts() || r.phase == jobs.Starting && !r.firstReady.IsZero() {
			return false
		}
	}
	return true
}
