package queue

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestTheFirstRequestOfAnActivatorAtAWarmServiceIsNoColdStart, whichever of its calls
// the ledger hears first: to the statement it answers that it knows nothing of this
// activator, and so what the other answers is asked for again.
func TestTheFirstRequestOfAnActivatorAtAWarmServiceIsNoColdStart(t *testing.T) {
	for name, late := range map[string]*troubled{"the statement": {script: holdScript}, "the ticket": {script: settleScript}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.load()
				w.offer(replicaWith("r1", 0, 1))
				late.set(0, 20*time.Millisecond) // and no other statement is due then
				a, _ := w.activator("a", late.join)
				ch := hold(t.Context(), a, "t1", roomy)
				time.Sleep(time.Second)
				if h := now(t, ch); h.err != nil || h.wait.Cold || h.wait.ColdFor != 0 {
					t.Errorf("wait = %+v, %v", h.wait, h.err)
				}
			})
		})
	}
}

// TestASlotThatComesBeforeTheAnswerToItsTicketIsNoColdStart: at a warm service the
// ledger grants it with the ticket, and the statement behind that may be answered first.
// If no replica was there when the ticket came, the statements have told so meanwhile.
func TestASlotThatComesBeforeTheAnswerToItsTicketIsNoColdStart(t *testing.T) {
	for name, start := range map[string]time.Duration{"warm": 0, "cold": 500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.load()
				tickets, statements := &troubled{script: holdScript}, &troubled{script: settleScript}
				tickets.answerAfter(900 * time.Millisecond)
				statements.set(0, 20*time.Millisecond)
				if start == 0 {
					w.offer(replicaWith("r1", 0, 1))
				}
				a, _ := w.activator("a", tickets.join, statements.join)
				ch := hold(t.Context(), a, "t1", roomy)
				if start > 0 {
					time.Sleep(start)
					notYet(t, ch)
					w.offer(replicaWith("r1", 0, 1))
				}
				time.Sleep(100 * time.Millisecond)
				h := now(t, ch)
				if cold := h.wait.ColdFor; h.err != nil || h.wait.Cold != (start > 0) || cold < start || start == 0 && cold > 0 {
					t.Errorf("wait = %+v, %v", h.wait, h.err)
				}
			})
		})
	}
}

// TestWhoJoinsARequestThatWaitsAtAWarmServiceHearsOfItsReplicas, and so does not take its
// wait for a cold start, though no statement of its activator has been answered yet.
func TestWhoJoinsARequestThatWaitsAtAWarmServiceHearsOfItsReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.load()
		w.offer(replicaWith("r1", 0, 1))
		a, _ := w.activator("a", newRunner().join)
		now(t, hold(t.Context(), a, "t1", roomy)) // it has the slot
		w.submit(a, keyed("1", "k"))
		late := &troubled{script: settleScript}
		late.set(0, 20*time.Millisecond)
		b, _ := w.activator("b", newRunner().join, late.join)
		if e := w.submit(b, keyed("2", "k")); !e.Joined || e.State != StateHeld {
			t.Fatalf("entry = %+v", e)
		}
		if total, none := b.ColdTime("translate"); total != 0 || none {
			t.Errorf("no replica was ready for %v, and none is: %v", total, none)
		}
	})
}
