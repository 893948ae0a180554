package scaler

import (
	"errors"
	"fmt"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// Rules of decisions that tell what others did to the job.
const (
	ruleStopped  = "stopped"
	rulePurged   = "purged"
	ruleReturned = "returned"
	ruleByHand   = "by-hand"
	ruleDeployed = "deployed"
	ruleOperator = "operator"
)

// out is that somebody stopped or purged the job: nothing of it runs, whatever
// is wanted, until somebody brings it back or an operator resumes the service.
// It is kept as JSON.
type out struct {
	Rule  string    `json:"rule"` // ruleStopped, rulePurged
	Why   string    `json:"why"`  // in a sentence
	Since time.Time `json:"since"`
}

// purged reports whether err says that the fleet had the job and has it no more.
// A fleet may not remember that it had; the service does.
func (s *service) purged(err error) bool {
	return errors.Is(err, jobs.ErrPurged) || s.had && errors.Is(err, jobs.ErrUnknownJob)
}

func (s *service) purgedWhy() string {
	if s.spec == nil {
		return fmt.Sprintf("job %s was purged; register it again, for no job spec of it is known here", s.ref.Job)
	}
	return fmt.Sprintf("job %s was purged and is not registered again by itself; resume the service, or register the job", s.ref.Job)
}

// setOut takes in whether somebody has stopped or purged the job; rule "" is
// nobody. count is the one that the fleet shows. It reports whether the job has
// come back just now.
func (s *service) setOut(now time.Time, rule, why string, count int) (back bool) {
	was := s.out
	switch {
	case rule == "" && was == nil:
		return false
	case rule == "":
		s.comeBack(now, count)
		back = true
	case was != nil && was.Rule == rule:
		s.changed = s.changed || was.Why != why
		was.Why = why
		return false
	default:
		s.out = &out{Rule: rule, Why: why, Since: now}
		s.hand, s.deployed = nil, nil // what was said of its count before says nothing any more
		if rule == rulePurged {
			s.change = 0 // a job of that name in another cluster may count from the beginning
		}
		s.log.Warn("job taken away, nothing is launched until it is back", "rule", rule, "reason", why)
	}
	s.unrevived, s.reviveAfter = "", time.Time{}
	s.acted, s.due, s.changed, s.learned, s.unsettled = true, true, true, true, true
	return back
}

// comeBack lets the service go on with a job that is there again. Somebody has
// started it with a count: the rules go on from that, with its keep-alives begun
// anew. To set it back at once would be to stop what was started a moment ago.
func (s *service) comeBack(now time.Time, count int) {
	was := s.out
	s.out = nil
	s.failures, s.spells, s.learned = decide.Failures{}, nil, true
	if was.Rule == rulePurged && s.spec != nil {
		s.ensured, s.ensureAfter = false, time.Time{} // the fleet compares it with the job spec anew
		s.mail.post(func(time.Time) {})
	}
	if s.leaving {
		return
	}
	how := "was started again"
	if was.Rule == rulePurged {
		how = "was registered again"
	}
	s.takeCount(now, count, ruleReturned, fmt.Sprintf("the job %s: the rules go on from its count of %d", how, count))
}

// takeCount makes a count that somebody else has set the one that the rules go
// on from, and stores a decision that says so.
func (s *service) takeCount(now time.Time, n int, rule, reason string) {
	d := s.event(now, rule, reason, nil)
	d.From, d.To = s.memory.Wanted, n
	s.memory = s.memory.Adopted(now, n)
	s.decision, s.moved = d, d
	s.entry.Decisions = append(s.entry.Decisions, d)
	s.log.Info("count taken over", "from", d.From, "to", d.To, "rule", rule, "reason", reason)
}

// event is a stored decision that tells what happened and leaves wanted alone.
func (s *service) event(now time.Time, rule, reason string, inputs map[string]any) decide.Decision {
	return decide.Decision{
		Service: s.name, At: now.UTC(), From: s.decision.To, To: s.decision.To,
		Rule: rule, Reason: reason, Inputs: inputs, PolicyVersion: s.version,
	}
}

// revive brings the job back because an operator has resumed the service since
// it was taken away. It returns when it wants to be called again.
func (s *service) revive(now time.Time) (again time.Time) {
	t, asked := s.ses.acting(), s.setting.Resumed
	if t == nil || s.out == nil || s.leaving || s.revives.busy || !asked.After(s.out.Since) || !asked.After(s.revived) {
		return time.Time{}
	}
	if now.Before(s.reviveAfter) {
		return s.reviveAfter
	}
	reason := "resumed"
	if last := s.setting.Last; last.Verb == jobs.VerbResume {
		reason += said(last.By, last.Reason)
	}
	spec, ref := s.spec, s.ref
	s.call(&s.revives, now, func() func(time.Time) {
		err := s.ses.cfg.Fleet.Revive(t.ctx, spec, ref, reason)
		return func(now time.Time) {
			if ref == s.ref {
				s.onRevived(now, asked, err)
			}
		}
	})
	return time.Time{}
}

// reviveAgain is the pause after the fleet could not bring the job back.
const reviveAgain = 10 * time.Second

func (s *service) onRevived(now, asked time.Time, err error) {
	s.look, s.changed = true, true
	if err == nil {
		s.revived, s.unrevived = asked, ""
		s.log.Info("job brought back for an operator")
		return
	}
	if s.ctx.Err() != nil {
		return
	}
	s.reviveAfter = now.Add(reviveAgain)
	if why := err.Error(); why != s.unrevived {
		s.unrevived = why
		s.log.Error("job cannot be brought back, will try again", "err", err)
	}
}

// said puts who and why into words that follow a verb; "" if neither is known.
func said(who, why string) (words string) {
	if who != "" {
		words = " by " + who
	}
	if why != "" {
		words += ": " + why
	}
	return words
}
