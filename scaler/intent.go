package scaler

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/history"
)

// ruleReversed is of decisions that tell of an intent that was taken back.
const ruleReversed = "reversed"

// ruleInherited is of decisions that tell of a scale call whose scaler did not live
// to store the decision that it carried out: that is written last, the intent first.
const ruleInherited = "inherited"

// ruleEnded is of decisions that tell that a scaler found nothing running of what
// the one before it wanted.
const ruleEnded = "ended"

// inherit takes over what an earlier scaler was about to do. A scale call of it
// may still be on its way: the process may only have been stopped.
func (s *service) inherit(now time.Time, left *history.Intent) {
	if left == nil || !sameGroup(left.Ref, s.ref) {
		return
	}
	s.left = left
	if n := left.To - left.From; left.Called && n > 0 && now.Sub(left.At) < s.policy.Probe.Max {
		s.launch = &launch{
			Decided: left.At, Sent: left.At, Hold: left.Hold, Waiting: left.Waiting,
			Reason: left.Reason, Wake: left.From == 0, unclaimed: n,
		}
	}
	if left.Called && s.memory.At.Before(left.At) && !s.leadsTo(left) {
		d := s.event(left.At, ruleInherited, "by an earlier scaler, which did not live to store its decision: "+left.Reason,
			map[string]any{"victims": ids(left.Victims), "epoch": left.Epoch})
		d.From, d.To = left.From, left.To
		s.entry.Decisions = append(s.entry.Decisions, d)
		s.memory.Wanted = left.To // or the next decision would set it back, and tell of no change
		s.changed = true
	}
	s.log.Info("an earlier scaler was about to scale", "from", left.From, "to", left.To,
		"called", left.Called, "victims", len(left.Victims), "reason", left.Reason)
}

// leadsTo reports whether an earlier scaler's call is a step, or the last one, of
// the way to what it last stored that it wanted: that decision explains it.
func (s *service) leadsTo(left *history.Intent) bool {
	if left.To < left.From {
		return s.memory.Wanted <= left.To
	}
	return s.memory.Wanted >= left.To
}

// tellEmptied stores that nothing is left of what an earlier scaler wanted, for no
// decision says so: child processes end with their scaler, whatever it wanted.
func (s *service) tellEmptied(now time.Time) {
	n := s.memory.Wanted
	if n == 0 || s.leaving {
		return
	}
	why := "the count in the fleet is 0"
	if _, private := s.ses.cfg.Fleet.(Private); private {
		why = "child processes end with their scaler"
	}
	were := "replicas were"
	if n == 1 {
		were = "replica was"
	}
	d := s.event(now, ruleEnded, fmt.Sprintf("%d %s wanted, and none runs: %s", n, were, why), nil)
	d.From = n
	s.entry.Decisions = append(s.entry.Decisions, d)
	s.changed = true
}

// inheritDrain goes on with a drain that an earlier scaler began, from its
// beginning: the replica gets no slots, not even for a moment.
func (s *service) inheritDrain(now time.Time, r *replica) {
	if s.left == nil || r.alloc.Desired != jobs.DesiredRun || r.alloc.Terminal() {
		return
	}
	for _, v := range s.left.Victims {
		if v.ID == r.alloc.ID {
			r.draining = earlier(v.Since, now)
		}
	}
}

// inheritStart gives a replica that an earlier scaler launched, and did not live
// to see, the story of its cold start.
func (s *service) inheritStart(r *replica) {
	l := s.launch
	if s.left == nil || l == nil || l.unclaimed == 0 || r.alloc.Index < s.left.From {
		return
	}
	l.unclaimed--
	if !r.story && !slices.Contains(s.met, r.alloc.ID) { // else it is told, or was
		r.story, r.launch = true, l
	}
}

// open reports whether the scale call of an earlier scaler may still take
// effect: on a fleet that several command, and on a job that nobody has changed
// since.
func (s *service) open() bool {
	_, shared := s.ses.cfg.Fleet.(Shared)
	return s.left != nil && s.left.Called && shared && s.left.Index != 0 && s.seen.Index == s.left.Index
}

// settleLeft finishes or reverses what an earlier scaler left open, and reports
// whether anything else may be done to the fleet.
//
// To finish is to make the call that the other may make, too: both name the same
// index of the job, so one of them succeeds and the other is refused. To reverse
// is to move the index by a call that changes nothing: only then the other's call
// cannot come any more, and its victims may get slots again.
func (s *service) settleLeft(now time.Time, target int) bool {
	if s.left == nil {
		return true
	}
	if !s.open() {
		s.left = nil // it has happened, or cannot happen any more
		return true
	}
	if target == s.left.To {
		return true
	}
	if now.Before(s.scaleAfter) || s.scales.busy {
		return false
	}
	s.reverse(now, *s.left)
	return false
}

// reverse moves the job's index past the one that a stale leader's call names.
func (s *service) reverse(now time.Time, left history.Intent) {
	t, fleet := s.ses.acting(), s.ses.cfg.Fleet.(Shared)
	if t == nil {
		return
	}
	count, ref := s.seen.Count, s.ref
	text := fmt.Sprintf("an earlier scaler was about to scale from %d to %d (%s); %d are wanted now, so its call is shut out first",
		left.From, left.To, left.Reason, s.decision.To)
	s.asked, s.askedAt, s.askedOK = count, now, true
	meta := s.meta(t, ruleReversed)
	s.call(&s.scales, now, func() func(time.Time) {
		err := fleet.ScaleFrom(t.ctx, ref, left.Index, count, text, meta)
		return func(now time.Time) {
			s.onScaled(now, count, count, err)
			if err == nil {
				d := s.event(now, ruleReversed, text, map[string]any{"victims": ids(left.Victims), "epoch": left.Epoch})
				s.entry.Decisions = append(s.entry.Decisions, d)
				s.changed = true
			}
		}
	})
	s.log.Info("reverse an intent", "from", left.From, "to", left.To, "epoch", left.Epoch, "reason", left.Reason)
}

// meant is what is to be stored before the fleet is told to go from one count to
// another.
func (s *service) meant(t *term, now time.Time, from, to int, victims []*replica, reason string) history.Intent {
	s.intended++
	i := history.Intent{
		Epoch: t.epoch, Number: s.intended, At: now.UTC(), Ref: s.ref, From: from, To: to, Reason: reason,
		Waiting: s.demand.Held, Hold: s.demand.OldestHold,
	}
	for _, r := range victims {
		i.Victims = append(i.Victims, history.Victim{ID: r.alloc.ID, Since: r.draining.UTC()})
	}
	return i
}

// intendDrains stores which replicas are being drained, whenever that changes.
// The slot ledger is told beside it: an offer stops nobody, so a scaler that dies
// between the two has done no harm. What they are stopped by is an intent of its
// own (scale).
func (s *service) intendDrains(now time.Time) (again time.Time) {
	t := s.ses.acting()
	if t == nil || s.scales.busy || s.intents.busy || s.left != nil || len(s.replicas) == 0 && len(s.draining) == 0 {
		return time.Time{}
	}
	var victims []*replica
	for _, r := range s.inOrder() {
		if !r.draining.IsZero() && r.stopAsked.IsZero() && r.alloc.Desired == jobs.DesiredRun {
			victims = append(victims, r)
		}
	}
	var drained []string
	for _, r := range victims {
		drained = append(drained, r.alloc.ID)
	}
	if slices.Equal(drained, s.draining) {
		return time.Time{}
	}
	if now.Before(s.intendAfter) {
		return s.intendAfter
	}
	i := s.meant(t, now, s.count(), s.decision.To, victims, s.cause().Reason)
	s.draining = drained
	s.call(&s.intents, now, func() func(time.Time) {
		err := s.ses.cfg.History.Intend(t.ctx, s.name, i)
		return func(now time.Time) {
			if err == nil {
				return
			}
			s.draining, s.intendAfter = nil, now.Add(offerRetry)
			if !s.outranked(t, err) && s.ctx.Err() == nil {
				s.log.Debug("cannot store which replicas are drained, will try again", "err", err)
			}
		}
	})
	return time.Time{}
}

// outranked reports whether err says that a later scaler has taken over, and ends
// the term if so: whatever the clock says, this process leads no more.
func (s *service) outranked(t *term, err error) bool {
	epoch, fenced := history.Fenced(err)
	var stale *jobs.StaleOfferError
	if errors.As(err, &stale) {
		epoch, fenced = stale.Epoch, true
	}
	if fenced {
		s.ses.outrank(t, epoch)
	}
	return fenced
}

// errNotMeant says that a scale call was not made, because the intent could not
// be stored.
var errNotMeant = errors.New("not scaled, because the intent could not be stored first")

func ids(victims []history.Victim) []string {
	var list []string
	for _, v := range victims {
		list = append(list, v.ID)
	}
	return list
}
