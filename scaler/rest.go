package scaler

import (
	"hash/fnv"
	"math"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// What a service costs that nobody uses. See "Many services" in doc.go.
const (
	// calm is how long nothing must have happened to a service before it rests:
	// until all that is shown of the last minute has been shown to be over.
	calm = shown + 2*jobs.LatencyBucketSpan
	// repairs is how many services at rest are looked at in a tick, all together.
	repairs = 20
	// longestRest is the most time between two looks at one: a fleet forgets what
	// it is not asked about.
	longestRest = 30 * time.Minute
)

// idle reports whether nothing is going on as far as the service was told:
// nothing runs, is wanted or is asked for.
func (s *service) idle(now time.Time) bool {
	return len(s.replicas) == 0 && s.decision.To == 0 && s.count() == 0 && !s.leaving &&
		s.shadow.policy == nil && s.demand.Held == 0 && s.unread == nil && now.Sub(s.lastActive) >= calm
}

// rests reports whether the slot ledger need not be asked: the service is idle,
// the ledger had nothing of it when it was asked last, and the activators, who
// are heard every tick, hold nothing and have nothing in flight. Whoever holds a
// request announces it again every second.
func (s *service) rests(now time.Time) bool {
	return s.idle(now) && !s.demand.at.IsZero() && len(s.demand.Busy) == 0 && !s.reads.busy &&
		s.countersFresh(now) && now.Sub(s.demand.at) < 2*s.repair()
}

// interval is the time between two looks at the fleet and the slot ledger though
// nothing happens. A service with nothing going on needs them only to repair what
// was missed.
func (s *service) interval(now time.Time) time.Duration {
	switch {
	case !s.idle(now):
		return s.ses.cfg.Tick
	case s.blind != nil:
		return max(s.ses.cfg.Tick, s.ses.cfg.IdleTick)
	}
	return s.repair()
}

// repair is the time between two looks at a service at rest.
func (s *service) repair() time.Duration {
	cfg := &s.ses.cfg
	every := min(time.Duration(s.ses.number.Load())*cfg.Tick/repairs, longestRest)
	return max(cfg.Tick, cfg.IdleTick, every)
}

// stagger shortens the first rest of a service, to another moment for each: all
// were met at once, and would go on looking at once, in the way of whoever wakes.
func (s *service) stagger(every time.Duration) time.Duration {
	if every <= s.ses.cfg.Tick || s.staggered {
		return every
	}
	s.staggered = true
	h := fnv.New32a()
	h.Write([]byte(s.name))
	return time.Duration(float64(every) * float64(h.Sum32()) / math.MaxUint32)
}

// hasten lets the calls to Redis that are made for the service overtake those of
// services that nobody waits for, until nothing is held any more.
func (s *service) hasten() {
	if !s.hurried {
		s.hurried = true
		close(s.hurry)
	}
}

// unhurried is the end of that.
func (s *service) unhurried() {
	if s.hurried {
		s.hurried, s.hurry = false, make(chan struct{})
	}
}

// onMissed takes in that announcements may have been lost. Of a service at rest
// there was none that is not repeated within a second.
func (s *service) onMissed(now time.Time) {
	if s.loaded && !s.rests(now) {
		s.reread(now)
	}
}

// onInUse takes in that something of the service ran or was wanted under the last
// scaler: taking it over comes before those at rest.
func (s *service) onInUse(time.Time) { s.hasten() }
