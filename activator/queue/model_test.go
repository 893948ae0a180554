package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// The model lets three activators and more go through random events over one Redis,
// and keeps books of its own: which requests each replica has at this moment, whose
// slots they are, how often each request was run, who waits and in which order. After
// every event these books are compared with what Redis and the activators believe
// (model_check_test.go, model_books_test.go), and at the end everybody must have come
// to an end. Which events, and in which order, is drawn by chapters
// (model_chapters_test.go).

const (
	modelTimeout  = 50 * time.Second // request.timeout
	modelAttempts = 2                // retry.attempts
)

// concurrency of the replicas r0, r1, r2.
var concurrency = []int{1, 2, 3}

// actor is one incarnation of an activator.
type actor struct {
	*Queue
	faults *faults
	stop   func()
	dead   bool
	paused bool
	cut    bool
	back   time.Time // when it last was paused or cut no more
	outage time.Time // as it knew when it was paused
}

// look at what it knows, or change it.
func (a *actor) look(fn func(s *service)) {
	if s := a.known("translate"); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		fn(s)
	}
}

func (a *actor) ready() bool { return !a.dead && !a.paused }

func (a *actor) well() bool { return !a.dead && !a.paused && !a.cut }

// current reports whether a is well, and has had an answer of Redis since it last
// was not: until then it may have been taken for dead, and cannot know.
func (a *actor) current() bool {
	if !a.well() || a.back.IsZero() {
		return a.well()
	}
	s := a.known("translate")
	if s == nil { // it holds nothing
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewed.After(a.back)
}

// use of a slot: a request as its replica sees it.
type use struct {
	id        string
	actor     *actor
	slot      *Slot
	ticket    *Ticket // of a connection that waited for it
	began     time.Time
	sent      time.Time // when the replica has all of it, and begins to count it
	granted   bool      // by Redis, and not out of a lease
	orphanTil time.Time // its actor died, or its run was taken over; the replica computes on
	left      bool      // taken over, and cancelled since
	unknown   bool      // Redis has lost what it knew of it, and nobody could tell it
	execution chan outcomeOfRun
	gone      bool
	ended     time.Time // if gone
}

// begin a use; the one after an "upload" takes a while to be sent.
func (m *model) begin(u *use) *use {
	u.began = time.Now()
	u.sent, m.upload = u.began.Add(m.upload), 0
	if u.actor.cut && !m.lostAt.IsZero() { // nor can anybody tell Redis of what follows in a slot that it has lost
		u.actor.look(func(s *service) { u.unknown = !s.renewed.After(m.lostAt) })
	}
	m.uses = append(m.uses, u)
	return u
}

func (u *use) end() { u.gone, u.ended = true, time.Now() }

// counts reports whether the replica had the request in its own count at that
// moment.
func (u *use) counts(at time.Time) bool {
	return !u.sent.After(at) && (!u.gone || u.ended.After(at)) && (!u.orphan() || at.Before(u.orphanTil))
}

// runs reports whether the replica has the request now.
func (u *use) runs(now time.Time) bool {
	return !u.gone && !u.unknown && !(u.orphan() && now.After(u.orphanTil))
}

// orphan: nobody waits for what the replica computes.
func (u *use) orphan() bool { return u.actor.dead || u.left }

// waiting is a connection that is held.
type waiting struct {
	id      string
	ticket  *Ticket
	actor   *actor
	outcome <-chan held
	cancel  context.CancelCauseFunc
	over    bool
	got     bool
}

// waits reports whether it still may get a slot.
func (w *waiting) waits() bool { return !w.over && !w.got && !w.actor.dead }

// model checks, after every event, what must hold whatever happens.
type model struct {
	*world
	net     *network
	actors  []*actor
	uses    []*use
	waits   []*waiting
	durable map[string]*accepted
	saved   *snapshot
	savedOf map[*use]bool // which the saved one knows of
	known   map[*use]bool // which Redis knew of when it lost the rest
	server  atomic.Int64  // which process Redis is
	upload  time.Duration // that the next use takes to be sent
	lost    bool          // Redis has lost writes: what it had accepted may be gone
	lostAt  time.Time     // and when it last did
	before  books         // as they were after the last event
	looked  map[*use]bool // that had begun by then
	scores  map[string]float64
	over    map[string]bool // replicas of which more may be out than they offer
	next    int

	mu  sync.Mutex // of what executions write
	err error
}

// fail keeps the first fault. Executions are under m.mu when they call it, and the
// rest runs while they stand still.
func (m *model) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf(format, args...)
	}
}

func newModel(t *testing.T) *model {
	m := &model{world: newWorld(t), net: &network{}, durable: map[string]*accepted{}, scores: map[string]float64{}, over: map[string]bool{}}
	m.load()
	m.serverIs(0, "")
	for range 3 {
		m.start()
	}
	m.world.tick(1100 * time.Millisecond) // they have heard of each other
	m.offerRandom(op{N: 7, M: 0})         // all of them
	m.before = m.read()
	return m
}

func (m *model) start() {
	a := &actor{faults: &faults{server: m.server.Load, arrive: func(args []any) {
		_ = m.ledger.redis.Do(context.Background(), args...).Err()
	}}}
	name := fmt.Sprintf("a%d", len(m.actors))
	a.Queue, a.stop = m.activator(name, m.net.join, func(c *Config) {
		c.Redis.AddHook(a.faults)
		c.Execute = func(ctx context.Context, e *Execution) error { return m.execute(ctx, a, e) }
	})
	m.net.add(a.Queue)
	m.actors = append(m.actors, a)
}

// alive returns the n-th of the actors for which ok holds.
func (m *model) alive(n int, ok func(*actor) bool) *actor {
	var all []*actor
	for _, a := range m.actors {
		if ok(a) {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[n%len(all)]
}

var errCancelled = errors.New("cancelled by the test")

// usable are the uses that an actor can end.
func (m *model) usable() []*use {
	var out []*use
	for _, u := range m.uses {
		if !u.gone && !u.orphan() && !u.actor.paused {
			out = append(out, u)
		}
	}
	return out
}

func (m *model) endUse(u *use, how outcomeOfRun) {
	if u.execution != nil {
		select {
		case u.execution <- how:
		default:
		}
		return
	}
	switch how {
	case writes: // of those nobody keeps count
	case breaks, misses:
		u.end()
		u.slot.ReleaseSuspect()
		if u.ticket != nil && !u.actor.dead {
			m.holdTicket(u.actor, u.ticket)
		}
	default:
		u.end()
		u.slot.Release()
	}
}

var modelLimits = Limits{Requests: 1000, Bytes: 1 << 20, Timeout: modelTimeout}

func TestRandomEventsOverThreeActivatorsKeepTheGuarantees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ops := slices.Concat(rapid.SliceOfN(genChapter, 1, 12).Draw(rt, "chapters")...)
		if err, done := play(t, ops); err != nil {
			rt.Fatalf("after %v: %v", ops[:done], err)
		}
	})
}

// Counts that lag, and that miss what is being sent, are the ones to be afraid of.
func TestCountsTakenTooSoonAfterAnActivatorHasFallenSilentFreeNothing(t *testing.T) {
	var full []op
	for n := range 9 { // there are 6 slots: the last ones wait
		full = append(full, op{Kind: "hold", N: n})
	}
	for name, ops := range map[string][]op{
		"it is gone":    append(full[:len(full):len(full)], op{Kind: "bury", M: 6}),
		"it is cut off": append([]op{{Kind: "upload", D: 5 * time.Second}}, append(full[:len(full):len(full)], op{Kind: "bury", M: 1})...),
	} {
		t.Run(name, func(t *testing.T) {
			if err, done := play(t, append(ops, op{Kind: "advance", D: time.Second})); err != nil {
				t.Fatalf("after %d events: %v", done, err)
			}
		})
	}
}

func play(t *testing.T, ops []op) (err error, done int) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t)
		for i, o := range ops {
			if m.do(o); m.err != nil {
				err, done = m.err, i+1
				break
			}
		}
		if err == nil {
			m.finish()
			err, done = m.err, len(ops)
		}
		for _, w := range m.waits {
			w.cancel(errCancelled)
		}
		for _, a := range m.actors {
			if a.paused {
				a.faults.set(func(f *faults) { close(f.paused); f.paused = nil })
			}
		}
		time.Sleep(10 * time.Second) // for what is on its way
	})
	return err, done
}

// do what an event says, and check.
func (m *model) do(o op) {
	m.happen(o)
	m.collect()
	m.check()
}

// hold a connection's request.
func (m *model) hold(a *actor, priority int) {
	m.next++
	tk := ticket(fmt.Sprintf("t%03d", m.next))
	tk.Priority = priority
	m.holdTicket(a, tk)
}

// holdTicket holds one that is new, or again after its replica failed.
func (m *model) holdTicket(a *actor, tk *Ticket) {
	ctx, cancel := context.WithCancelCause(context.Background())
	ch := make(chan held, 1)
	go func() {
		slot, wait, err := a.Hold(ctx, tk, modelLimits)
		ch <- held{tk.ID, slot, wait, err}
	}()
	m.waits = append(m.waits, &waiting{id: tk.ID, ticket: tk, actor: a, outcome: ch, cancel: cancel})
}

// submit a durable request, beside everything else; of every four one is
// asynchronous, and some have keys that were used before.
func (m *model) submit(a *actor, n int) {
	m.next++
	r := &Request{ID: fmt.Sprintf("translate.d%03d", m.next), Service: "translate", Method: "POST", Path: "/translate",
		Header: http.Header{}, Body: []byte("body"), Deadline: time.Now().Add(10 * time.Minute), Async: n%4 == 0,
		Attempts: modelAttempts, Keep: time.Hour, MaxSize: 1 << 20}
	if !r.Async {
		r.Key = fmt.Sprintf("k%d", n)
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		e, err := a.Submit(ctx, r, modelLimits)
		if err != nil {
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		d := m.acceptedAs(e.ID)
		if r.Key != "" && d.key != "" && d.key != r.Key {
			m.fail("key %s joined %s, which has key %s", r.Key, d.id, d.key)
		}
		d.key = r.Key
	}()
	synctest.Wait()
}
