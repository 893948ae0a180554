package scaler

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// observe brings the replicas up to what the fleet says now.
func (s *service) observe(now time.Time) {
	s.look = false
	obs, err := s.ses.cfg.Fleet.Observe(s.ctx, s.ref)
	rule, why := "", obs.Stopped
	switch {
	case err != nil && s.purged(err):
		rule, why = rulePurged, s.purgedWhy()
		obs, err = jobs.Observation{At: now}, nil // it runs nothing, which is not the same as unknown
	case err != nil:
		if s.blind == nil && s.ctx.Err() == nil {
			s.log.Warn("cannot observe the fleet", "err", err)
			s.changed = true
		}
		s.blind = err
		if errors.Is(err, jobs.ErrDenied) {
			s.lookAfter = now.Add(deniedAgain)
		}
		return
	case why != "":
		rule = ruleStopped
	}
	s.blind = nil
	s.compare(now, obs)
	first := !s.adopted
	s.heardAt, s.seen = s.seen.At, obs
	s.adopted = true
	if first {
		s.adoptedAt = now
		if obs.Count == 0 && !slices.ContainsFunc(obs.Allocations, func(a jobs.Allocation) bool { return !a.Terminal() }) {
			s.tellEmptied(now)
			s.memory = s.memory.Emptied()
		}
	}

	known := make(map[string]bool, len(obs.Allocations))
	for _, a := range obs.Allocations {
		known[a.ID] = true
		if s.gone[a.ID] {
			s.hearLast(now, a)
			continue
		}
		r := s.replicas[a.ID]
		switch {
		case r == nil && first && a.Terminal():
			s.gone[a.ID] = true // from before our time
			continue
		case r == nil:
			r = s.meet(now, a, first)
		default:
			s.update(now, r, a)
		}
		if a.Terminal() {
			s.part(now, r)
		}
	}
	for id, r := range s.replicas {
		if !known[id] {
			r.alloc.Client = jobs.ClientComplete
			r.alloc.Desired = jobs.DesiredStop
			s.noteCut(r)
			s.part(now, r)
		}
	}
	for id := range s.gone {
		if !known[id] {
			delete(s.gone, id)
			s.endWithout(now, id)
		}
	}
	s.due = true
	returned := s.setOut(now, rule, why, obs.Count)
	s.heed(now, obs.Change, returned)
	s.verifyVictims(now)
	s.tellCuts(now)
}

// compare notes what a new picture says beside the replicas.
func (s *service) compare(now time.Time, obs jobs.Observation) {
	last := &s.seen
	silent := !obs.At.IsZero() && now.Sub(obs.At) > silentAfter
	if silent != s.silent || silent && obs.Silence != last.Silence || obs.Deployment != last.Deployment || obs.Blocked != last.Blocked || !slices.Equal(obs.Drift, last.Drift) {
		s.changed = true
	}
	if silent && !s.silent {
		s.log.Warn("the fleet is silent", "since", obs.At)
	}
	s.silent = silent
	switch {
	case obs.Deployment == "" && last.Deployment != "":
		s.scaleAfter = time.Time{} // it is over: what was refused is tried at once
		s.scalePause.Reset()
		s.deployAt = time.Time{}
	case obs.Deployment != "" && s.deployAt.IsZero():
		s.deployAt = now
	}
}

// meet takes in an allocation that was not known.
func (s *service) meet(now time.Time, a jobs.Allocation, adopt bool) *replica {
	r := &replica{alloc: a, since: now, met: now}
	r.reckon(s.heardAt, now)
	s.replicas[a.ID] = r
	if adopt {
		// It may have had slots under an earlier scaler.
		r.offered = true
		s.openStory(a, r)
		s.inheritStart(r)
		s.inheritDrain(now, r)
		if s.lastDemand.IsZero() {
			s.lastDemand = now // somebody wanted it once; its keep-alive begins now
		}
		s.log.Info("adopted", "replica", a.ID, "index", a.Index)
	} else {
		r.story = true
		if l := s.launch; l != nil && l.unclaimed > 0 {
			l.unclaimed--
			r.launch = l
		}
		s.log.Info("placed", "replica", a.ID, "index", a.Index, "node", a.Node)
	}
	s.probe(r)
	s.changed = true
	return r
}

// update takes in a new picture of a known allocation.
func (s *service) update(now time.Time, r *replica, a jobs.Allocation) {
	died := r.died(a)
	started := r.alloc.Started.IsZero() && !a.Started.IsZero()
	moved := r.alloc.Address != a.Address
	if a.Desired != jobs.DesiredRun && r.alloc.Desired == jobs.DesiredRun {
		r.toldToStop = now
	}
	if a.NodeDraining != r.alloc.NodeDraining || a.Progress != r.alloc.Progress {
		s.changed = true
	}
	r.alloc = a
	if started || died {
		r.reckon(s.heardAt, now)
	}
	s.noteCut(r)
	switch {
	case died:
		s.log.Warn("process died, restarted in place by its fleet", "replica", a.ID, "reason", a.Failure)
		r.answers, r.readyAt = false, time.Time{}
		s.probe(r)
	case moved, started && !r.answers:
		s.probe(r) // from its first pace on: the process is new
	}
}

// part takes leave of a replica whose process is gone for good.
func (s *service) part(now time.Time, r *replica) {
	r.forget()
	r.phase = jobs.Gone
	delete(s.replicas, r.alloc.ID)
	s.gone[r.alloc.ID] = true
	s.changed = true
	s.log.Info("gone", "replica", r.alloc.ID, "reason", r.alloc.Failure)
	if r.alloc.LogDue {
		s.awaitLog(now, r)
		return
	}
	s.ended(now, now, r)
}

// ended finds out what the end of a replica at that moment means.
func (s *service) ended(now, at time.Time, r *replica) {
	if r.answer == nil && !r.firstReady.IsZero() {
		// Whether it ever answered decides what its end means; ask first.
		s.parted = append(s.parted, r)
		s.answersDue = now
		return
	}
	s.judge(at, r)
}

// probe begins to ask a replica whether it can answer, anew if it did already.
func (s *service) probe(r *replica) {
	if r.unwatch != nil {
		r.unwatch()
	}
	r.watch++
	r.unwatch = nil
	if r.alloc.Address == "" || r.alloc.Terminal() {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	r.unwatch = cancel
	generation := r.watch
	p := &prober{
		client:  s.ses.cfg.Client,
		url:     s.probeURL(r.alloc.Address),
		timeout: s.policy.Probe.Timeout,
		timing:  s.ses.cfg.Probe,
		early:   r.alloc.Started.IsZero() || time.Since(r.alloc.Started) < s.ses.cfg.Probe.First,
	}
	s.calls.Go(func() {
		p.run(ctx, func(o outcome) {
			s.mail.post(func(now time.Time) {
				if r.watch == generation {
					s.onProbe(now, r, o)
				}
			})
		})
	})
}

func (s *service) probeURL(address string) string {
	return "http://" + address + policies.ProbePath(s.policy, s.spec)
}

// onProbe takes in that a replica began or ceased to answer.
func (s *service) onProbe(now time.Time, r *replica, o outcome) {
	r.probed, r.why = true, o.why
	if o.answers == r.answers {
		return
	}
	r.answers = o.answers
	if !o.answers {
		r.readyAt = time.Time{}
		s.log.Warn("replica does not answer any more", "replica", r.alloc.ID, "reason", o.why)
	} else {
		r.readyAt = o.at
		if r.firstReady.IsZero() {
			r.firstReady = o.at
		}
		r.failed = "" // late, but there
		s.log.Info("replica answers", "replica", r.alloc.ID)
	}
	s.changed, s.due = true, true
}

// phases settles the phase of every replica after anything happened.
func (s *service) phases(now time.Time) {
	for _, r := range s.replicas {
		if p := r.now(); p != r.phase {
			r.phase, r.since = p, now
			s.changed = true
		}
	}
}

// inOrder returns the replicas by index, older ones first.
func (s *service) inOrder() []*replica {
	list := make([]*replica, 0, len(s.replicas))
	for _, r := range s.replicas {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *replica) int {
		if a.alloc.Index != b.alloc.Index {
			return a.alloc.Index - b.alloc.Index
		}
		return a.alloc.Created.Compare(b.alloc.Created)
	})
	return list
}
