package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/pilotlight/pilotlight/jobs"
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
			"crash", "crash", "start", "pause", "pause", "resume", "cut", "cut", "mend", "lose", "slow",
			"away", "back", "restart", "save", "rollback",
		}).Draw(t, "kind"),
		N: rapid.IntRange(0, 20).Draw(t, "n"),
		M: rapid.IntRange(0, 7).Draw(t, "m"),
		D: time.Duration(rapid.IntRange(1, 7000).Draw(t, "ms")) * time.Millisecond,
	}
})

const (
	modelTimeout  = 30 * time.Second // request.timeout
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
}

func (a *actor) well() bool { return !a.dead && !a.paused && !a.cut }

// use of a slot: a request as its replica sees it.
type use struct {
	id        string
	actor     *actor
	slot      *Slot
	began     time.Time
	granted   bool      // by Redis, and not out of a lease
	orphanTil time.Time // its actor died; the replica computes on
	execution chan outcomeOfRun
	gone      bool
}

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
	server   int  // which process Redis is
	down     bool // Redis is away for all
	disorder bool // something has happened that may change the order
	lost     bool // Redis has lost writes: what it had accepted may be gone
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
		if other == a || other.well() && a.well() {
			m.fail("%s runs at %s and %s", r.id, other.Activator(), a.Activator())
		}
	}
	r.live[a] = true
	u = &use{id: r.id, actor: a, slot: e.Slot, began: time.Now(), granted: true, execution: make(chan outcomeOfRun, 1)}
	m.uses = append(m.uses, u)
	return u, r.runs
}

func (m *model) endRun(u *use) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.durable[u.id].live, u.actor)
	u.gone = u.gone || !u.actor.dead
}

// collect takes in what has happened.
func (m *model) collect() {
	synctest.Wait()
	for i, w := range m.waits {
		if w.over || w.got || w.actor.dead || w.actor.paused {
			continue
		}
		select {
		case h := <-w.outcome:
			m.took(i, w, h)
		default:
		}
	}
	synctest.Wait()
}

func (m *model) took(i int, w *waiting, h held) {
	if h.err != nil {
		w.over = true
		if !errors.Is(h.err, errCancelled) {
			m.fail("%s failed: %v", w.id, h.err)
		}
		return
	}
	w.got = true
	if h.slot.Check() != nil { // as an activator does: not sent, and asked for anew
		h.slot.Release()
		w.over = true
		return
	}
	m.uses = append(m.uses, &use{id: w.id, actor: w.actor, slot: h.slot, began: time.Now(), granted: !h.slot.given.IsZero()})
	for _, earlier := range m.waits[:i] {
		if m.disorder || earlier.over || earlier.got || earlier.actor.dead {
			continue
		}
		select {
		case h := <-earlier.outcome: // it has come too, in the same step
			m.took(slices.Index(m.waits, earlier), earlier, h)
		default:
			m.fail("%s got its slot before %s, which came earlier", w.id, earlier.id)
		}
	}
}

// check what must hold after every step.
func (m *model) check() {
	n := map[string]int{}
	now := time.Now()
	for _, u := range m.uses {
		switch {
		case u.gone:
		case u.actor.dead && now.After(u.orphanTil):
		default:
			n[u.slot.Replica]++
		}
	}
	for i, most := range concurrency {
		if id := fmt.Sprintf("r%d", i); n[id] > most {
			m.fail("%d requests at %s, which takes %d", n[id], id, most)
		}
	}
	if m.down {
		return
	}
	for _, id := range sortedIDs(m.durable) {
		m.checkDurable(m.durable[id])
	}
}

func sortedIDs(m map[string]*accepted) []string {
	var out []string
	for id := range m {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// checkDurable: a final state stays, and so does its answer.
func (m *model) checkDurable(r *accepted) {
	a := m.alive(0, (*actor).well)
	if a == nil {
		return
	}
	e, err := a.Find(context.Background(), r.id)
	if err != nil {
		freed := r.key != "" && r.final != "" && r.final != StateSucceeded // nobody can ask for it any more
		if errors.Is(err, ErrUnknownRequest) && !m.lost && !freed {
			m.fail("%s was accepted and is unknown", r.id)
		}
		return
	}
	if r.final != "" && e.State != r.final && !m.lost {
		m.fail("%s was %s and is %s", r.id, r.final, e.State)
	}
	if !e.State.Final() || r.final != "" {
		return
	}
	r.final = e.State
	if e.State == StateSucceeded {
		if e.Chunks != 2 || e.Status != http.StatusOK {
			m.fail("%s has an answer of %d chunks, status %d", r.id, e.Chunks, e.Status)
		}
		return
	}
	if e.State == StateFailed && e.Reason == ReasonAttempts && r.runs == 0 {
		m.fail("%s failed without a try", r.id)
	}
}

var errCancelled = errors.New("cancelled by the test")

// usable are the uses that an actor can end.
func (m *model) usable() []*use {
	var out []*use
	for _, u := range m.uses {
		if !u.gone && !u.actor.dead && !u.actor.paused {
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
	u.gone = true
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
		m.uses = append(m.uses, &use{id: fmt.Sprintf("w%03d", m.next), actor: a, slot: slot, began: time.Now()})
	case "end", "suspect", "fail":
		if all := m.usable(); len(all) > 0 {
			m.endUse(all[o.N%len(all)], o.Kind != "end")
		}
	case "cancel":
		m.cancelOne(o)
	case "offer":
		m.offerRandom(o)
	case "observe":
		m.observe(o)
	case "advance":
		m.tick(o.D)
	default:
		m.disturb(o)
	}
	m.collect()
	m.check()
}

var modelLimits = Limits{Requests: 1000, Bytes: 1 << 20, Timeout: modelTimeout}

// submit a durable request; of every four one is asynchronous, and some have keys
// that were used before.
func (m *model) submit(a *actor, n int) {
	m.next++
	r := &Request{ID: fmt.Sprintf("translate.d%03d", m.next), Service: "translate", Method: "POST", Path: "/translate",
		Header: http.Header{}, Body: []byte("body"), Deadline: time.Now().Add(10 * time.Minute), Async: n%4 == 0,
		Attempts: modelAttempts, Keep: time.Hour, MaxSize: 1 << 20}
	if !r.Async {
		r.Key = fmt.Sprintf("k%d", n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	e, err := a.Submit(ctx, r, modelLimits)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.durable[e.ID] == nil {
		m.durable[e.ID] = &accepted{id: e.ID, live: map[*actor]bool{}}
	}
	if d := m.durable[e.ID]; r.Key != "" && e.Joined {
		if d.key != "" && d.key != r.Key {
			m.fail("key %s joined %s, which has key %s", r.Key, d.id, d.key)
		}
	}
	m.durable[e.ID].key = r.Key
}

func (m *model) cancelOne(o op) {
	if o.M%2 == 0 {
		for _, w := range m.waits {
			if !w.got && !w.over && !w.actor.dead && !w.actor.paused {
				w.cancel(errCancelled)
				return
			}
		}
		return
	}
	if ids := sortedIDs(m.durable); len(ids) > 0 {
		if a := m.alive(o.N, (*actor).well); a != nil {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, _ = a.Cancel(ctx, ids[o.N%len(ids)])
		}
	}
}

func (m *model) offerRandom(o op) {
	offered := map[string]int{}
	var offers []jobs.SlotOffer
	for i, most := range concurrency {
		switch (o.N + o.M*i) % 8 {
		case 0: // not there, or gone for a while
		case 1:
			offers = append(offers, replicaWith(fmt.Sprintf("r%d", i), i, 0)) // drains
		default:
			offered[fmt.Sprintf("r%d", i)] = most
			offers = append(offers, replicaWith(fmt.Sprintf("r%d", i), i, most))
		}
	}
	if m.ledger.Offer(context.Background(), "translate", offers) == nil {
		m.offered = offered
	}
}

// observe asks a replica for its own count, and tells it some time later.
func (m *model) observe(o op) {
	_, mark, err := m.ledger.Quarantined(context.Background(), "translate")
	if err != nil {
		return
	}
	id := fmt.Sprintf("r%d", o.N%len(concurrency))
	n := 0
	for _, u := range m.uses {
		if !u.gone && u.slot.Replica == id && (!u.actor.dead || time.Now().Before(u.orphanTil)) {
			n++
		}
	}
	m.tick(o.D / 10)
	_ = m.ledger.Observed(context.Background(), "translate", id, n, mark)
}

// others reports whether somebody would be left who could speak for those that
// are cut off: without, they are right to take it for an outage of everybody, and
// go on (doc.go: what cannot be excluded).
func (m *model) others(without *actor) bool {
	for _, a := range m.actors {
		if a != without && a.well() {
			return true
		}
	}
	return false
}

func (m *model) disturb(o op) {
	switch o.Kind {
	case "crash":
		if a := m.alive(o.N, (*actor).well); a != nil && m.others(a) {
			if !m.down {
				m.tick(100 * time.Millisecond) // let what is in use be stated
			}
			m.crash(a)
		}
	case "start":
		if len(m.actors) < 7 {
			m.start()
		}
	case "pause":
		if a := m.alive(o.N, (*actor).well); a != nil && m.others(a) {
			m.disorder, a.paused = true, true
			a.faults.set(func(f *faults) { f.paused = make(chan struct{}) })
			m.net.set(&m.net.mute, a.Activator(), true)
		}
	case "resume":
		if a := m.alive(o.N, func(a *actor) bool { return a.paused }); a != nil {
			m.resume(a)
		}
	case "cut":
		if a := m.alive(o.N, (*actor).well); a != nil && m.others(a) {
			m.disorder, a.cut = true, true
			a.faults.set(func(f *faults) { f.cut = true })
		}
	case "mend":
		if a := m.alive(o.N, func(a *actor) bool { return a.cut }); a != nil {
			a.cut = false
			a.faults.set(func(f *faults) { f.cut = false })
		}
	case "lose":
		if a := m.alive(o.N, (*actor).well); a != nil {
			m.disorder = true
			a.faults.set(func(f *faults) { f.lost = 1 + o.M%2 })
		}
	case "slow":
		if a := m.alive(o.N, (*actor).well); a != nil {
			m.disorder = true
			a.faults.set(func(f *faults) { f.delay = time.Duration(o.M) * 30 * time.Millisecond })
		}
	case "away":
		m.disorder, m.down = true, true
		m.serverIs(m.server, "LOADING away")
	case "back":
		m.down = false
		m.serverIs(m.server, "")
	case "restart":
		m.disorder, m.down = true, false
		m.server++
		m.serverIs(m.server, "")
	case "save":
		m.saved = save(m.t, m.redis)
	case "rollback":
		if m.saved != nil {
			m.disorder, m.lost = true, true
			m.saved.restore(m.redis)
			m.saved, m.down = nil, false
			m.server++
			m.serverIs(m.server, "")
		}
	}
}

// crash ends an actor as kill -9 does. Its replicas compute on for what it had in
// flight, as long as a request may take; of requests that it began since its last
// statement nobody can know.
func (m *model) crash(a *actor) {
	m.disorder = true
	s := a.known("translate")
	now := time.Now()
	for _, u := range m.uses {
		if u.actor != a || u.gone {
			continue
		}
		s.mu.Lock()
		known := u.granted || u.began.Before(s.renewed)
		s.mu.Unlock()
		if known {
			u.orphanTil = now.Add(modelTimeout)
			if end := u.began.Add(modelTimeout); end.Before(u.orphanTil) {
				u.orphanTil = end
			}
		}
	}
	a.dead = true
	m.net.kill(a.Activator())
	m.kill(a.Queue)
	go a.stop() // its goroutines; nothing of them is heard
	synctest.Wait()
}

func (m *model) resume(a *actor) {
	a.paused = false
	if slot, ok := a.Try("translate"); ok { // the first thing it does, before it has heard of anything
		s := a.known("translate")
		if !within(s.renewed, time.Now(), a.cfg.Lease) && s.outage.IsZero() {
			m.fail("%s gave a slot after it stood still for longer than its lease", a.Activator())
		}
		m.uses = append(m.uses, &use{id: "first", actor: a, slot: slot, began: time.Now()})
	}
	m.net.set(&m.net.mute, a.Activator(), false)
	a.faults.set(func(f *faults) { close(f.paused); f.paused = nil })
}

// finish ends the disturbances: everybody who still waits must get a slot, what
// was accepted must end, and then nothing may be left.
func (m *model) finish() {
	m.serverIs(m.server, "")
	m.down = false
	for _, a := range m.actors {
		if a.paused {
			m.resume(a)
		}
		a.cut = false
		a.faults.set(func(f *faults) { f.cut, f.lost, f.delay = false, 0, 0 })
	}
	m.tick(12 * time.Second) // beyond a lease and its grace
	for range 3 {
		if m.ledger.Offer(context.Background(), "translate", []jobs.SlotOffer{replicaWith("r9", 0, 2)}) == nil {
			break
		}
	}
	for range len(m.waits) + len(m.durable)*modelAttempts + 10 {
		m.collect()
		m.check()
		for _, u := range m.usable() {
			m.endUse(u, false)
		}
		m.tick(2 * time.Second)
	}
	m.collect()
	for _, w := range m.waits {
		if !w.over && !w.got && !w.actor.dead {
			m.fail("%s was forgotten", w.id)
		}
	}
	for _, id := range sortedIDs(m.durable) {
		if r := m.durable[id]; r.final == "" && !m.lost {
			m.fail("%s was accepted and has come to no end", id)
		}
	}
	m.tick(modelTimeout + 10*time.Second) // quarantines end
	for _, a := range m.actors {
		if !a.dead {
			a.stop()
		}
	}
	synctest.Wait()
	m.leftovers()
}

func (m *model) leftovers() {
	_ = m.ledger.Offer(context.Background(), "translate", nil)
	d, err := m.ledger.Demand(context.Background(), "translate")
	if err != nil || d.Held != 0 || len(d.SlotsOut) != 0 || len(d.Deadlines) != 0 {
		m.fail("left behind: %+v %v", d, err)
	}
	if bytes := m.redis.HGet("pl:{translate}:ledger", "bytes"); bytes != "0" && bytes != "" {
		m.fail("%s bytes are counted as held", bytes)
	}
	time.Sleep(2 * time.Hour) // results are kept for one
	for _, key := range m.redis.Keys() {
		switch key {
		case "pl:{translate}:ledger", "pl:{translate}:suspects", "pl:peers", "pl:durable":
		default:
			m.fail("left behind: %s", key)
		}
	}
}

func TestRandomEventsOverThreeActivatorsKeepTheGuarantees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ops := rapid.SliceOfN(genOp, 1, 80).Draw(rt, "ops")
		if err, done := play(t, ops); err != nil {
			rt.Fatalf("after %v: %v", ops[:done], err)
		}
	})
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
