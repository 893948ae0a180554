package scaler

import (
	"fmt"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// stopLost is how long after a scale call its victims must be told to stop.
const stopLost = 2 * time.Second

// verifyVictims looks whether a scale call downwards stopped whom it was
// expected to stop: the fleet chooses, and others may have chosen before it (a
// node drain, a preemption, somebody's hand). Those that go on running are
// replanned for at once: they serve again if they are wanted.
func (s *service) verifyVictims(now time.Time) {
	var spared []*replica
	for _, r := range s.inOrder() {
		if !r.stopAsked.IsZero() && r.alloc.Desired == jobs.DesiredRun && !r.alloc.Terminal() {
			spared = append(spared, r)
		}
	}
	if len(spared) == 0 || len(s.holders()) > s.seen.Count {
		return // done as expected, or not done yet
	}
	obeyed := s.seen.Count == s.asked && !s.scales.busy
	var names, others []string
	for _, r := range spared {
		if !obeyed && now.Sub(r.stopAsked) <= stopLost {
			continue // the picture may be from before the call
		}
		asked := r.stopAsked
		r.stopAsked, r.cut = time.Time{}, 0
		s.changed, s.due = true, true
		names = append(names, fmt.Sprintf("%s (index %d)", r.alloc.ID, r.alloc.Index))
		if len(others) == 0 {
			others = s.stoppedInstead(asked)
		}
	}
	switch {
	case len(names) == 0 || len(others) == 0 && !obeyed:
		return // a call that was refused or lost, and is told as such
	case len(others) == 0:
		others = []string{"one that had ended before"}
	}
	text := fmt.Sprintf("expected to stop %s, but the fleet stopped %s; planned anew",
		strings.Join(names, ", "), strings.Join(others, ", "))
	s.entry.Decisions = append(s.entry.Decisions, s.event(now, "other-victim", text, nil))
	s.log.Warn("the fleet stopped another replica than expected", "reason", text)
}

// stoppedInstead names the replicas that were told to stop since then though
// nobody here meant them to.
func (s *service) stoppedInstead(since time.Time) (names []string) {
	for _, r := range s.inOrder() {
		if r.stopAsked.IsZero() && !r.toldToStop.Before(since) {
			name := fmt.Sprintf("%s (index %d)", r.alloc.ID, r.alloc.Index)
			if n := s.demand.Busy[r.alloc.ID]; n > 0 {
				name += fmt.Sprintf(" with %d in flight, which finish within its kill timeout or are retried", n)
			}
			names = append(names, name)
		}
	}
	return names
}
