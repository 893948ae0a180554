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
	raise chan struct{} // told when more is in flight than the ledger was told

	mu        sync.Mutex
	replicas  []*replica            // offered, and gone ones that still have a request; by index
	waiters   map[string]*waiter    // by ticket
	order     *list.List            // the same, in the order of arrival
	running   map[string]*Execution // durable tickets in a slot here
	expected  map[string]bool       // durable tickets being submitted, whose grant has not come yet
	contended bool                  // somebody waits somewhere: freed slots go back to Redis
	acks      map[string]int64      // grants taken, not yet told to Redis: ticket → epoch
	withdraw  map[string]bool       // tickets given up, not yet told to Redis
	suspect   map[string]bool       // replicas to be reported as suspect
	dead      map[string]bool       // silent activators whose address refuses: to be reported
	views     map[string]statedView // of activators that are cut off: to be reported
	left      map[string]leftSlot   // slots of runs that were taken over: to be quarantined
	number    int64                 // of the last statement
	stating   bool                  // it is under way
	gen       int64                 // latest generation of the ledger seen
	durable   int64                 // tickets of the service that are not final, as last heard
	life      string                // of the ledger: another one has lost writes
	forgotten int                   // how often the ledger has been found to have forgotten our tickets
	due       time.Duration         // from the last statement until somebody silent is dead; 0: nobody is silent
	stated    bool                  // Redis has a statement of ours
	lastUse   time.Time             // of the last Try or Hold
	heldBytes int64
	longest   longest // that what is in a slot may still take

	cold      time.Duration // for how long no replica had slots, but for
	coldSince time.Time     // since when none has, as last heard; zero: one has
	coldHeard time.Time     // when it was last heard that none has

	renewed   time.Time // when the call was sent whose answer last renewed our lease
	heard     time.Time // when Redis last answered, whatever it was
	away      bool      // the last call to Redis failed
	awaySince time.Time
	outage    time.Time // when it was last found that no peer reaches Redis either
	frozen    bool      // a peer does: nothing is put to new use until Redis answers
}

// replica with the slots that this activator owns there; busy ≤ owned.
type replica struct {
	jobs.SlotOffer
	offered   bool
	owned     int
	busy      int
	peak      int // most busy since the last statement
	told      int // busy at most, as the ledger knows
	suspectTo time.Time
}

// waiter is a held request of this process.
type waiter struct {
	ticket   *Ticket
	limits   Limits
	bytes    int64 // sizeOf its request
	place    *list.Element
	asking   bool // a hold call is under way
	numbered bool // Redis has the ticket
	wait     Wait
	outcome  chan outcome // one; buffered

	heard  bool          // its first call has been answered
	coldAt time.Duration // coldLocked when it began
}

// outcome of a waiter: a slot, or why not.
type outcome struct {
	slot *Slot
	err  error
}

func newService(q *Queue, name string) *service {
	return &service{
		q: q, name: name, wake: make(chan struct{}, 1), quiet: make(chan struct{}, 1), raise: make(chan struct{}, 1),
		waiters: map[string]*waiter{}, order: list.New(), running: map[string]*Execution{}, expected: map[string]bool{},
		acks: map[string]int64{}, withdraw: map[string]bool{}, suspect: map[string]bool{},
		dead: map[string]bool{}, views: map[string]statedView{}, left: map[string]leftSlot{},
		coldSince: time.Now(),
	}
}

// poke a channel that remembers one message.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// kick makes the settler talk to Redis soon.
func (s *service) kick() { poke(s.wake) }

// othersWait notes that freed slots have to go back to Redis.
func (s *service) othersWait() {
	s.mu.Lock()
	s.contended = true
	s.mu.Unlock()
}

// Try takes a slot that this activator owns and that nobody is known to wait
// for. It does no I/O: this is the warm path. Of limits only Timeout counts.
func (q *Queue) Try(name string, limits Limits) (*Slot, bool) {
	limits.Defaults()
	s := q.service(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.lastUse = now
	if s.contended && !s.awayFor(now) || len(s.waiters) > 0 {
		return nil, false
	}
	if !s.mayUseLocked(now) {
		s.kick() // this process stood still, and its slots may be others' by now: ask
		return nil, false
	}
	slot, ok := s.takeLocked(now)
	if ok && s.longest.hear(limits.Timeout, now) {
		s.kick()
	}
	return slot, ok
}

// takeLocked takes the free owned slot of the least loaded replica, ties to the
// lowest index.
func (s *service) takeLocked(now time.Time) (*Slot, bool) {
	best := s.idleLocked(now)
	if best == nil {
		return nil, false
	}
	return s.slotLocked(best, time.Time{}), true
}

// idleLocked returns the replica whose free owned slot is to be used next, nil if
// there is none.
func (s *service) idleLocked(now time.Time) (best *replica) {
	if !s.mayUseLocked(now) {
		return nil
	}
	for _, r := range s.replicas {
		if r.owned > r.busy && r.offered && r.Slots > 0 &&
			(best == nil || r.busy < best.busy) &&
			(r.suspectTo.IsZero() || now.After(r.suspectTo)) {
			best = r
		}
	}
	return best
}

// slotLocked puts one slot of a replica to use.
func (s *service) slotLocked(r *replica, given time.Time) *Slot {
	r.busy++
	r.peak = max(r.peak, r.busy)
	if r.busy > r.told {
		poke(s.raise)
	}
	return &Slot{Replica: r.ID, Address: r.Address, Index: r.Index, service: s, given: given}
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
	s.releaseLocked(id, suspect)
}

func (s *service) releaseLocked(id string, suspect bool) {
	r := s.find(id)
	if r == nil {
		return
	}
	now := time.Now()
	r.busy--
	if suspect {
		r.suspectTo = now.Add(s.q.cfg.Suspicion)
		s.suspect[id] = true
		s.kick()
	}
	if s.awayFor(now) {
		s.handOffLocked(now)
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
	poke(s.quiet)
}

// leave a slot to quarantine: it is stated as one that is not ours any more, and
// may be in use until then.
func (s *service) leave(id, run string, till time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.find(id); r != nil && time.Now().Before(till) {
		r.owned--
		s.left[run] = leftSlot{Replica: id, till: till}
	}
	s.releaseLocked(id, false)
	s.kick()
}

// forgo a slot that Redis takes back by itself: it is neither in use nor idle here.
func (s *service) forgo(id string, suspect bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.find(id); r != nil {
		r.owned--
	}
	s.releaseLocked(id, suspect)
}

func (s *service) dropLocked(r *replica) {
	s.replicas = slices.DeleteFunc(s.replicas, func(x *replica) bool { return x == r })
}

// awayFor reports whether Redis has been away for a heartbeat: one call that
// failed must not put this activator's own waiters before those of others.
func (s *service) awayFor(now time.Time) bool {
	return s.away && now.Sub(s.awaySince) >= s.q.cfg.Heartbeat
}

// handOffLocked gives free slots to this process' own waiters in their order:
// only while Redis is away, because otherwise Redis knows who is first.
func (s *service) handOffLocked(now time.Time) {
	for s.order.Len() > 0 {
		slot, ok := s.takeLocked(now)
		if !ok {
			return
		}
		w := s.order.Front().Value.(*waiter)
		if w.numbered || w.asking {
			s.withdraw[w.ticket.ID] = true
		}
		s.longest.hear(w.limits.Timeout, now)
		s.endLocked(w, outcome{slot: slot})
	}
}

// endLocked ends a waiter's wait.
func (s *service) endLocked(w *waiter, o outcome) {
	w.ends(s)
	delete(s.waiters, w.ticket.ID)
	s.order.Remove(w.place)
	s.heldBytes -= w.bytes
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

// Standing is what this process itself knows of one service.
type Standing struct {
	Service    string
	InFlight   int
	Held       int // connections that wait here
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
