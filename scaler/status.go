package scaler

import (
	"math"
	"slices"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
	"github.com/pilotlight/pilotlight/scaler/history"
)

const (
	ruleEvery   = time.Minute            // between stored decisions that changed nothing but their rule
	statusEvery = 100 * time.Millisecond // between published changes, so that a burst of events is one
	wayAhead    = 5 * time.Millisecond   // that a wake has of what is published about it
	keepUnsaved = 100                    // of each kind, while Redis is silent
	pollAnswers = 250 * time.Millisecond
	idleStatus  = time.Minute // between publications of a service at rest, at least
)

// news reports whether the decision says something new: another count, another
// rule for some time, or the first one after an operator or an editor acted.
func (s *service) news(now time.Time, last decide.Decision) bool {
	d := &s.decision
	ruled := d.Rule != last.Rule && now.Sub(s.storedAt) >= ruleEvery
	braked := !d.BrakeUntil.Equal(last.BrakeUntil) && d.BrakeUntil.After(now)
	if d.To != last.To || d.Rule != last.Rule {
		s.changed = true
	}
	return d.To != d.From || ruled || braked || s.acted
}

// record stores the decision.
func (s *service) record(now time.Time) {
	d := s.decision
	if d.To != d.From {
		s.moved = d
	}
	s.storedAt, s.acted = now, false
	s.entry.Decisions = append(s.entry.Decisions, d)
	s.unsaid = d.To != d.From
}

// say logs a decision that changed something, after it was acted upon.
func (s *service) say() {
	if d := &s.decision; s.unsaid {
		s.unsaid = false
		s.log.Info("decision", "from", d.From, "to", d.To, "rule", d.Rule, "reason", d.Reason, "inputs", d.Inputs)
	}
}

// awaitsAnswers reports whether any replica may answer for the first time.
func (s *service) awaitsAnswers(now time.Time) bool {
	waits := len(s.parted) > 0
	for _, r := range s.replicas {
		waits = waits || r.answer == nil && !r.firstReady.IsZero() && (r.story || now.Sub(r.firstReady) <= youngDeath)
	}
	return waits
}

// askAnswers asks the ledger which replicas have answered for the first time,
// as long as any may. It returns when it wants to be called again.
func (s *service) askAnswers(now time.Time) (again time.Time) {
	if !s.awaitsAnswers(now) {
		return time.Time{}
	}
	if now.Before(s.answersDue) {
		return s.answersDue
	}
	if s.answers.busy {
		return time.Time{}
	}
	s.answersDue = now.Add(pollAnswers)
	if s.inFlight(now) == 0 && s.demand.Held == 0 && now.Sub(s.lastActive) > time.Minute {
		s.answersDue = now.Add(s.ses.cfg.Tick)
	}
	parted := s.parted // those that were gone before the ledger was asked
	s.parted = nil
	s.call(&s.answers, now, func() func(time.Time) {
		answers, err := s.ses.cfg.Ledger.FirstAnswers(s.ctx, s.name)
		return func(now time.Time) {
			if err == nil {
				s.onAnswers(now, answers)
			}
			s.judgeParted(now, parted, answers)
		}
	})
	return s.answersDue
}

// judgeParted judges replicas that have gone, now that it is known which of
// them had answered.
func (s *service) judgeParted(now time.Time, parted []*replica, answers []jobs.FirstAnswer) {
	for _, r := range parted {
		for _, a := range answers {
			if a.Replica == r.alloc.ID {
				r.answer = &a
				s.failures.InARow = 0
				s.learned = true
			}
		}
		s.judge(now, r)
	}
}

// status is how the service stands.
func (s *service) status(now time.Time) jobs.Status {
	st := jobs.Status{
		Name:          s.name,
		Demand:        jobs.DemandCounts{InFlight: s.inFlight(now), Held: s.demand.Held},
		Errors:        s.ends.failing(now),
		Latency:       s.latencies.quantiles(now),
		Cold:          coldStats(s.starts),
		Coming:        s.coming(now),
		Start:         s.whole,
		Service:       s.meanService(),
		PolicyVersion: s.version,
		Reason:        s.decision.Reason,
		At:            now.UTC(),
	}
	st.Replicas.Wanted = s.decision.To
	st.Replicas.Pending = s.unplaced()
	st.Replicas.List = []jobs.Replica{}
	var gpus []jobs.GPU // of the ready ones
	for _, r := range s.inOrder() {
		switch r.phase {
		case jobs.Pending:
			st.Replicas.Pending++
		case jobs.Starting:
			st.Replicas.Starting++
		case jobs.Ready:
			st.Replicas.Ready++
		case jobs.Draining:
			st.Replicas.Draining++
		}
		gpu := r.gpuNow(now, s.policy.Sizing.Sample)
		if r.phase == jobs.Ready {
			gpus = append(gpus, gpu)
		}
		st.Replicas.List = append(st.Replicas.List, jobs.Replica{
			ID: r.alloc.ID, Region: s.ses.cfg.Region, Node: r.alloc.Node, Address: r.alloc.Address,
			Index: r.alloc.Index, Phase: r.phase, Since: r.since.UTC(), Launched: r.launched().UTC(),
			Slots: s.policy.Replicas.Concurrency, InFlight: s.demand.Busy[r.alloc.ID],
			GPUUtilizationPercent: gpu.Utilization, GPUMemoryUsedBytes: gpu.MemoryUsed,
			GPUMemoryTotalBytes: gpu.MemoryTotal, GPUUnknownReason: gpu.Why,
			Failure: r.failed, Progress: r.progress(),
		})
	}
	why := ""
	if st.GPU, st.GPUMem, why = gpuTotal(gpus); why != "" {
		st.GPUWhy = &why
	}
	if s.countersFresh(now) {
		st.QPS = figure(s.rate.perSecond(now))
	}
	if s.demand.Held > 0 && !s.demand.OldestHold.IsZero() {
		st.Oldest = figure(max(0, now.Sub(s.demand.OldestHold).Seconds()))
	}
	if !s.lastDemand.IsZero() {
		at := s.lastDemand.UTC()
		st.LastDemand = &at
	}
	if !s.seen.At.IsZero() {
		at := s.seen.At.UTC()
		st.FleetAt = &at
	}
	st.Notices = s.notices(now)
	if s.setting.Operator.Paused {
		why := s.pausedWhy()
		st.Paused = &why
		if at := s.setting.Pause().At; !at.IsZero() {
			st.PausedAt = &at
		}
	}
	switch op := &s.setting.Operator; {
	case s.hand != nil:
		held, until := s.hand.Count, s.hand.Until.UTC()
		st.Pinned, st.PinnedUntil = &held, &until
	case op.Pinned != nil:
		held := min(*op.Pinned, s.policy.Replicas.Max)
		st.Pinned = &held
	}
	s.judgeState(now, &st)
	return st
}

// coldStats sums up cold starts, in seconds; a quantile is the smallest value
// that so many of them do not exceed.
func coldStats(starts []float64) jobs.ColdStartStats {
	stats := jobs.ColdStartStats{Count: len(starts)}
	if len(starts) == 0 {
		return stats
	}
	sorted := slices.Sorted(slices.Values(starts))
	at := func(q float64) *float64 {
		return figure(sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)])
	}
	stats.P50, stats.P90, stats.Last = at(0.5), at(0.9), figure(starts[len(starts)-1])
	return stats
}

// publish writes what has changed, after everything else of the round: nobody
// waits for it. It returns when it wants to be called again.
func (s *service) publish(now time.Time) (again time.Time) {
	t := s.ses.acting()
	if t == nil || !s.loaded || s.cannot == "" && s.decidedAt.IsZero() {
		return time.Time{} // what is not known yet is not told
	}
	if from := s.publishFrom(); now.Before(from) {
		return from
	}
	tick := s.ses.cfg.Tick
	active := !s.idle(now)
	// A reader of a decision or a cold start must find a status that knows of it.
	told := s.learned || len(s.entry.Decisions)+len(s.entry.ColdStarts) > 0
	if s.changed && !told && now.Sub(s.statusAt) < statusEvery {
		again = s.statusAt.Add(statusEvery)
	} else if told || s.changed || active && now.Sub(s.statusAt) >= tick || now.Sub(s.statusAt) >= max(idleStatus, s.repair()) {
		if told { // a memory without them would have them happen again, or never
			s.savedAt = time.Time{}
		}
		st := s.describe(now)
		s.ses.metrics.published(st, s.ses.cfg.Region)
		s.ses.metrics.obstructed(s.name, s.obstacle(now).kind)
		s.ses.metrics.slotsOf(s.name, s.freeSlots(), sum(s.demand.Quarantined))
		if active && now.Sub(s.pointAt) >= tick {
			s.pointAt = now
			s.entry.Points = append(s.entry.Points, point(st))
		}
	}
	e := &s.entry
	if e.Status == nil && e.Memory == nil && len(e.Points)+len(e.Decisions)+len(e.ColdStarts) == 0 {
		return again
	}
	if s.writeFail && now.Sub(s.writes.since) < tick {
		return earlier(again, s.writes.since.Add(tick))
	}
	if s.writes.busy {
		return again
	}
	entry := *e
	entry.Epoch = t.epoch
	if entry.Memory != nil { // as often as that
		entry.Recorded = s.recorded.take()
		entry.Shadow = s.shadow.take()
	}
	s.call(&s.writes, now, func() func(time.Time) {
		defer s.ses.bulk.enter(t.ctx, nil)()
		err := s.ses.cfg.History.Write(t.ctx, entry)
		return func(now time.Time) { s.onWritten(now, t, entry, err) }
	})
	s.entry = history.Entry{Service: s.name}
	return again
}

// describe puts the present status into the entry that is written next, and the
// memory if it is due.
func (s *service) describe(now time.Time) jobs.Status {
	st := s.status(now)
	s.entry.Status = &st
	s.statusAt, s.changed = now, false
	if now.Sub(s.savedAt) < saveEvery {
		return st
	}
	text, err := s.remembered()
	if err != nil {
		s.log.Error("cannot remember", "err", err)
		return st
	}
	s.entry.Memory, s.savedAt, s.learned = text, now, false
	return st
}

// publishFrom is when publishing is in nobody's way: somebody may wait for the
// reading of the demand that decides, and for the replica that a scale call
// starts, on the same processors and at the same Redis.
func (s *service) publishFrom() time.Time {
	urgent := s.askedAt
	if s.reads.busy && s.reads.since.After(urgent) {
		urgent = s.reads.since
	}
	return urgent.Add(wayAhead)
}

// onWritten takes back what could not be written, bounded, for the next try.
func (s *service) onWritten(now time.Time, t *term, entry history.Entry, err error) {
	s.recorded.stored(now, entry.Recorded, err == nil)
	s.shadow.stored(entry.Shadow, err == nil)
	if err == nil {
		s.writeFail = false
		return
	}
	if s.outranked(t, err) {
		return // what this one believed is told by another now
	}
	if !s.writeFail && s.ctx.Err() == nil {
		s.log.Warn("cannot write history, will try again", "err", err)
	}
	s.writeFail = true
	e := &s.entry
	if e.Status == nil {
		e.Status = entry.Status
	}
	if e.Memory == nil {
		e.Memory = entry.Memory
	}
	e.Points = latest(entry.Points, e.Points)
	e.Decisions = latest(entry.Decisions, e.Decisions)
	e.ColdStarts = latest(entry.ColdStarts, e.ColdStarts)
}

// latest joins two lists and keeps their newest part.
func latest[T any](older, newer []T) []T {
	list := slices.Concat(older, newer)
	return list[max(0, len(list)-keepUnsaved):]
}

// point is one second of the timeline.
func point(st jobs.Status) jobs.Point {
	return jobs.Point{
		At: st.At, Wanted: st.Replicas.Wanted, Ready: st.Replicas.Ready,
		Starting: st.Replicas.Pending + st.Replicas.Starting, Draining: st.Replicas.Draining,
		Held: st.Demand.Held, InFlight: st.Demand.InFlight,
		QPS: st.QPS, GPU: st.GPU, P95MS: st.Latency.P95,
	}
}
