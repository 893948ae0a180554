package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing/synctest"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

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
	m.begin(&use{id: w.id, actor: w.actor, slot: h.slot, granted: !h.slot.given.IsZero()})
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
		case u.orphan() && now.After(u.orphanTil):
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

// finish ends the disturbances: everybody who still waits must get a slot, what
// was accepted must end, and then nothing may be left.
func (m *model) finish() {
	m.serverIs(m.server, "")
	m.down = false
	for _, a := range m.actors {
		if a.paused {
			m.resume(a)
		}
		if a.cut {
			a.cut, a.back = false, time.Now()
		}
		a.faults.set(func(f *faults) { f.cut, f.lost, f.delay = false, 0, 0 })
	}
	m.tick(12 * time.Second) // beyond a lease and its grace
	for range 3 {
		if m.ledger.Offer(context.Background(), "translate", 1, []jobs.SlotOffer{replicaWith("r9", 0, 2)}) == nil {
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
	_ = m.ledger.Offer(context.Background(), "translate", 1, nil)
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
