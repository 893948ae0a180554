package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing/synctest"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// fence keeps what has been read and written so far, under no lock, apart from what
// executions will write: before time passes, and before they go on.
func (m *model) fence() {
	m.mu.Lock()
	defer m.mu.Unlock()
}

func (m *model) tick(d time.Duration) {
	m.fence()
	m.world.tick(d)
}

// collect takes in what has happened.
func (m *model) collect() {
	m.fence()
	synctest.Wait()
	for _, w := range m.waits {
		if !w.waits() || w.actor.paused {
			continue
		}
		select {
		case h := <-w.outcome:
			m.took(w, h)
		default:
		}
	}
	synctest.Wait()
}

func (m *model) took(w *waiting, h held) {
	if h.err != nil {
		w.over = true
		if !errors.Is(h.err, errCancelled) {
			m.fail("%s failed: %v", w.id, h.err)
		}
		return
	}
	if h.slot.Check() != nil { // as an activator does: not sent, and asked for anew
		h.slot.Release()
		w.over = true
		return
	}
	w.got = true
	m.begin(&use{id: w.id, ticket: w.ticket, actor: w.actor, slot: h.slot, granted: !h.slot.given.IsZero()})
}

// check what must hold after every event.
func (m *model) check() {
	n := map[string]int{}
	now := time.Now()
	for _, u := range m.uses {
		if u.runs(now) {
			n[u.slot.Replica]++
		}
	}
	for i, most := range concurrency {
		if id := fmt.Sprintf("r%d", i); n[id] > most {
			m.fail("%d requests at %s, which takes %d", n[id], id, most)
		}
	}
	b := m.read()
	m.checkBooks(&b)
	m.checkOrder(&b)
	m.before, m.looked = b, map[*use]bool{}
	for _, u := range m.uses {
		m.looked[u] = true
	}
	for _, id := range sortedIDs(m.durable) {
		m.checkDurable(m.durable[id])
	}
	m.fence()
}

func sortedIDs(m map[string]*accepted) []string {
	var out []string
	for id := range m {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// pending reports whether anybody still waits or runs.
func (m *model) pending() bool {
	return slices.ContainsFunc(m.waits, (*waiting).waits) || len(m.usable()) > 0 ||
		len(m.before.queue) > 0 || slices.ContainsFunc(sortedIDs(m.durable), func(id string) bool {
		state := State(m.redis.HGet(prefix("translate")+"ticket:"+id, "state"))
		return state != "" && !state.Final()
	})
}

// finish ends the disturbances: everybody who still waits must get a slot, what
// was accepted must end, and then nothing may be left.
func (m *model) finish() {
	m.serverIs(int(m.server.Load()), "")
	for _, a := range m.actors {
		if a.paused {
			m.resume(a)
		}
		if a.cut {
			a.cut, a.back = false, time.Now()
		}
		a.faults.set(func(f *faults) { f.cut, f.lost, f.delay, f.late = false, 0, 0, 0 })
	}
	m.tick(12 * time.Second) // beyond a lease and its grace, and all that is late
	m.shrink()
	for range 3 {
		if m.ledger.Offer(context.Background(), "translate", 1, []jobs.SlotOffer{replicaWith("r9", 0, 2)}) == nil {
			break
		}
	}
	for range len(m.waits) + len(m.durable)*modelAttempts + 10 {
		m.collect()
		m.check()
		for _, u := range m.usable() {
			m.endUse(u, answers)
		}
		if m.collect(); !m.pending() {
			break
		}
		m.tick(2 * time.Second)
	}
	for _, w := range m.waits {
		if w.waits() {
			m.fail("%s was forgotten", w.id)
		}
	}
	m.check()
	for _, id := range sortedIDs(m.durable) {
		if r := m.durable[id]; r.final == "" && !m.lost {
			m.fail("%s was accepted and has come to no end: it is %s", id, m.redis.HGet(prefix("translate")+"ticket:"+id, "state"))
		}
	}
	for _, a := range m.actors {
		if !a.dead {
			a.stop()
		}
	}
	m.fence()
	time.Sleep(modelTimeout + 10*time.Second) // quarantines end
	synctest.Wait()
	m.leftovers()
}

// shrink offers all slots, then fewer: whatever is still out beyond that is in use.
func (m *model) shrink() {
	for fewer := range 2 {
		var offers []jobs.SlotOffer
		for i, most := range concurrency {
			offers = append(offers, replicaWith(fmt.Sprintf("r%d", i), i, max(1, most-fewer)))
		}
		if m.ledger.Offer(context.Background(), "translate", 1, offers) != nil {
			return
		}
		m.tick(3 * time.Second)
		m.collect()
		m.check()
	}
	b := m.read()
	for _, a := range m.actors {
		s := a.known("translate")
		if a.dead || s == nil {
			continue
		}
		s.mu.Lock()
		for _, r := range s.replicas {
			if out := b.out(r.ID); out > b.slots[r.ID] && r.owned > r.busy {
				m.fail("%d slots of %s are out, which has %d, and %s keeps %d for %d requests", out, r.ID, b.slots[r.ID], a.Activator(), r.owned, r.busy)
			}
		}
		s.mu.Unlock()
	}
}

func (m *model) leftovers() {
	_ = m.ledger.Offer(context.Background(), "translate", 1, nil)
	d, err := m.ledger.Demand(context.Background(), "translate")
	if m.lost && err == nil && d.Held > 0 {
		return // a run whose end Redis has lost is run again once its activator has left; here nobody is left
	}
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
