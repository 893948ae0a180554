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
