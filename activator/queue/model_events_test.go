package queue

import (
	"context"
	"fmt"
	"testing/synctest"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// happen is what an event does.
func (m *model) happen(o op) {
	switch o.Kind {
	case "hold":
		priority := 0
		if o.M > 5 {
			priority = o.M - 5
		}
		m.hold(m.alive(o.N, (*actor).ready), priority)
	case "submit":
		m.submit(m.alive(o.N, (*actor).ready), o.M)
	case "try":
		m.try(m.alive(o.N, (*actor).ready))
	case "end", "write", "fail":
		if all := m.usable(); len(all) > 0 {
			how := map[string]outcomeOfRun{"end": answers, "write": writes, "fail": breaks}[o.Kind]
			if how == breaks && o.M%2 == 0 {
				how = misses
			}
			m.endUse(all[o.N%len(all)], how)
		}
	case "cancel":
		m.cancelOne(o)
	case "offer":
		m.offerRandom(o)
	case "observe":
		m.observe(o, o.D/10)
	case "upload":
		m.upload = 3 * o.D
	case "moment":
		m.fence()
		time.Sleep(time.Duration(1+o.M*20) * time.Millisecond)
	case "second":
		m.tick(time.Second)
	case "advance":
		m.tick(o.D)
	default:
		m.disturb(o)
	}
}

// try to take a slot without asking.
func (m *model) try(a *actor) {
	slot, ok := a.Try("translate", modelLimits)
	if !ok {
		return
	}
	for _, w := range m.waits {
		if w.waits() && w.actor == a {
			m.fail("a new request passed %s, which waits at the same activator", w.id)
		}
	}
	if slot.Check() != nil {
		m.fail("%s gave a slot whose lease has ended", a.Activator())
	}
	m.next++
	m.begin(&use{id: fmt.Sprintf("w%03d", m.next), actor: a, slot: slot})
}

func (m *model) cancelOne(o op) {
	if o.M%2 == 0 {
		for _, w := range m.waits {
			if w.waits() && !w.actor.paused {
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
	var offers []jobs.SlotOffer
	for i, most := range concurrency {
		switch (o.N + o.M*i) % 8 {
		case 0: // not there, or gone for a while
		case 1:
			offers = append(offers, replicaWith(fmt.Sprintf("r%d", i), i, 0)) // drains
		default:
			offers = append(offers, replicaWith(fmt.Sprintf("r%d", i), i, most))
		}
	}
	_ = m.ledger.Offer(context.Background(), "translate", 1, offers)
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
		if a != without && a.well() && without.knows(a.Activator()) {
			return true
		}
	}
	return false
}

func (m *model) disturb(o op) {
	switch o.Kind {
	case "crash":
		if a := m.alive(o.N, (*actor).well); a != nil && m.others(a) {
			m.crash(a)
		}
	case "bury": // its slots are quarantined, and counted at once
		a := m.alive(o.N, (*actor).well)
		if a == nil || !m.others(a) {
			return
		}
		m.tick(100 * time.Millisecond)
		if o.M%2 == 0 {
			m.crash(a)
			m.tick(2 * time.Second)
		} else {
			a.cut = true
			m.silenced(a)
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
			a.paused, a.outage = true, time.Time{}
			a.look(func(s *service) { a.outage = s.outage })
			m.silenced(a)
			a.faults.set(func(f *faults) { f.paused = make(chan struct{}) })
			m.net.set(&m.net.mute, a.Activator(), true)
		}
	case "resume":
		if a := m.alive(o.N, func(a *actor) bool { return a.paused }); a != nil {
			m.resume(a)
		}
	case "cut":
		if a := m.alive(o.N, (*actor).well); a != nil && m.others(a) {
			a.cut = true
			m.silenced(a)
			a.faults.set(func(f *faults) { f.cut = true })
		}
	case "mend":
		if a := m.alive(o.N, func(a *actor) bool { return a.cut }); a != nil {
			a.cut, a.back = false, time.Now()
			a.faults.set(func(f *faults) { f.cut = false })
		}
	case "lose":
		if a := m.alive(o.N, (*actor).well); a != nil {
			a.faults.set(func(f *faults) { f.lost = 1 + o.M%2 })
		}
	case "late":
		if a := m.alive(o.N, (*actor).well); a != nil {
			a.faults.set(func(f *faults) { f.late = o.D })
		}
	case "slow":
		if a := m.alive(o.N, (*actor).well); a != nil {
			a.faults.set(func(f *faults) { f.delay = time.Duration(o.M) * 30 * time.Millisecond })
		}
	case "away":
		m.serverIs(int(m.server.Load()), "LOADING away")
	case "back":
		m.serverIs(int(m.server.Load()), "")
	case "restart":
		m.serverIs(int(m.server.Add(1)), "")
	case "save":
		m.saved, m.savedOf = save(m.t, m.redis), map[*use]bool{}
		for _, u := range m.uses {
			m.savedOf[u] = u.orphan() || m.stated(u)
		}
	case "rollback":
		if m.saved != nil {
			m.saved.restore(m.redis)
			m.lose()
		}
	case "empty":
		m.savedOf = nil
		m.redis.FlushAll()
		m.lose()
	}
}

// lose what Redis has been told since it was saved: another process has its place.
func (m *model) lose() {
	m.lost, m.lostAt, m.known = true, time.Now(), m.savedOf
	for _, u := range m.uses {
		// Who could say so is dead, and Redis has forgotten (doc.go: what cannot be
		// excluded).
		if u.left || u.actor.dead && !m.known[u] {
			u.orphanTil = time.Time{}
		}
	}
	for _, a := range m.actors {
		if !a.well() {
			m.silenced(a)
		}
	}
	m.lostRuns()
	clear(m.scores)
	m.before = m.read()
	m.saved = nil
	m.serverIs(int(m.server.Add(1)), "")
}

// crash ends an actor as kill -9 does.
func (m *model) crash(a *actor) {
	m.crashUses(a)
	a.dead = true
	m.net.kill(a.Activator())
	m.kill(a.Queue)
	go a.stop() // its goroutines; nothing of them is heard
	synctest.Wait()
}

func (m *model) resume(a *actor) {
	a.paused, a.back = false, time.Now()
	// Its goroutines went on asking its peers; a process that stands still does not.
	a.look(func(s *service) { s.outage = a.outage })
	if slot, ok := a.Try("translate", modelLimits); ok { // the first thing it does, before it has heard of anything
		s := a.known("translate")
		if !within(s.renewed, time.Now(), a.cfg.Lease) && s.outage.IsZero() {
			m.fail("%s gave a slot after it stood still for longer than its lease", a.Activator())
		}
		m.begin(&use{id: "first", actor: a, slot: slot})
	}
	m.net.set(&m.net.mute, a.Activator(), false)
	a.faults.set(func(f *faults) { close(f.paused); f.paused = nil })
}
