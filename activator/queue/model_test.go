package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// op is one random event. What N, M and D mean depends on Kind.
type op struct {
	Kind string
	N, M int
	D    time.Duration
}

func (o op) String() string { return fmt.Sprintf("%s(%d,%d,%s)", o.Kind, o.N, o.M, o.D) }

var genOp = rapid.Custom(func(t *rapid.T) op {
	return op{
		Kind: rapid.SampledFrom([]string{
			"hold", "hold", "hold", "hold", "submit", "submit", "submit", "end", "end", "end", "try", "try",
			"offer", "suspect", "fail", "cancel", "advance", "advance", "advance", "advance", "observe",
			"crash", "crash", "bury", "bury", "upload", "start", "pause", "pause", "resume", "cut", "cut", "mend", "lose", "slow",
			"away", "back", "restart", "save", "rollback", "empty",
		}).Draw(t, "kind"),
		N: rapid.IntRange(0, 20).Draw(t, "n"),
		M: rapid.IntRange(0, 7).Draw(t, "m"),
		D: time.Duration(rapid.IntRange(1, 7000).Draw(t, "ms")) * time.Millisecond,
	}
})

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
}

func (a *actor) well() bool { return !a.dead && !a.paused && !a.cut }

// current reports whether a is well, and has had an answer of Redis since it last
// was not: until then it may have been taken for dead, and cannot know.
func (a *actor) current() bool {
	if !a.well() || a.back.IsZero() {
		return a.well()
	}
	s := a.known("translate")
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewed.After(a.back)
}

// use of a slot: a request as its replica sees it.
type use struct {
	id        string
	actor     *actor
	slot      *Slot
	began     time.Time
	sent      time.Time // when the replica has all of it, and begins to count it
	granted   bool      // by Redis, and not out of a lease
	orphanTil time.Time // its actor died, or its run was taken over; the replica computes on
	left      bool      // taken over, and cancelled since
	execution chan outcomeOfRun
	gone      bool
	ended     time.Time // if gone
}

// begin a use; the one after an "upload" takes a while to be sent.
func (m *model) begin(u *use) *use {
	u.began = time.Now()
	u.sent, m.upload = u.began.Add(m.upload), 0
	m.uses = append(m.uses, u)
	return u
}

func (u *use) end() { u.gone, u.ended = true, time.Now() }

// counts reports whether the replica had the request in its own count at that
// moment.
func (u *use) counts(at time.Time) bool {
	return !u.sent.After(at) && (!u.gone || u.ended.After(at)) && (!u.orphan() || at.Before(u.orphanTil))
}

// orphan: nobody waits for what the replica computes.
func (u *use) orphan() bool { return u.actor.dead || u.left }

type outcomeOfRun int

const (
	answers outcomeOfRun = iota
	breaks
)

// waiting is a connection that is held.
type waiting struct {
	id      string
	actor   *actor
	outcome <-chan held
	cancel  context.CancelCauseFunc
	over    bool
	got     bool
}

// accepted is a durable request that was acknowledged.
type accepted struct {
	id, key  string
	runs     int
	live     map[*actor]bool // where it runs
	final    State
	answer   string
	canceled bool
}

// model checks, after every event, what must hold whatever happens.
type model struct {
	*world
	net      *network
	actors   []*actor
	uses     []*use
	waits    []*waiting
	durable  map[string]*accepted
	offered  map[string]int
	saved    *snapshot
	savedAt  time.Time
	server   int           // which process Redis is
	upload   time.Duration // that the next use takes to be sent
	down     bool          // Redis is away for all
	disorder bool          // something has happened that may change the order
	lost     bool          // Redis has lost writes: what it had accepted may be gone
	next     int

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
	m := &model{world: newWorld(t), net: &network{}, durable: map[string]*accepted{}, offered: map[string]int{}}
	m.serverIs(0, "")
	for range 3 {
		m.start()
	}
	m.offerRandom(op{N: 7, M: 0}) // all of them
	return m
}

func (m *model) start() {
	a := &actor{faults: &faults{}}
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

// execute is what an activator does with a durable request.
func (m *model) execute(ctx context.Context, a *actor, e *Execution) error {
	a.faults.stand()
	if err := e.Slot.Check(); err != nil {
		return err
	}
	u, run := m.beginRun(a, e)
	defer m.endRun(u)
	select {
	case <-ctx.Done():
		a.faults.stand()
		if errors.Is(context.Cause(ctx), errTakenOver) {
			m.mu.Lock()
			u.left, u.orphanTil = true, e.began.Add(modelTimeout)
			m.mu.Unlock()
		}
		return context.Cause(ctx)
	case o := <-u.execution:
		if o == breaks {
			e.Suspect()
			return errors.New("the replica broke")
		}
	}
	e.Begin(http.StatusOK, http.Header{"X-Run": {fmt.Sprint(run)}})
	if err := e.Write(ctx, []byte(fmt.Sprintf("%s of %s in ", e.Slot.Replica, a.Activator()))); err != nil {
		return err
	}
	return e.Finish(ctx, []byte(fmt.Sprintf("attempt %d", e.Attempt)))
}

func (m *model) beginRun(a *actor, e *Execution) (u *use, run int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.durable[e.Request.ID]
	if r == nil { // accepted, but its acknowledgement was lost
		r = &accepted{id: e.Request.ID, live: map[*actor]bool{}}
		m.durable[r.id] = r
	}
	if string(e.Request.Body) != "body" || e.Request.Path != "/translate" {
		m.fail("%s came as %+v", r.id, e.Request)
	}
	if r.runs++; r.runs > modelAttempts && !m.lost {
		m.fail("%s was run %d times", r.id, r.runs)
	}
	for other := range r.live {
		if other == a || other.current() && a.current() {
			m.fail("%s runs at %s and %s", r.id, other.Activator(), a.Activator())
		}
	}
	r.live[a] = true
	return m.begin(&use{id: r.id, actor: a, slot: e.Slot, granted: true, execution: make(chan outcomeOfRun, 1)}), r.runs
}

func (m *model) endRun(u *use) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.durable[u.id].live, u.actor)
	if !u.gone && !u.orphan() {
		u.end()
	}
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

func (m *model) endUse(u *use, suspect bool) {
	if u.execution != nil {
		o := answers
		if suspect {
			o = breaks
		}
		select {
		case u.execution <- o:
		default:
		}
		return
	}
	u.end()
	if suspect {
		u.slot.ReleaseSuspect()
	} else {
		u.slot.Release()
	}
}

func (m *model) do(o op) {
	ready := func(a *actor) bool { return !a.dead && !a.paused }
	switch o.Kind {
	case "hold":
		a := m.alive(o.N, ready)
		m.next++
		id := fmt.Sprintf("t%03d", m.next)
		ctx, cancel := context.WithCancelCause(context.Background())
		ch := make(chan held, 1)
		go func() {
			slot, wait, err := a.Hold(ctx, ticket(id), modelLimits)
			ch <- held{id, slot, wait, err}
		}()
		m.waits = append(m.waits, &waiting{id: id, actor: a, outcome: ch, cancel: cancel})
	case "submit":
		m.submit(m.alive(o.N, ready), o.M)
	case "try":
		a := m.alive(o.N, ready)
		slot, ok := a.Try("translate")
		if !ok {
			return
		}
		for _, w := range m.waits {
			if !m.disorder && !w.over && !w.got && w.actor == a {
				m.fail("a new request passed %s, which waits at the same activator", w.id)
			}
		}
		if slot.Check() != nil {
			m.fail("%s gave a slot whose lease has ended", a.Activator())
		}
		m.next++
		m.begin(&use{id: fmt.Sprintf("w%03d", m.next), actor: a, slot: slot})
	case "end", "suspect", "fail":
		if all := m.usable(); len(all) > 0 {
			m.endUse(all[o.N%len(all)], o.Kind != "end")
		}
	case "cancel":
		m.cancelOne(o)
	case "offer":
		m.offerRandom(o)
	case "observe":
		m.observe(o, o.D/10)
	case "upload":
		m.upload = 3 * o.D
	case "advance":
		m.tick(o.D)
	default:
		m.disturb(o)
	}
	m.collect()
	m.check()
}

var modelLimits = Limits{Requests: 1000, Bytes: 1 << 20, Timeout: modelTimeout}

func TestRandomEventsOverThreeActivatorsKeepTheGuarantees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ops := rapid.SliceOfN(genOp, 1, 80).Draw(rt, "ops")
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
	})
	return err, done
}
