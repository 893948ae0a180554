package scaler

import (
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// reading is what the slot ledger said, and when it was asked and answered.
type reading struct {
	jobs.Demand
	asked, at time.Time
}

// stale: it was asked for a tick ago, or as good as. The answer is younger than the
// question: by its age alone one that took a millisecond would be fresh at the next
// tick, and every second tick would decide on what was waiting two seconds before.
// One that took long, and has just come, is not asked for again at once.
func (r *reading) stale(now time.Time, tick time.Duration) bool {
	return now.Sub(r.asked) >= tick-tick/8 && now.Sub(r.at) >= tick/2
}

// read asks the slot ledger for the demand.
func (s *service) read(now time.Time) {
	s.reask = false
	through, hurry := s.ses.prompt, s.hurry
	if s.decidedAt.IsZero() {
		through = s.ses.bulk // as all others, when many are taken over
	}
	s.call(&s.reads, now, func() func(time.Time) {
		defer through.enter(s.ctx, hurry)()
		asked := time.Now()
		d, err := s.ses.cfg.Ledger.Demand(s.ctx, s.name)
		return func(now time.Time) { s.onDemand(now, reading{Demand: d, asked: asked, at: now}, err) }
	})
}

// reread asks again even if an answer is on its way: that one may be from
// before what happened.
func (s *service) reread(now time.Time) {
	s.readAgain = s.reads.busy
	s.read(now)
}

// onDemand takes in what the slot ledger said; every answer is decided on.
func (s *service) onDemand(now time.Time, d reading, err error) {
	s.due = true
	s.readAt = now
	if err != nil {
		if s.unread == nil && s.ctx.Err() == nil {
			s.log.Warn("demand unknown", "err", err)
		}
		s.unread = err
		s.readAgain = false
		return
	}
	s.unread = nil
	if s.demand.Held != d.Held {
		s.changed = true
	}
	s.demand = d
	if d.Held > 0 || s.inFlight(now) > 0 {
		s.lastActive = now
	}
	if d.Held == 0 && !s.readAgain {
		s.unhurried()
	}
	if d.Held > 0 {
		s.lastDemand = now
	} else if busy := sum(d.Busy); busy > 0 && !s.countersFresh(now) {
		s.lastDemand = now // nobody else says so
	}
	if s.readAgain {
		s.readAgain = false
		s.read(now)
	}
}

// knows reports whether the demand is recent enough to act on.
func (s *service) knows(now time.Time) bool {
	return !s.demand.at.IsZero() && now.Sub(s.demand.at) <= 3*s.ses.cfg.Tick || s.rests(now)
}

// countersFresh reports whether the activators' counters are being read.
func (s *service) countersFresh(now time.Time) bool {
	at := s.ses.countersAt.Load()
	return at != 0 && now.Sub(time.Unix(0, at)) <= 3*s.ses.cfg.Tick
}

// inFlight is the larger of what the ledger and the activators say: either may
// be the later one, and a request must not be overlooked.
func (s *service) inFlight(now time.Time) int {
	n := sum(s.demand.Busy)
	if now.Sub(s.countedAt) <= 3*s.ses.cfg.Tick {
		n = max(n, s.counted)
	}
	return n
}

// freeSlots are the slots on offer that the ledger, when it was last read, had
// neither leased nor granted to anybody nor put in quarantine.
func (s *service) freeSlots() (free int) {
	for _, o := range s.offered {
		free += max(0, o.Slots-s.demand.SlotsOut[o.ID]-s.demand.Abandoned[o.ID])
	}
	return free
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

// snapshot is what a decision is made from.
func (s *service) snapshot(now time.Time) decide.Snapshot {
	snap := decide.Snapshot{
		Known:      s.knows(now),
		InFlight:   s.inFlight(now),
		Held:       s.demand.Held,
		Deadlines:  s.demand.Deadlines,
		OldestHold: s.demand.OldestHold,
		Arrivals:   s.arrivals,
		LastDemand: s.lastDemand,
		Service:    s.serviceTime,
		Latency:    s.latency,
		Blocked:    s.seen.Blocked,
		Operator:   s.setting.InEffect(),
		Hand:       s.hand,
		Starts:     s.starts,
		Failures:   s.recentFailures(now),
		GPUs:       s.gpus,
	}
	if snap.Held > 0 {
		// What a dead activator left behind is nobody's demand, and keeps no replica
		// (doc.go of activator/queue); but those who wait cannot have its slots.
		snap.InFlight += sum(s.demand.Abandoned)
	}
	var unknown, warned []string
	snap.Metrics, snap.MetricMaxes, unknown, warned = s.metrics(now)
	s.tellMetrics(now, &s.unknown, "metrics of the policy unknown", unknown)
	s.tellMetrics(now, &s.warned, "Prometheus warns of queries of the policy, whose values are used", append(warned, s.gpuWarned(now)...))
	if s.out != nil {
		snap.Out = &decide.Out{Rule: s.out.Rule, Reason: s.out.Why}
	}
	for _, r := range s.inOrder() {
		if r.phase == jobs.Gone || r.failed != "" {
			continue // a start that failed is not one that may be counted on
		}
		if r.moves() {
			// The place of a replica whose node is drained is kept: the fleet stops it
			// and fills the same index, which then is this entry (or one that the fleet
			// still owes, below). To leave it out would be to buy another for it, and
			// to have one too many when its replacement is there.
			snap.Replicas = append(snap.Replicas, decide.Replica{
				Index: r.alloc.Index, Phase: jobs.Pending, Launched: r.since, InFlight: s.demand.Busy[r.alloc.ID],
			})
			continue
		}
		snap.Replicas = append(snap.Replicas, decide.Replica{
			ID: r.alloc.ID, Index: r.alloc.Index, Phase: r.phase,
			Launched: r.launched(), ReadyAt: r.readyAt,
			InFlight:       s.demand.Busy[r.alloc.ID],
			GPUUtilization: r.gpuNow(now, s.policy.Sizing.Sample).Utilization,
		})
	}
	// What was asked for and is not placed yet counts too, or a slow fleet
	// would be asked for more and more.
	for i := range s.unplaced() {
		launched := now
		if s.launch != nil {
			launched = s.launch.Decided
		}
		snap.Replicas = append(snap.Replicas, decide.Replica{
			Index: len(s.replicas) + i, Phase: jobs.Pending, Launched: launched,
		})
	}
	return snap
}

// unplaced is how many allocations the fleet still owes.
func (s *service) unplaced() int {
	placed := 0
	for _, a := range s.seen.Allocations {
		if a.Desired == jobs.DesiredRun && (!a.Terminal() || s.holds(a)) {
			placed++
		}
	}
	return max(0, s.count()-placed)
}
