package queue

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestALedgerThatLostItsLastWritesGrantsNothingForALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serverIs(1, "")
		a, _ := w.activator("a")
		b, _ := w.activator("b")
		w.offer(replicaWith("r1", 0, 1))
		before := save(t, w.redis)
		slot := now(t, hold(t.Context(), a, "t1", roomy)).slot
		time.Sleep(100 * time.Millisecond)
		before.restore(w.redis) // nobody has the slot, says Redis
		w.serverIs(2, "")
		ch := hold(t.Context(), b, "t2", roomy) // b has seen nothing of what was lost
		w.tick(3 * time.Second)
		if d := w.demand(); d.SlotsOut["r1"] != 1 {
			t.Errorf("slots out = %v: a has stated its slot", d.SlotsOut)
		}
		notYet(t, ch)
		w.tick(3 * time.Second)
		notYet(t, ch)
		slot.Release()
		w.tick(time.Second)
		now(t, ch)
	})
}

func TestAGenerationThatACallerHasSeenAndRedisHasNotGrantsNothingForALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		b, _ := w.activator("b")
		w.offer(replicaWith("r1", 0, 2))
		before := save(t, w.redis)
		one := now(t, hold(t.Context(), a, "t1", roomy)).slot
		two := now(t, hold(t.Context(), a, "t2", roomy)).slot
		w.tick(time.Second)
		before.restore(w.redis)
		w.tick(100 * time.Millisecond) // the scaler has seen later ones
		ch := hold(t.Context(), b, "t3", roomy)
		w.tick(3 * time.Second)
		notYet(t, ch)
		one.Release()
		two.Release()
		w.tick(3 * time.Second)
		now(t, ch)
	})
}

func TestAnEmptyLedgerIsToldByOneWhoHasSeenLittleOfTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		b, _ := w.activator("b")
		w.offer(replicaWith("r1", 0, 2)) // the first call of all: the scaler has seen no more
		one := now(t, hold(t.Context(), a, "t1", roomy)).slot
		two := now(t, hold(t.Context(), a, "t2", roomy)).slot
		w.redis.FlushAll()
		w.redis.SetError("LOADING") // a's next words come later than those of the others
		time.Sleep(500 * time.Millisecond)
		w.redis.SetError("")
		ch := hold(t.Context(), b, "t3", roomy) // b has seen nothing of what was lost
		w.offer(replicaWith("r1", 0, 2))
		notYet(t, ch)
		w.tick(8 * time.Second)
		notYet(t, ch)
		if d := w.demand(); d.SlotsOut["r1"] != 2 {
			t.Errorf("slots out = %v: a has stated both of its slots", d.SlotsOut)
		}
		one.Release()
		two.Release()
		w.tick(time.Second)
		now(t, ch)
	})
}

func TestAnEmptyLedgerWaitsOnceForThoseWhoRememberTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		w.offer(replicaWith("r1", 0, 2))
		now(t, hold(t.Context(), a, "t1", roomy)).slot.Release()
		old := w.ledger.gens["translate"]
		time.Sleep(time.Second)
		w.redis.FlushAll()
		w.offer(replicaWith("r1", 0, 2))
		w.tick(8 * time.Second)
		w.ledger.gens["translate"] = old // another scaler, that was away so long
		w.offer(replicaWith("r1", 0, 3))
		now(t, hold(t.Context(), a, "t2", roomy)).slot.Release()
	})
}

func TestAServerThatIsAnotherProcessGrantsNothingForALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serverIs(1, "")
		a, _ := w.activator("a")
		w.offer(replicaWith("r1", 0, 2))
		now(t, hold(t.Context(), a, "t1", roomy)).slot.Release()
		time.Sleep(time.Second)
		w.serverIs(2, "")
		time.Sleep(time.Second)
		if slot, ok := a.Try("translate", roomy); !ok {
			t.Error("what is leased stays in use")
		} else {
			slot.Release()
		}
		w.offer(replicaWith("r1", 0, 2), replicaWith("r2", 1, 1))
		w.tick(3 * time.Second)
		if d := w.demand(); d.SlotsOut["r2"] != 0 {
			t.Errorf("slots out = %v: something new was given", d.SlotsOut)
		}
		w.tick(3 * time.Second)
		if d := w.demand(); d.SlotsOut["r2"] != 1 {
			t.Errorf("slots out = %v after a lease", d.SlotsOut)
		}
	})
}

func TestHeldTicketsThatRedisForgotAreAskedForAgainAtTheirPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		b, _ := w.activator("b")
		before := save(t, w.redis)
		first := hold(t.Context(), a, "t1", roomy)
		second := hold(t.Context(), b, "t2", roomy)
		w.tick(time.Second)
		before.restore(w.redis)
		third := hold(t.Context(), b, "t3", roomy)
		w.tick(7 * time.Second)
		if d := w.demand(); d.Held != 3 {
			t.Fatalf("held = %d, want 3", d.Held)
		}
		w.offer(replicaWith("r1", 0, 1))
		notYet(t, third)
		notYet(t, second)
		now(t, first).slot.Release()
		w.tick(time.Second)
		notYet(t, third)
		now(t, second).slot.Release()
		w.tick(time.Second)
		now(t, third)
	})
}

func TestRunsThatRedisForgotAreClaimedAndNotRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serverIs(1, "")
		r := newRunner()
		a, _ := w.activator("a", r.join)
		b, _ := w.activator("b", r.join)
		var all []Entry
		for i := range 4 {
			all = append(all, w.submit(a, async(fmt.Sprint(i))))
		}
		before := save(t, w.redis)
		offers := []jobs.SlotOffer{replicaWith("r1", 0, 4), replicaWith("r2", 1, 6)}
		w.offer(offers...)
		for range all {
			now(t, r.started)
		}
		w.tick(time.Second)
		before.restore(w.redis) // all are held, says Redis
		w.serverIs(2, "")
		hold(t.Context(), b, "t1", roomy) // b is heard, and might run them
		w.tick(time.Second)
		w.offer(offers...)
		w.tick(8 * time.Second)
		notYet(t, r.started)
		for range all {
			r.do <- func(ctx context.Context, e *Execution) error { e.Begin(200, nil); return e.Finish(ctx, []byte("one")) }
		}
		w.tick(time.Second)
		for _, e := range all {
			if got := w.answer(b, e.ID); got != "one" {
				t.Errorf("answer = %q", got)
			}
		}
	})
}
