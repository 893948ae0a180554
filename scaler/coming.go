package scaler

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/eta"
)

// phaseOf says which phase of its cold start a replica is in, and for how long.
// It is told as in the story of a start that is over (tell), so that past starts
// can be compared with it.
func (r *replica) phaseOf(now time.Time) (phase string, passed time.Duration) {
	l := r.launch
	if l == nil {
		l = &launch{Sent: r.placed}
	}
	placed, taken, pulling, started := l.fit(r.alloc, now)
	if r.began.After(started) {
		started = r.began
	}
	since := later(placed, taken)
	switch {
	case !started.IsZero():
		return jobs.PhaseLoad, now.Sub(started)
	case since.IsZero():
		return jobs.PhasePlace, now.Sub(l.Sent)
	case !pulling.IsZero():
		return jobs.PhasePull, now.Sub(since)
	}
	return jobs.PhaseStart, now.Sub(since)
}

// coming are the replicas on their way, those expected first first. Of one that
// nobody can place it is not known when it will be there.
func (s *service) coming(now time.Time) []jobs.Coming {
	slots := s.policy.Replicas.Concurrency
	list := []jobs.Coming{}
	for _, r := range s.inOrder() {
		if r.starts() {
			phase, passed := r.phaseOf(now)
			list = append(list, jobs.Coming{Phase: phase, Slots: slots, Left: eta.Left(s.past, phase, passed)})
		}
	}
	blocked := s.obstacle(now).kind != ""
	for range s.unplaced() {
		c := jobs.Coming{Phase: jobs.PhasePlace, Slots: slots}
		if !blocked && s.launch != nil {
			c.Left = eta.Left(s.past, c.Phase, now.Sub(s.launch.Sent))
		}
		list = append(list, c)
	}
	slices.SortStableFunc(list, func(a, b jobs.Coming) int {
		switch {
		case a.Left != nil && b.Left != nil:
			return cmp.Compare(a.Left.P50, b.Left.P50)
		case a.Left != nil:
			return -1
		case b.Left != nil:
			return 1
		}
		return 0
	})
	return list
}

// enoughServed requests say how long one takes.
const enoughServed = 5

// meanService is the mean time of a request in a slot, in seconds; nil until a few
// have been served.
func (s *service) meanService() *float64 {
	if s.serviceTime.Count < enoughServed {
		return nil
	}
	return figure(math.Round(s.serviceTime.MeanSeconds*1000) / 1000)
}
