package queue

import (
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// service is the local state of one service at one activator.
type service struct {
	q     *Queue
	name  string
	wake  chan struct{}
	quiet chan struct{} // told when nothing is in flight any more

	mu        sync.Mutex
	replicas  []*replica         // offered, and gone ones that still have a request; by index
	waiters   map[string]*waiter // by ticket
	order     *list.List         // the same, in the order of arrival
	contended bool               // somebody waits somewhere: freed slots go back to Redis
	away      bool               // the last call to Redis failed
	acks      map[string]bool    // grants taken, not yet told to Redis
	withdraw  map[string]bool    // tickets given up, not yet told to Redis
	suspect   map[string]bool    // replicas to be reported as suspect
	number    int64              // of the last statement
	lastUse   time.Time          // of the last Try or Hold
	settled   time.Time          // of the last answer of Redis
	heldBytes int64
}

// replica with the slots that this activator owns there; busy ≤ owned.
type replica struct {
	jobs.SlotOffer
	offered   bool
	owned     int
	busy      int
	suspectTo time.Time
}

// waiter is a held request of this process.
type waiter struct {
	ticket   *Ticket
	limits   Limits
	place    *list.Element
	asking   bool // a hold call is under way
	numbered bool // Redis has the ticket
	wait     Wait
	outcome  chan outcome // one; buffered
}

// outcome of a waiter: a slot, or why not.
type outcome struct {
	slot *Slot
	err  error
}

func newService(q *Queue, name string) *service {
	return &service{
		q: q, name: name, wake: make(chan struct{}, 1), quiet: make(chan struct{}, 1),
		waiters: map[string]*waiter{}, order: list.New(), acks: map[string]bool{},
		withdraw: map[string]bool{}, suspect: map[string]bool{},
	}
}

// kick makes the settler talk to Redis soon.
func (s *service) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// othersWait notes that freed slots have to go back to Redis.
func (s *service) othersWait() {
	s.mu.Lock()
	s.contended = true
	s.mu.Unlock()
}

// Try takes a slot that this activator owns and that nobody is known to wait
// for. It does no I/O: this is the warm path.
func (q *Queue) Try(name string) (*Slot, bool) {
	s := q.service(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.lastUse = now
	if s.contended && !s.away || len(s.waiters) > 0 {
		return nil, false
	}
	if !s.away && now.Sub(s.settled) > q.cfg.Lease {
		s.kick() // this process stood still, and its slots may be others' by now: ask
		return nil, false
	}
	return s.takeLocked()
}

// takeLocked takes the free owned slot of the least loaded replica, ties to the
// lowest index.
func (s *service) takeLocked() (*Slot, bool) {
	var best *replica
	for _, r := range s.replicas {
		if r.owned > r.busy && r.offered && r.Slots > 0 &&
			(best == nil || r.busy < best.busy) &&
			(r.suspectTo.IsZero() || time.Now().After(r.suspectTo)) {
			best = r
		}
	}
	if best == nil {
		return nil, false
	}
	best.busy++
	return s.slotLocked(best), true
}

func (s *service) slotLocked(r *replica) *Slot {
	return &Slot{Replica: r.ID, Address: r.Address, Index: r.Index, service: s}
}

func (s *service) find(id string) *replica {
	for _, r := range s.replicas {
		if r.ID == id {
			return r
		}
	}
	return nil
}

func (s *service) release(id string, suspect bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(id)
	if r == nil {
		return
	}
	r.busy--
	if suspect {
		r.suspectTo = time.Now().Add(s.q.cfg.Suspicion)
		s.suspect[id] = true
		s.kick()
	}
	if s.away {
		s.handOffLocked()
	}
	if s.contended || !r.offered || r.Slots == 0 {
		s.kick()
	}
	if !r.offered && r.busy == 0 {
		s.dropLocked(r)
	}
	for _, r := range s.replicas {
		if r.busy > 0 {
			return
		}
	}
	select {
	case s.quiet <- struct{}{}:
	default:
	}
}

func (s *service) dropLocked(r *replica) {
	s.replicas = slices.DeleteFunc(s.replicas, func(x *replica) bool { return x == r })
}

// handOffLocked gives free slots to this process' own waiters in their order:
// only while Redis is away, because otherwise Redis knows who is first.
func (s *service) handOffLocked() {
	for s.order.Len() > 0 {
		slot, ok := s.takeLocked()
		if !ok {
			return
		}
		w := s.order.Front().Value.(*waiter)
		if w.numbered || w.asking {
			s.withdraw[w.ticket.ID] = true
		}
		s.endLocked(w, outcome{slot: slot})
	}
}

// endLocked ends a waiter's wait.
func (s *service) endLocked(w *waiter, o outcome) {
	delete(s.waiters, w.ticket.ID)
	s.order.Remove(w.place)
	s.heldBytes -= int64(len(w.ticket.Body))
	w.outcome <- o
}

func (s *service) offersNow() []jobs.SlotOffer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []jobs.SlotOffer
	for _, r := range s.replicas {
		if r.offered && r.Slots > 0 {
			out = append(out, r.SlotOffer)
		}
	}
	return out
}

func (s *service) readyLocked() bool {
	for _, r := range s.replicas {
		if r.offered && r.Slots > 0 {
			return true
		}
	}
	return false
}

// Standing is what this process itself knows of one service.
type Standing struct {
	Service    string
	InFlight   int
	Held       int
	HeldBytes  int64
	OldestHold time.Time
	Owned      int // slots leased or granted to this activator
}

// Standings of all services this activator has seen.
func (q *Queue) Standings() []Standing {
	var out []Standing
	for _, s := range q.all() {
		s.mu.Lock()
		st := Standing{Service: s.name, Held: len(s.waiters), HeldBytes: s.heldBytes}
		for _, r := range s.replicas {
			st.InFlight += r.busy
			st.Owned += r.owned
		}
		if front := s.order.Front(); front != nil {
			st.OldestHold = front.Value.(*waiter).wait.From
		}
		s.mu.Unlock()
		out = append(out, st)
	}
	return out
}
