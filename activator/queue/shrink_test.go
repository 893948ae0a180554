package queue

import (
	"testing"
	"testing/synctest"
	"time"
)

// inUse takes all slots that activators have at hand.
func inUse(qs ...*Queue) (slots []*Slot) {
	for _, q := range qs {
		for {
			slot, ok := q.Try("translate", roomy)
			if !ok {
				break
			}
			slots = append(slots, slot)
		}
	}
	return slots
}

// TestWhatIsLeasedBeyondAnOfferThatFellIsGivenBackBySeveral: none of them has more than
// the replica offers, but together they do.
func TestWhatIsLeasedBeyondAnOfferThatFellIsGivenBackBySeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.load()
		a, _ := w.activator("a")
		b, _ := w.activator("b")
		w.offer(replicaWith("r1", 0, 4))
		one := now(t, hold(t.Context(), a, "t1", roomy)).slot
		two := now(t, hold(t.Context(), b, "t2", roomy)).slot
		one.Release()
		two.Release()
		w.tick(3 * time.Second)
		t.Log(w.demand().SlotsOut)
		w.offer(replicaWith("r1", 0, 2))
		w.tick(2 * time.Second)
		if out := w.demand().SlotsOut["r1"]; out > 2 {
			t.Errorf("%d slots are out of 2", out)
		}
		if n := len(inUse(a, b)); n > 2 {
			t.Errorf("%d slots are in use of 2", n)
		}
	})
}

// TestWhatIsLeasedBesideOneThatComesBackWithMoreInUseIsGivenBack: it stood still before
// it had stated its last slot, which was leased to another meanwhile.
func TestWhatIsLeasedBesideOneThatComesBackWithMoreInUseIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.load()
		f := &faults{}
		a, _ := w.activator("a")
		b, _ := w.activator("b", func(c *Config) { c.Redis.AddHook(f) })
		w.offer(replicaWith("r1", 0, 2))
		now(t, hold(t.Context(), b, "t1", roomy)).slot.Release()
		time.Sleep(2300 * time.Millisecond) // b has both, and no statement is under way
		stopped := make(chan struct{})
		f.set(func(f *faults) { f.paused = stopped })
		late, ok := b.Try("translate", roomy)
		if !ok {
			t.Fatal("no slot is leased to b")
		}
		w.tick(7 * time.Second)
		now(t, hold(t.Context(), a, "t2", roomy)).slot.Release()
		w.tick(2 * time.Second)
		if out := w.demand().SlotsOut["r1"]; out != 2 {
			t.Fatalf("%d slots are out, want both", out)
		}
		close(stopped)
		f.set(func(f *faults) { f.paused = nil })
		w.tick(2 * time.Second)
		if n := len(inUse(a, b)); n > 1 {
			t.Errorf("%d slots are in use of 2 beside b's first", n)
		}
		late.Release()
		w.tick(2 * time.Second)
		if out := w.demand().SlotsOut["r1"]; out > 2 {
			t.Errorf("%d slots are out of 2", out)
		}
	})
}
