package scaler

import (
	"fmt"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

const (
	// passes is how long something that happened is shown as a notice.
	passes = 10 * time.Minute
	// deployTold is how long after a deploy was seen it is told, at the latest:
	// the fleet tells the replicas to stop a moment after the job has changed.
	deployTold = 500 * time.Millisecond
)

// heed takes in the last change of the job that was somebody else's, once.
func (s *service) heed(now time.Time, c *jobs.Change, returned bool) {
	first := s.unmet
	s.unmet = false
	if c == nil || c.Index <= s.change {
		return
	}
	s.change, s.learned = c.Index, true
	// What was done before the service was met is how things are; what brought
	// the job back has been told; and a group that is left is emptied anyway.
	if first || returned || s.out != nil || s.leaving {
		return
	}
	s.askedOK, s.unsettled = false, true // nothing is done before it is decided on
	s.due, s.changed = true, true
	s.undone = &overruled{*c, now}
	if c.Kind == jobs.ChangeDeploy {
		s.onDeploy(now, *c)
		return
	}
	s.onCountByHand(now, *c)
}

// onCountByHand does what the policy's by_hand says with a count that somebody
// set in the fleet itself. A paused service changes nothing, so there the count
// is taken as it is.
func (s *service) onCountByHand(now time.Time, c jobs.Change) {
	what := "count set by hand" + fromTo(c)
	if c.By != "" {
		what += " (" + c.By + ")"
	}
	mode := s.policy.ByHand.Count
	if s.setting.Operator.Paused {
		mode = "adopt"
	}
	s.log.Info("count set by hand", "from", c.Before, "to", c.Count, "mode", mode, "reason", c.By)
	switch mode {
	case "adopt":
		what += ": taken as it is, the rules go on from there"
		s.hand = nil
		s.takeCount(now, c.Count, ruleByHand, what)
		s.pass(now, jobs.NoticeChangedByHand, what)
	case "restore":
		what += fmt.Sprintf(": set back to %d, as by_hand of the policy says", s.decision.To)
		s.entry.Decisions = append(s.entry.Decisions, s.event(now, ruleByHand, what, nil))
		s.pass(now, jobs.NoticeChangedByHand, what)
	default:
		s.hand = &decide.Hand{Count: c.Count, At: now, Until: now.Add(s.policy.ByHand.For), By: c.By}
		s.acted = true // the decision that holds it is stored
	}
}

// overruled is a change of the count by others that is set back: what the fleet
// is told then is this, and not why the count was wanted in the first place.
type overruled struct {
	jobs.Change
	seen time.Time
}

// restores returns the cause of a scale call that sets back what others did; nil
// if the next call has another cause.
func (s *service) restores() *decide.Decision {
	o := s.undone
	if o == nil || s.count() != o.Count || s.decision.To == o.Count || s.moved.At.After(o.seen) {
		return nil
	}
	d := s.decision
	d.Rule, d.Reason = ruleByHand, "restored after a count set by hand"
	if o.Kind == jobs.ChangeDeploy {
		d.Rule, d.Reason = ruleDeployed, "restored after job run"
	}
	if o.Before < 0 {
		d.Reason += fmt.Sprintf(": %d", o.Count)
	} else {
		d.Reason += fmt.Sprintf(": %d → %d", o.Before, o.Count)
	}
	return &d
}

func fromTo(c jobs.Change) string {
	if c.Before < 0 {
		return fmt.Sprintf(" to %d", c.Count)
	}
	return fmt.Sprintf(" from %d to %d", c.Before, c.Count)
}

// letGo ends a hold by hand whose time is over, or about which an operator has
// said something else since.
func (s *service) letGo(now time.Time) {
	if h := s.hand; h != nil && (!now.Before(h.Until) || s.setting.Pinned.After(h.At)) {
		s.log.Info("count set by hand is not held any more", "to", h.Count)
		s.hand = nil
		if now.Before(h.Until) && s.setting.Operator.Pinned == nil {
			// To let go is not to take back: what was started a moment ago has its
			// keep-alive, as if it had been adopted at once.
			s.memory = s.memory.Adopted(now, h.Count)
		}
		s.acted, s.due, s.changed, s.learned = true, true, true, true
	}
}

// deployed is a job that was registered again and has not been told yet.
type deployed struct {
	jobs.Change
	seen time.Time
	old  []*replica // that it found
}

// onDeploy takes in that somebody registered the job again: its replicas may all
// be replaced at once, and its count may be another. What failed to start may
// start now, and a replica of before that ends has not failed.
func (s *service) onDeploy(now time.Time, c jobs.Change) {
	d := &deployed{Change: c, seen: now}
	if d.At.IsZero() {
		d.At = now
	}
	for _, r := range s.replicas {
		// Those that it brought may be seen before it is; both times are the fleet's.
		if r.met.Before(now) && (c.At.IsZero() || r.alloc.Created.Before(c.At)) {
			r.replaced = true
			d.old = append(d.old, r)
		}
	}
	for _, e := range s.logs.awaited {
		e.r.replaced = true // its failure is one of before
	}
	s.failures, s.spells = decide.Failures{}, nil
	s.deployed = d
	s.log.Info("job registered again", "from", c.Before, "to", c.Count, "reason", c.By)
}

// tellDeploy stores a decision and shows a notice of what a deploy did, as soon
// as it is known. It returns when it wants to be called again.
func (s *service) tellDeploy(now time.Time) (again time.Time) {
	d := s.deployed
	if d == nil || s.unsettled {
		return time.Time{}
	}
	replaced := 0
	for _, r := range d.old {
		if r.alloc.Terminal() || r.alloc.Desired != jobs.DesiredRun {
			replaced++
		}
	}
	if told := d.seen.Add(deployTold); replaced < len(d.old) && now.Before(told) {
		return told
	}
	s.deployed = nil
	text := fmt.Sprintf("job registered again at %s", d.At.UTC().Format("15:04:05"))
	if d.By != "" {
		text += " (" + d.By + ")"
	}
	switch {
	case d.Before < 0:
		text += fmt.Sprintf(": count %d", d.Count)
	case d.Before == d.Count:
		text += fmt.Sprintf(": count still %d", d.Count)
	default:
		text += fmt.Sprintf(": count %d → %d", d.Before, d.Count)
	}
	switch {
	case len(d.old) == 0:
		text += ", no replicas to replace"
	case replaced == len(d.old):
		text += fmt.Sprintf(", all replicas replaced (%d)", replaced)
	default:
		text += fmt.Sprintf(", %d of %d replicas replaced", replaced, len(d.old))
	}
	if wanted := s.decision.To; wanted != d.Count {
		text += fmt.Sprintf("; %d are wanted and asked for again", wanted)
	}
	s.entry.Decisions = append(s.entry.Decisions, s.event(now, ruleDeployed, text, map[string]any{
		"count_before": d.Before, "count": d.Count, "replaced": replaced,
	}))
	s.pass(now, jobs.NoticeDeployed, text)
	return time.Time{}
}
