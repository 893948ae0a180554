package web

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of simulations. One runs at a time, on half of the processors: requests
// may be served by the same process.
const (
	simulationDeadline = 2 * time.Minute
	simulationRequests = 20_000_000 // of recorded demand, in one simulation
	waitingSimulations = 3
	keptSimulations    = 20 // that are over
	keepSimulation     = 15 * time.Minute
	abandonedAfter     = time.Minute // without anybody asking for it
	mostPoints         = 720         // of a series
)

// simulations are those of this process: waiting, running, and over for a while.
// Nothing of them is stored: a report is a hundred kilobytes that one person looks
// at once, and is made again in seconds. Their ids begin with own, so that another
// process knows that it never had one.
type simulations struct {
	own    string
	log    *slog.Logger
	queued chan struct{} // one waits that did not before

	mu    sync.Mutex // guards what follows; held for no longer than a look
	queue []*simulation
	byID  map[string]*simulation
}

func newSimulations(log *slog.Logger) *simulations {
	return &simulations{own: newID(4), log: log, queued: make(chan struct{}, 1), byID: map[string]*simulation{}}
}

func newID(length int) string { return strings.ToLower(rand.Text()[:length]) }

// add queues a simulation; false if too many wait.
func (s *simulations) add(j *simulation) bool {
	j.id, j.ended, j.state, j.asked = s.own+newID(14), make(chan struct{}), simulationWaiting, time.Now()
	j.ctx, j.cancel = context.WithCancelCause(context.Background()) // run ends it with the server's
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = slices.DeleteFunc(s.queue, (*simulation).isOver) // cancelled ones make room
	if len(s.queue) >= waitingSimulations {
		return false
	}
	s.queue, s.byID[j.id] = append(s.queue, j), j
	select {
	case s.queued <- struct{}{}:
	default:
	}
	return true
}

// next takes the first that waits; nil if none does.
func (s *simulations) next() *simulation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	j := s.queue[0]
	s.queue = slices.Delete(s.queue, 0, 1)
	return j
}

// find returns a simulation, and notes that somebody asks for it.
func (s *simulations) find(id string) *simulation {
	s.mu.Lock()
	j := s.byID[id]
	s.mu.Unlock()
	if j != nil {
		j.mu.Lock()
		j.asked = time.Now()
		j.mu.Unlock()
	}
	return j
}

// run works until ctx ends.
func (s *simulations) run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.queued:
			}
			for j := s.next(); j != nil; j = s.next() {
				j.run(ctx, s.log)
			}
		}
	})
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.tidy(now)
		}
	}
}

// tidy cancels what nobody asks for any more, and forgets what is over for long.
func (s *simulations) tidy(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var over []*simulation
	for id, j := range s.byID {
		j.mu.Lock()
		switch {
		case !j.final() && now.Sub(j.asked) > abandonedAfter:
			j.cancel(errSimulationAbandoned)
			j.end(simulationCancelled, errSimulationAbandoned.Error())
		case j.final() && now.Sub(j.closed) > keepSimulation:
			delete(s.byID, id)
		case j.final():
			over = append(over, j)
		}
		j.mu.Unlock()
	}
	slices.SortFunc(over, func(a, b *simulation) int { return b.closed.Compare(a.closed) }) // final ones change no more
	for _, j := range over[min(len(over), keptSimulations):] {
		delete(s.byID, j.id)
	}
}

// await waits until a simulation is over, ctx ends, or so long, and counts as
// asking for it.
func (j *simulation) await(ctx context.Context, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-j.ended:
	case <-ctx.Done():
	case <-timer.C:
	}
}
