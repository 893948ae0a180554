package scaler

import (
	"errors"
	"fmt"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/decide"
	"github.com/pilotlight/pilotlight/scaler/history"
)

// load claims the service and reads what earlier scalers remembered; nothing is
// decided before.
func (s *service) load(now time.Time) bool {
	if s.loaded {
		return true
	}
	t := s.ses.acting()
	if t == nil || s.settings.busy || now.Sub(s.settings.since) < s.ses.cfg.Tick {
		return false
	}
	hurry := s.hurry
	s.call(&s.settings, now, func() func(time.Time) {
		defer s.ses.bulk.enter(t.ctx, hurry)()
		claimed, err := s.ses.cfg.History.Claim(t.ctx, s.name, t.epoch)
		return func(now time.Time) {
			if err != nil {
				if !s.outranked(t, err) {
					s.log.Warn("cannot read what was remembered, will try again", "err", err)
				}
				return
			}
			// What another version has written: begin without it rather than not at all.
			if err := errors.Join(s.recall(claimed.Memory), claimed.Unread); err != nil {
				s.log.Error("memory lost", "err", err)
			}
			s.inherit(now, claimed.Intent)
			s.recorded.recall(claimed.Recorded)
			s.shadow.set(s, claimed.Shadow)
			s.rate.add(now, s.arrivals)
			s.setting, s.loaded = claimed.Setting, true
			s.ses.hasLoaded(s)
			s.recordCommands()
		}
	})
	return false
}

// readSetting reads what operators have set, and decides anew.
func (s *service) readSetting(now time.Time) {
	t := s.ses.acting()
	if t == nil || !s.unset || s.settings.busy || s.unsetFails && now.Sub(s.settings.since) < s.ses.cfg.Tick {
		return
	}
	s.unset = false
	s.call(&s.settings, now, func() func(time.Time) {
		defer s.ses.bulk.enter(t.ctx, nil)()
		setting, err := s.ses.cfg.History.Setting(t.ctx, s.name)
		draft, unread := s.ses.cfg.History.ShadowDraft(t.ctx, s.name)
		err = errors.Join(err, unread)
		return func(now time.Time) {
			s.unsetFails = err != nil
			if err != nil {
				s.unset = true
				s.log.Warn("cannot read the operator's setting, will try again", "err", err)
				return
			}
			s.onSetting(now, setting)
			s.shadow.set(s, draft)
		}
	})
}

func (s *service) onSetting(now time.Time, setting history.Setting) {
	if setting.Last == s.setting.Last {
		return
	}
	s.setting = setting
	s.recordCommands()
	s.log.Info("operator", "verb", setting.Last.Verb, "reason", setting.Last.Reason, "by", setting.Last.By)
	s.lastActive = now
	s.acted, s.due, s.changed = true, true, true
}

// recordCommands stores a decision for each command of an operator, which says
// who and why: what it does to the count follows in a decision of its own, and
// may be nothing.
func (s *service) recordCommands() {
	for _, cmd := range s.setting.Since(s.operated) {
		what := cmd.Verb
		if cmd.Verb == jobs.VerbPin {
			what = fmt.Sprintf("%s to %d", cmd.Verb, cmd.Replicas)
		}
		d := s.event(cmd.At, ruleOperator, what+said(cmd.By, cmd.Reason), map[string]any{
			"verb": cmd.Verb, "by": cmd.By, "reason": cmd.Reason,
		})
		if s.decidedAt.IsZero() { // what is wanted is what the last scaler wanted
			d.From, d.To = s.memory.Wanted, s.memory.Wanted
		}
		s.entry.Decisions = append(s.entry.Decisions, d)
	}
	s.operated = s.setting.Commands
}

// ensure makes the job known to the fleet once; nothing is launched before.
func (s *service) ensure(now time.Time) bool {
	if s.ensured {
		return true
	}
	if s.ensures.busy || s.ref.Job == "" || now.Before(s.ensureAfter) {
		return false
	}
	if s.spec == nil {
		// It may have become known since; and a fleet may know the job without.
		s.spec, _ = s.ses.cfg.Specs(s.policy.Job)
		s.ref = refOf(s.policy, s.spec)
	}
	if !s.takes(now) {
		return false
	}
	spec, ref, leaving, had := s.spec, s.ref, s.leaving, s.had
	s.call(&s.ensures, now, func() func(time.Time) {
		err := s.known(spec, ref, had)
		if err != nil && leaving {
			// To empty the group it is enough that the fleet has it.
			if _, unseen := s.ses.cfg.Fleet.Observe(s.ctx, ref); unseen == nil {
				err = nil
			}
		}
		return func(now time.Time) {
			if ref == s.ref { // else the policy has changed meanwhile
				s.onEnsured(now, err)
			}
		}
	})
	return false
}

// ensureEvery is the longest pause between two tries to make a job known.
const ensureEvery = 10 * time.Second

// onEnsured takes in whether the fleet knows the job.
func (s *service) onEnsured(now time.Time, err error) {
	if err != nil && s.ctx.Err() != nil {
		return // cut, not refused
	}
	s.changed = true
	if err == nil || s.purged(err) { // of a purged job Observe says so, until it is back
		s.learned = s.learned || !s.had
		s.ensured, s.had, s.cannot, s.cannotKind = true, true, "", ""
		s.ensurePause.Reset()
		return
	}
	s.ensured = false
	s.ensureAfter = now.Add(s.ensurePause.NextBackOff())
	s.cannotKind = kindOf(err, kindCannot)
	if cannot := err.Error(); cannot != s.cannot {
		s.cannot = cannot
		s.log.Error("cannot run", "reason", cannot)
	}
}

// known returns nil if the fleet knows the group, or knows it now.
func (s *service) known(spec *jobs.Spec, ref jobs.Ref, had bool) error {
	if spec != nil {
		if err := s.ses.cfg.Fleet.Ensure(s.ctx, spec, ref, had); err != nil {
			return fmt.Errorf("cannot register job %s: %w", ref.Job, err)
		}
		return nil
	}
	if ref.Group == "" {
		return fmt.Errorf("no job spec %q is known here", ref.Job)
	}
	if _, err := s.ses.cfg.Fleet.Observe(s.ctx, ref); err != nil {
		return fmt.Errorf("no job spec %q is known here, and the fleet does not have it: %w", ref.Job, err)
	}
	return nil
}

// onPolicy obeys a new version at the next decision, which is this round's. One
// that names another group is obeyed when the old group is empty: its replicas
// must not be forgotten, nor their requests cut.
func (s *service) onPolicy(now time.Time, v policies.Version) {
	spec, _ := s.ses.cfg.Specs(v.Policy.Job)
	s.log.Info("policy", "version", v.Version, "reason", v.Comment)
	s.acted, s.due, s.changed, s.lastActive = true, true, true, now
	s.ensureAfter = time.Time{} // it may name what can run
	if refOf(v.Policy, spec) != s.ref {
		s.leaving, s.next = true, &v
		return
	}
	s.leaving, s.next = false, nil
	before, probe, gpu, sample := s.launchKey(), s.policy.Probe, s.policy.GPU, s.policy.Sizing.Sample
	s.adopt(v)
	if s.launchKey() != before {
		s.failures, s.spells = decide.Failures{}, nil
	}
	for _, r := range s.replicas {
		if probe != s.policy.Probe {
			s.probe(r)
		}
		if gpu != s.policy.GPU || sample != s.policy.Sizing.Sample {
			r.gpu = measured{}
		}
	}
}

// onDeleted drains and stops everything: a policy that is gone wants nothing.
func (s *service) onDeleted(now time.Time) {
	s.log.Info("policy deleted")
	s.leaving, s.next = true, nil
	s.due, s.changed, s.lastActive = true, true, now
}

// decideLeaving is the decision for a group that no policy wants any more.
func (s *service) decideLeaving(now time.Time) {
	last := s.decision
	rule, reason := "deleted", "the policy was deleted"
	if s.next != nil {
		spec, _ := s.ses.cfg.Specs(s.next.Policy.Job)
		rule, reason = "moved", fmt.Sprintf("policy version %d names %s instead of %s",
			s.next.Version, refOf(s.next.Policy, spec), s.ref)
	}
	s.decision = decide.Decision{
		Service: s.name, At: now, From: last.To, To: 0, Rule: rule, Reason: reason, PolicyVersion: s.version,
	}
	if s.decidedAt.IsZero() {
		s.decision.From = s.count()
	}
	if s.news(now, last) {
		s.record(now)
	}
}

// returnTo makes the group that an earlier scaler obeyed the present one again:
// if the policy has gone since, or names another, it must be emptied first.
func (s *service) returnTo(ref jobs.Ref, version int) {
	if sameGroup(ref, s.ref) {
		return
	}
	obey := s.next
	if !s.leaving {
		obey = &policies.Version{Name: s.name, Version: s.version, Policy: s.policy}
	}
	p := *s.policy
	p.Namespace, p.Job, p.Group = ref.Namespace, ref.Job, ref.Group
	s.adopt(policies.Version{Name: s.name, Version: version, Policy: &p})
	s.leaving, s.next = true, obey
	if obey != nil && sameGroup(refOf(obey.Policy, s.spec), ref) {
		s.adopt(*obey) // it went and came back
		s.leaving, s.next = false, nil
	}
	s.ses.follow(s, ref.Job)
}

// sameGroup reports whether two refs are about one group; one that is not
// resolved, because its job spec is not known, stands for any of its job.
func sameGroup(a, b jobs.Ref) bool {
	return a.Namespace == b.Namespace && a.Job == b.Job && (a.Group == b.Group || a.Group == "" || b.Group == "")
}

// leave ends a service that wants nothing and has nothing left, or lets it
// begin anew with its next group. It reports whether the loop is over.
func (s *service) leave(now time.Time) bool {
	t := s.ses.acting()
	if !s.leaving || t == nil || s.writes.busy || s.offering.busy {
		return false
	}
	// Nobody remembers a group; or the fleet does not know the job, and nothing
	// of it was ever wanted or can run.
	never := s.lost || s.ref.Job == "" || !s.ensured && s.cannot != "" && (s.spec == nil || s.memory.Wanted == 0)
	empty := s.ensured && !s.decidedAt.IsZero() && s.decision.To == 0 && s.count() == 0 && len(s.replicas) == 0 &&
		!s.scales.busy && s.offeredOK && len(s.offered) == 0
	switch {
	case !never && !empty:
		return false
	case s.next != nil:
		s.moveTo(*s.next)
		return false
	}
	s.calls.Go(func() {
		if err := s.ses.cfg.History.Forget(t.ctx, s.name); err != nil {
			s.log.Warn("cannot remove the status", "err", err)
		}
	})
	return true
}

// moveTo begins anew with another group of allocations. What was learned of the
// old one says nothing about it: only who asked last, and an operator's sleep,
// belong to the service.
func (s *service) moveTo(v policies.Version) {
	s.ses.release(s, s.ref.Job)
	s.mine, s.lost = false, false
	s.adopt(v)
	s.leaving, s.next = false, nil
	s.ensured, s.cannot, s.cannotKind, s.ensureAfter = false, "", "", time.Time{}
	s.had, s.unmet, s.change, s.out, s.hand, s.deployed, s.left = false, true, 0, nil, nil, nil, nil
	s.passed, s.noticed, s.silent, s.deployAt = nil, nil, false, time.Time{}
	s.seen, s.adopted, s.adoptedAt = jobs.Observation{}, false, time.Time{}
	s.gone, s.launch, s.asked, s.askedOK = map[string]bool{}, nil, 0, false
	s.failures, s.spells = decide.Failures{}, nil
	s.memory = decide.Memory{LastDemand: s.memory.LastDemand, Sleep: s.memory.Sleep}
	s.demand, s.counted = reading{}, 0 // what was in flight has ended with the old group
	s.decision, s.moved, s.decidedAt = decide.Decision{}, decide.Decision{}, time.Time{}
	s.starts, s.past, s.whole, s.serviceTime, s.latency, s.latencies = nil, nil, nil, decide.ServiceTime{}, nil, latencies{}
	s.refused, s.blocked, s.inWay, s.savedAt = obstacle{}, toldBlock{}, "", time.Time{}
	s.look, s.due, s.acted, s.changed = true, true, true, true
	s.mail.post(func(time.Time) {}) // come again at once
}
