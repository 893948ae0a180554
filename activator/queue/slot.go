package queue

import (
	"errors"
	"sync"
	"time"
)

// ErrLeaseLost: the slot may be somebody else's by now, because this process
// stood still or is cut off. The request must not be sent with it; release it and
// take another.
var ErrLeaseLost = errors.New("the slot's lease has ended")

// Slot is the right to have one request in flight at one replica. Check it just
// before the first byte is sent; release it exactly once, further calls do
// nothing.
type Slot struct {
	Replica string
	Address string // host:port
	Index   int

	service *service
	given   time.Time // when the call was sent that brought it; zero: from the lease
	once    sync.Once
}

// Check returns ErrLeaseLost if the slot must not be used any more. It does no
// I/O.
func (s *Slot) Check() error {
	now := time.Now()
	s.service.mu.Lock()
	defer s.service.mu.Unlock()
	if within(s.given, now, s.service.q.cfg.term()) || s.service.trustLocked(now) {
		return nil
	}
	s.service.kick()
	return ErrLeaseLost
}

// Release gives the slot back.
func (s *Slot) Release() { s.once.Do(func() { s.service.release(s.Replica, false) }) }

// ReleaseSuspect gives the slot back and keeps everybody off its replica for a
// moment: it refused or broke a connection.
func (s *Slot) ReleaseSuspect() { s.once.Do(func() { s.service.release(s.Replica, true) }) }

// leave gives up a slot whose request was taken over, as if this activator were dead:
// its connection is closed, but its engine may compute on until then. run names it.
func (s *Slot) leave(run string, till time.Time) {
	s.once.Do(func() { s.service.leave(s.Replica, run, till) })
}

// forgo gives the slot back to Redis, as granted but not taken.
func (s *Slot) forgo(suspect bool) { s.once.Do(func() { s.service.forgo(s.Replica, suspect) }) }

// within reports whether less than d has passed since from. Both clocks have to
// say so: the monotonic one does not see a machine that was suspended, the other
// one may be set.
func within(from, now time.Time, d time.Duration) bool {
	return !from.IsZero() && now.Sub(from) < d && now.Round(0).Sub(from.Round(0)) < d
}

// trustLocked reports whether what this activator holds is its own: within the
// lease, which counts from before the call was sent that renewed it; or past it,
// in an outage of everybody.
func (s *service) trustLocked(now time.Time) bool {
	return within(s.renewed, now, s.q.cfg.term()) || within(s.outage, now, outageFor)
}

// mayUseLocked reports whether free slots may be put to new use. One that a peer
// has told that it alone is cut off uses none: what it has in flight is being told
// to the ledger, and must not become more.
func (s *service) mayUseLocked(now time.Time) bool {
	return !s.frozen && s.trustLocked(now)
}
