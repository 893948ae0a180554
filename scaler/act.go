package scaler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// settle is how long after a scale call that was answered the fleet may take to
// show the new count before it is asked again.
const settle = time.Second

// unexplained is how long a new allocation beyond the count of its job is left
// alone. Somebody else has asked for it: the fleet places what a new version of
// the job wants before it is known whose version that is, and what then becomes
// of the count is for by_hand to say.
const unexplained = 3 * time.Second

// count is what the fleet has been asked for, as far as it is known.
func (s *service) count() int {
	if s.out != nil {
		return 0 // of what the fleet counts nothing runs
	}
	if s.scales.busy || s.askedAt.Add(settle).After(s.now) && s.askedOK {
		return s.asked
	}
	return s.seen.Count
}

// target is the count to ask the fleet for: what the decision wants, as far as
// the launch brake lets it.
//
// During a pause of the brake only what is ready, or has been starting since
// before the failure, is kept: a fleet that restarts what failed would otherwise
// go on buying GPUs for it. Afterwards one start at a time is let through.
func (s *service) target(now time.Time) int {
	want := s.decision.To
	d := &s.decision
	if d.BrakeUntil.IsZero() && d.MaxStarts == 0 {
		return want
	}
	keep, starting := 0, 0
	for i, a := range s.holders() {
		r := s.replicas[a.ID]
		if r == nil {
			continue
		}
		starts := r.starts() && (r.launched().Before(s.failures.Last) || !d.BrakeUntil.After(now))
		if r.phase == jobs.Ready || !r.firstReady.IsZero() || starts {
			keep = i + 1
		}
		if starts {
			starting++
		}
	}
	if d.BrakeUntil.After(now) {
		return min(want, keep)
	}
	pledged := s.pledged() // the fleet counts them already
	return min(want, keep+pledged+max(0, d.MaxStarts-starting-pledged))
}

// pledged is how many starts the fleet has been asked for and has not placed.
func (s *service) pledged() int {
	if l := s.launch; l != nil && s.count() > len(s.holders()) {
		return l.unclaimed
	}
	return 0
}

// holds reports whether a terminal allocation keeps its index: the fleet wants
// it to run and nothing has taken its place.
func (s *service) holds(a jobs.Allocation) bool {
	for _, b := range s.seen.Allocations {
		if b.ID != a.ID && b.Index == a.Index && b.Desired == jobs.DesiredRun && (!b.Terminal() || b.Created.After(a.Created)) {
			return false
		}
	}
	return true
}

// holders are the allocations that keep an index, by index. The fleet stops
// them from the end, blind to their health.
func (s *service) holders() []jobs.Allocation {
	var list []jobs.Allocation
	for _, a := range s.seen.Allocations {
		if a.Desired == jobs.DesiredRun && (!a.Terminal() || s.holds(a)) {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b jobs.Allocation) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), a.Created.Compare(b.Created))
	})
	// A second one of an index (a canary has its number) is the first to go.
	var first, again []jobs.Allocation
	for i, a := range list {
		if i > 0 && list[i-1].Index == a.Index {
			again = append(again, a)
		} else {
			first = append(first, a)
		}
	}
	return append(first, again...)
}

// act brings the fleet towards the target: takes back what drains and is wanted
// again, launches what is missing, drains what is too much, and stops what has
// drained. It returns when it wants to be called again though nothing happens.
func (s *service) act(now time.Time) (again time.Time) {
	if s.ses.acting() == nil || s.decidedAt.IsZero() || s.blind != nil || s.out != nil || s.unsettled {
		return time.Time{}
	}
	target, count := s.target(now), s.count()
	if s.silent && target < count {
		return time.Time{} // see "Failure" in doc.go; a launch is safe
	}
	if !s.settleLeft(now, target) {
		return s.scaleAfter
	}
	holders := s.holders()
	for i, a := range holders {
		r := s.replicas[a.ID]
		if r == nil || !r.stopAsked.IsZero() {
			continue
		}
		switch {
		case i >= target && i >= count && now.Before(r.met.Add(unexplained)):
			again = earlier(again, r.met.Add(unexplained))
		case i >= target && r.draining.IsZero():
			r.draining = now
			s.log.Info("drain", "replica", a.ID, "reason", s.decision.Reason)
			s.changed = true
		case i < target && !r.draining.IsZero():
			r.draining = time.Time{}
			s.log.Info("take back from draining", "replica", a.ID, "reason", s.decision.Reason)
			s.changed = true
		}
	}
	s.phases(now)
	if count > target {
		n := count
		for n > target && s.empty(now, holders, n-1) {
			n--
		}
		if n > target {
			again = earlier(again, now.Add(drainPoll))
		}
		target = n
	}
	if target == count {
		if s.refused.kind != "" && !s.scales.busy { // no call is owed any more
			s.refused, s.changed = obstacle{}, true
			s.scalePause.Reset()
		}
		return again
	}
	if d := s.seen.Deployment; d != "" {
		if patience := s.deployAt.Add(deployPatience); now.Before(patience) {
			s.refuse(obstacle{kindDeployment, "waits for a deployment: " + d})
			return earlier(again, patience)
		}
	}
	if now.Before(s.scaleAfter) {
		return earlier(again, s.scaleAfter)
	}
	s.scale(now, count, target, holders)
	return again
}

// deployPatience is how long a deployment in the way is believed before a call
// asks whether it still is. Its end shows in the fleet's picture; this is for a
// picture that missed it.
const deployPatience = 30 * time.Second

// deniedAgain is the pause after the fleet has denied a permission: a token does
// not come back within seconds, and each try is an entry in somebody's audit log.
const deniedAgain = 10 * time.Second

// empty reports whether a count of n stops nobody who is in use: all holders
// from there on may be stopped.
func (s *service) empty(now time.Time, holders []jobs.Allocation, n int) bool {
	for _, a := range holders[min(n, len(holders)):] {
		if !s.drained(now, s.replicas[a.ID]) {
			return false
		}
	}
	return true
}

// refuse notes why a count is not the one that is wanted.
func (s *service) refuse(o obstacle) {
	if o != s.refused {
		s.refused, s.changed = o, true
	}
}

// scale sends one scale call; the next waits for its answer. The count is
// absolute: a call whose answer was lost is sent again and launches nothing
// twice. Its intent is stored before, under the epoch of the term: one answer of
// Redis more on the way of a wake, for which a scaler that is not the leader any
// more, and does not know it, makes no call at all.
func (s *service) scale(now time.Time, from, to int, holders []jobs.Allocation) {
	t := s.ses.acting()
	if t == nil || s.scales.busy {
		return
	}
	cause := s.cause()
	direction, reason := "up", cause.Reason
	var victims []*replica
	if to < from {
		direction = "down"
		for _, a := range holders[min(to, len(holders)):] {
			if r := s.replicas[a.ID]; r != nil {
				victims = append(victims, r)
				r.stopAsked = now
				if cut := s.demand.Busy[a.ID]; cut > 0 {
					r.cut = cut
					reason += fmt.Sprintf("; cuts %d in flight at %s after the drain timeout", cut, a.ID)
				}
			}
		}
		s.phases(now)
	} else {
		s.launch = &launch{
			Decided: s.decidedAt, Sent: now, Hold: s.demand.OldestHold, Waiting: s.demand.Held,
			Reason: reason, Wake: from == 0, unclaimed: to - from,
		}
	}
	s.asked, s.askedAt, s.askedOK = to, now, true
	s.changed = true
	s.ses.metrics.actions.WithLabelValues(s.name, direction, cause.Rule).Inc()
	meta := s.meta(t, cause.Rule)
	ref, intent := s.ref, s.meant(t, now, from, to, victims, reason)
	intent.Called, intent.Index = true, s.seen.Index
	s.draining = nil // the intent takes the place of that of the drain
	s.call(&s.scales, now, func() func(time.Time) {
		err := s.ses.cfg.History.Intend(t.ctx, s.name, intent)
		if err != nil {
			return func(now time.Time) { s.onNotMeant(now, t, from, to, err) }
		}
		if fleet, shared := s.ses.cfg.Fleet.(Shared); shared && intent.Index != 0 {
			err = fleet.ScaleFrom(t.ctx, ref, intent.Index, to, reason, meta)
		} else {
			err = s.ses.cfg.Fleet.Scale(t.ctx, ref, to, reason, meta)
		}
		return func(now time.Time) { s.onScaled(now, from, to, err) }
	})
	// After the call is on its way: a log line must not stand before it.
	level := slog.LevelInfo
	if s.refused.kind != "" {
		level = slog.LevelDebug // the same once more
	}
	s.log.Log(s.ctx, level, "scale", "from", from, "to", to, "rule", cause.Rule, "reason", reason)
}

// meta is what a scale call says of itself beside its reason.
func (s *service) meta(t *term, rule string) map[string]string {
	return map[string]string{
		"service":        s.name,
		"rule":           rule,
		"policy_version": strconv.Itoa(s.version),
		"epoch":          strconv.FormatInt(t.epoch, 10),
	}
}

// onNotMeant takes in that a scale call was not made.
func (s *service) onNotMeant(now time.Time, t *term, from, to int, err error) {
	if s.outranked(t, err) {
		s.askedOK, s.look, s.due = false, true, true
		return
	}
	s.onScaled(now, from, to, fmt.Errorf("%w: %w", errNotMeant, err))
}

// cause is the decision that a scale call carries out: the last one that moved
// the count, which may be minutes old after a drain, or the present one if the
// launch brake overrides what is wanted, or what others did if it is set back.
func (s *service) cause() *decide.Decision {
	if d := s.restores(); d != nil && s.target(s.now) == s.decision.To {
		return d
	}
	if s.moved.Rule == "" || s.moved.To != s.decision.To || s.target(s.now) != s.decision.To {
		return &s.decision
	}
	return &s.moved
}

// onScaled takes in the answer of a scale call.
func (s *service) onScaled(now time.Time, from, to int, err error) {
	s.look, s.due = true, true
	if err == nil {
		s.refused = obstacle{}
		s.scalePause.Reset()
		return
	}
	if s.ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return // cut, not refused
	}
	s.askedOK = false // only the fleet's own picture counts now
	if errors.Is(err, jobs.ErrChanged) {
		// Never sent again as it was: what somebody else did comes first. It shows
		// in the picture, if not already now then with the next news of it.
		s.unsettled = true
		s.scaleAfter = now.Add(s.scalePause.NextBackOff())
		s.log.Info("scale call overtaken by somebody else's change, will decide anew", "from", from, "to", to)
		return
	}
	o := obstacle{kindOf(err, kindRefused), strings.TrimSpace(err.Error())}
	switch o.kind {
	case kindDenied:
		s.scaleAfter = now.Add(deniedAgain)
	case kindDeployment:
		s.deployAt = now
		s.scaleAfter = now.Add(s.scalePause.NextBackOff())
	default:
		s.scaleAfter = now.Add(s.scalePause.NextBackOff())
	}
	if o != s.refused {
		s.log.Warn("scale call failed, will look and try again", "from", from, "to", to, "err", err)
	}
	s.refuse(o)
}
