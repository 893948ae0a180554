package queue

import (
	"context"
	"fmt"
	"net/http"
	"testing/synctest"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

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
	if m.ledger.Offer(context.Background(), "translate", 1, offers) == nil {
		m.offered = offered
	}
}

// observe asks the replicas for their own counts, which lag behind what they do,
// and tells them some time later.
func (m *model) observe(o op, late time.Duration) {
	_, mark, err := m.ledger.Quarantined(context.Background(), "translate")
	if err != nil {
		return
	}
	counts, lag := map[string]int{}, min(time.Duration(o.M)*400*time.Millisecond, 2400*time.Millisecond)
	for i := range concurrency {
		counts[fmt.Sprintf("r%d", i)] = 0
	}
	for _, u := range m.uses {
		if u.counts(time.Now().Add(-lag)) {
			counts[u.slot.Replica]++
		}
	}
	m.tick(late)
	_ = m.ledger.Observed(context.Background(), "translate", mark, counts)
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
	case "bury": // its slots are quarantined, and counted at once
		a := m.alive(o.N, (*actor).well)
		if a == nil || m.down || !m.others(a) {
			return
		}
		m.tick(100 * time.Millisecond)
		if o.M%2 == 0 {
			m.crash(a)
			m.tick(2 * time.Second)
		} else {
			m.disorder, a.cut = true, true
			a.faults.set(func(f *faults) { f.cut = true })
			m.tick(7 * time.Second)
		}
		m.observe(o, 0)
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
			a.cut, a.back = false, time.Now()
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
		m.saved, m.savedAt = save(m.t, m.redis), time.Now()
	case "rollback":
		if m.saved != nil {
			m.saved.restore(m.redis)
			m.lose(m.savedAt)
		}
	case "empty":
		m.redis.FlushAll()
		m.lose(time.Time{})
	}
}

// lose what Redis has been told since then: another process has its place.
func (m *model) lose(since time.Time) {
	m.disorder, m.lost = true, true
	for _, u := range m.uses {
		// Who could say so is dead, and Redis has forgotten (doc.go: what cannot be
		// excluded).
		if u.left || u.actor.dead && !u.began.Add(100*time.Millisecond).Before(since) {
			u.orphanTil = time.Time{}
		}
	}
	m.saved, m.down = nil, false
	m.server++
	m.serverIs(m.server, "")
}

// crash ends an actor as kill -9 does. Its replicas compute on for what it had in
// flight, as long as a request may take; of requests that it began since its last
// statement nobody can know.
func (m *model) crash(a *actor) {
	m.disorder = true
	s := a.known("translate")
	now := time.Now()
	for _, u := range m.uses {
		if u.actor != a || u.gone || u.left {
			continue
		}
		if u.sent.After(now) { // half a request is none
			u.end()
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
	a.paused, a.back = false, time.Now()
	if slot, ok := a.Try("translate"); ok { // the first thing it does, before it has heard of anything
		s := a.known("translate")
		if !within(s.renewed, time.Now(), a.cfg.Lease) && s.outage.IsZero() {
			m.fail("%s gave a slot after it stood still for longer than its lease", a.Activator())
		}
		m.begin(&use{id: "first", actor: a, slot: slot})
	}
	m.net.set(&m.net.mute, a.Activator(), false)
	a.faults.set(func(f *faults) { close(f.paused); f.paused = nil })
}
