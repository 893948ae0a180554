package scaler

import (
	"sync"
	"time"
)

// mailbox hands work to the one goroutine that owns a service's state. A letter
// is a function that this goroutine calls; posting never waits.
type mailbox struct {
	mu      sync.Mutex
	letters []func(now time.Time)
	arrived chan struct{} // holds one signal while there are letters
}

func newMailbox() *mailbox { return &mailbox{arrived: make(chan struct{}, 1)} }

func (m *mailbox) post(letter func(now time.Time)) {
	m.mu.Lock()
	m.letters = append(m.letters, letter)
	m.mu.Unlock()
	select {
	case m.arrived <- struct{}{}:
	default:
	}
}

// open returns the letters in the order in which they were posted.
func (m *mailbox) open() []func(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	letters := m.letters
	m.letters = nil
	return letters
}

// lane is one kind of call that a service makes beside its loop, one at a time.
type lane struct {
	busy  bool
	since time.Time
}

// call runs work beside the loop and then what it returns inside it. It reports
// false and does nothing while the lane is busy.
func (s *service) call(l *lane, now time.Time, work func() (then func(now time.Time))) bool {
	if l.busy {
		return false
	}
	l.busy, l.since = true, now
	s.calls.Go(func() {
		then := work()
		s.mail.post(func(now time.Time) {
			l.busy = false
			then(now)
		})
	})
	return true
}
