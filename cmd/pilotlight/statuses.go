package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/history"
)

// statuses mirrors what the scaler publishes, so that the activator can ask
// without I/O.
type statuses struct {
	history *history.History
	log     *slog.Logger

	mu  sync.RWMutex
	now map[string]jobs.Status
}

func newStatuses(h *history.History, log *slog.Logger) *statuses {
	return &statuses{history: h, log: log, now: map[string]jobs.Status{}}
}

// Status returns the last one published.
func (s *statuses) Status(service string) (jobs.Status, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st, ok := s.now[service]
	return st, ok
}

// Watch reads again when something was published, and every two seconds in case
// a message was lost.
func (s *statuses) Watch(ctx context.Context, changed func(service string)) error {
	wake := make(chan struct{}, 1)
	kick := func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	done := make(chan error, 1)
	go func() {
		done <- s.history.Changes(ctx, func(topic, _ string) {
			if topic == history.TopicStatus {
				kick()
			}
		})
	}()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		s.read(ctx, changed)
		select {
		case <-ctx.Done():
			return <-done
		case <-wake:
		case <-tick.C:
		}
	}
}

func (s *statuses) read(ctx context.Context, changed func(service string)) {
	all, err := s.history.Statuses(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.log.Debug("statuses cannot be read", "err", err)
		}
		return
	}
	next := make(map[string]jobs.Status, len(all))
	for _, st := range all {
		next[st.Name] = st
	}
	s.mu.Lock()
	before := s.now
	s.now = next
	s.mu.Unlock()
	for name, st := range next {
		if !st.At.Equal(before[name].At) {
			changed(name)
		}
	}
}
