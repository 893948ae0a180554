package queue

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

// counting asks the one replica of its test for its own count, as the scaler does.
type counting struct {
	*world
	t *testing.T
}

// mark is taken before the replica is asked.
func (c counting) mark() jobs.SlotMark {
	c.t.Helper()
	_, mark, err := c.ledger.Quarantined(c.t.Context(), "translate")
	if err != nil {
		c.t.Fatal(err)
	}
	return mark
}

func (c counting) tell(mark jobs.SlotMark, n int) {
	c.t.Helper()
	if err := c.ledger.Observed(c.t.Context(), "translate", mark, map[string]int{"r1": n}); err != nil {
		c.t.Fatal(err)
	}
	synctest.Wait()
}

// quarantined is how many slots are.
func (c counting) quarantined() (n int) {
	c.t.Helper()
	list, _, err := c.ledger.Quarantined(c.t.Context(), "translate")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, q := range list {
		if q.Replica != "r1" || q.Activator != "a" {
			c.t.Errorf("quarantined %+v", q)
		}
		n += q.Slots
	}
	return n
}

func TestAReplicasOwnCountEndsTheQuarantineOfAnActivatorThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(t), &network{}
		c := counting{w, t}
		a, _ := w.activator("a", n.join)
		b, _ := w.activator("b", n.join)
		one, two := hold(t.Context(), a, "t1", roomy), hold(t.Context(), a, "t2", roomy)
		w.offer(replicaWith("r1", 0, 2))
		now(t, one)
		now(t, two)
		w.tick(time.Second)
		before := c.mark()
		w.kill(a)
		n.kill("a")
		waiting := hold(t.Context(), b, "t3", roomy)
		w.tick(3 * time.Second)
		if n := c.quarantined(); n != 2 {
			t.Fatalf("%d slots quarantined, want 2", n)
		}
		c.tell(before, 0) // a count from before its activator died
		notYet(t, waiting)
		early := c.mark() // one that may lag behind its death
		c.tell(early, 0)
		notYet(t, waiting)
		w.tick(2 * time.Second)
		c.tell(early, 0) // told late, and no better for it
		notYet(t, waiting)
		mark := c.mark()
		c.tell(mark, 2)
		notYet(t, waiting)
		c.tell(mark, 1)
		if got := now(t, waiting); got.err != nil {
			t.Fatal(got.err)
		}
		if n := c.quarantined(); n != 1 {
			t.Errorf("%d slots quarantined at a count of 1", n)
		}
		c.tell(mark, 2) // a count of others' requests takes nothing back
		if n := c.quarantined(); n != 1 {
			t.Errorf("%d slots quarantined at a later count of 2", n)
		}
		c.tell(mark, 0)
		if n := c.quarantined(); n != 0 {
			t.Errorf("%d slots quarantined at a count of 0", n)
		}
	})
}

func TestOfAnActivatorThatIsOnlySilentCountsAreHeededLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := counting{w, t}
		a, _ := w.activator("a") // nobody can ask after it: it may be cut off, and be in the middle of a request
		b, _ := w.activator("b")
		ch := hold(t.Context(), a, "t1", roomy)
		w.offer(replicaWith("r1", 0, 1))
		now(t, ch)
		w.tick(time.Second)
		w.kill(a)
		waiting := hold(t.Context(), b, "t2", roomy)
		w.tick(30 * time.Second) // buried for 25 s at most
		c.tell(c.mark(), 0)
		notYet(t, waiting)
		w.tick(7 * time.Second)
		c.tell(c.mark(), 0)
		if got := now(t, waiting); got.err != nil {
			t.Fatal(got.err)
		}
	})
}

func TestAnActivatorThatIsFoundGoneAfterItsBurialIsCountedSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(t), &network{}
		c := counting{w, t}
		a, _ := w.activator("a", n.join)
		b, _ := w.activator("b", n.join)
		ch := hold(t.Context(), a, "t1", roomy)
		w.offer(replicaWith("r1", 0, 1))
		now(t, ch)
		w.tick(time.Second)
		w.kill(a)
		n.set(&n.mute, "a", true) // its machine does not answer at all
		waiting := hold(t.Context(), b, "t2", roomy)
		w.tick(8 * time.Second)
		c.tell(c.mark(), 0)
		notYet(t, waiting)
		n.set(&n.mute, "a", false)
		n.kill("a") // its machine is back, and refuses
		w.tick(5 * time.Second)
		c.tell(c.mark(), 0)
		if got := now(t, waiting); got.err != nil {
			t.Fatal(got.err)
		}
	})
}

func TestWhatAnActivatorThatIsGoneLeftBehindIsNobodysDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(t), &network{}
		a, _ := w.activator("a", n.join)
		b, _ := w.activator("b", n.join)
		one, two := hold(t.Context(), a, "t1", roomy), hold(t.Context(), a, "t2", roomy)
		w.offer(replicaWith("r1", 0, 2), replicaWith("r2", 1, 2))
		now(t, one)
		now(t, two)
		w.tick(time.Second)
		w.kill(a)
		n.set(&n.mute, "a", true)
		w.tick(7 * time.Second)
		all, none := map[string]int{"r1": 1, "r2": 1}, map[string]int{}
		if diff := cmp.Diff(jobs.Demand{SlotsOut: all, Busy: all, Quarantined: all, Abandoned: none}, w.demand()); diff != "" {
			t.Errorf("of one that may live: %s", diff)
		}
		n.set(&n.mute, "a", false)
		n.kill("a")
		w.tick(5 * time.Second)
		slot := now(t, hold(t.Context(), b, "t3", roomy)).slot // only now does b meet the service
		slot.Release()
		w.tick(2 * time.Second)
		idle := map[string]int{"r1": 0, "r2": 0} // what b has leased
		if diff := cmp.Diff(jobs.Demand{SlotsOut: all, Busy: idle, Quarantined: all, Abandoned: all}, w.demand()); diff != "" {
			t.Errorf("of one that is gone: %s", diff)
		}
		w.offer(replicaWith("r1", 0, 2))
		if d := w.demand(); d.Quarantined["r2"] != 0 || d.Abandoned["r2"] != 0 {
			t.Errorf("after a replica has gone: %+v", d)
		}
	})
}
