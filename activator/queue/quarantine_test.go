package queue

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestADeadActivatorsIdleSlotsReturnAfterItsLeaseAndItsBusyOnesAreQuarantined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		b, _ := w.activator("b")
		first := hold(t.Context(), a, "t1", roomy)
		w.offer(replicaWith("r1", 0, 2))
		now(t, first) // runs on at the replica, for nobody
		w.tick(time.Second)
		w.kill(a)
		idle := hold(t.Context(), b, "t2", roomy)
		busy := hold(t.Context(), b, "t3", roomy)
		w.tick(3500 * time.Millisecond)
		notYet(t, idle)
		w.tick(2 * time.Second)
		got := now(t, idle)
		if got.err != nil {
			t.Fatal(got.err)
		}
		w.tick(9 * time.Minute)
		notYet(t, busy)
		if d := w.demand(); d.SlotsOut["r1"] != 2 {
			t.Fatalf("slots out = %v: the quarantined slot is not counted", d.SlotsOut)
		}
		w.tick(time.Minute + 10*time.Second) // request.timeout has passed
		if got := now(t, busy); got.err != nil {
			t.Fatal(got.err)
		}
	})
}

func TestTicketsOfADeadActivatorGoInSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		b, _ := w.activator("b")
		for i := range 350 {
			go func() {
				_, _, _ = a.Hold(t.Context(), ticket(fmt.Sprint("t", i)), roomy)
			}()
		}
		time.Sleep(100 * time.Millisecond)
		w.kill(a)
		alive := hold(t.Context(), b, "alive", roomy)
		w.tick(4 * time.Second)
		time.Sleep(1200 * time.Millisecond)
		for last := w.demand().Held; last > 1; {
			d := w.demand()
			if d.Held == last || last-d.Held > 100 {
				t.Fatalf("from %d to %d tickets of the dead in one call, want some and at most 100", last, d.Held)
			}
			last = d.Held
		}
		w.offer(replicaWith("r1", 0, 1))
		if got := now(t, alive); got.err != nil {
			t.Fatal(got.err)
		}
	})
}

func TestTheTicketsOfTheDeadDoNotHoldUpThoseBehindThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		b, _ := w.activator("b")
		for i := range 350 {
			go func() { _, _, _ = a.Hold(t.Context(), ticket(fmt.Sprint("t", i)), roomy) }()
		}
		time.Sleep(100 * time.Millisecond)
		w.kill(a)
		alive := hold(t.Context(), b, "alive", roomy)
		w.tick(4 * time.Second)
		w.offer(replicaWith("r1", 0, 1)) // goes to one of a's, which is not known to be dead yet
		w.tick(1500 * time.Millisecond)
		if got := now(t, alive); got.err != nil {
			t.Fatal(got.err)
		}
	})
}

func TestAnActivatorWhoseAddressRefusesIsDeadBeforeItsLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := &network{}
		a, _ := w.activator("a", n.join)
		b, _ := w.activator("b", n.join)
		first := hold(t.Context(), a, "t1", roomy)
		w.offer(replicaWith("r1", 0, 2))
		now(t, first)
		w.tick(time.Second)
		w.kill(a)
		n.kill("a")
		idle, busy := hold(t.Context(), b, "t2", roomy), hold(t.Context(), b, "t3", roomy)
		w.tick(3 * time.Second)
		now(t, idle)
		notYet(t, busy)
	})
}

func TestAnActivatorAtTheAddressOfASilentOneTakesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		at := func(c *Config) { c.Address = "127.0.0.1:8080" }
		a, _ := w.activator("a", at)
		first := hold(t.Context(), a, "t1", roomy)
		w.offer(replicaWith("r1", 0, 2))
		now(t, first)
		w.tick(time.Second)
		w.kill(a)
		w.tick(time.Second)
		b, _ := w.activator("b", at)
		second := hold(t.Context(), b, "t2", roomy)
		w.tick(2 * time.Second)
		now(t, second)
	})
}

func TestAPausedActivatorChecksItsLeaseBeforeTheFirstByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		ch := hold(t.Context(), a, "t1", roomy)
		w.offer(replicaWith("r1", 0, 2))
		slot := now(t, ch).slot
		time.Sleep(time.Second)
		warm, ok := a.Try("translate", roomy)
		if !ok || slot.Check() != nil || warm.Check() != nil {
			t.Fatal("a slot within its lease must do")
		}
		// What a process sees of itself that was stopped for 30 s: no time has passed
		// for its timers, and its clocks have gone on.
		s := a.known("translate")
		s.mu.Lock()
		s.renewed = s.renewed.Add(-30 * time.Second)
		slot.given = slot.given.Add(-30 * time.Second)
		s.mu.Unlock()
		if slot.Check() == nil || warm.Check() == nil {
			t.Error("a slot was good for a first byte after its lease")
		}
		if _, ok := a.Try("translate", roomy); ok {
			t.Error("a slot was given after its lease")
		}
		synctest.Wait() // it has asked
		if slot.Check() != nil {
			t.Error("the slot is its own again, since nobody else was given it")
		}
	})
}

func TestGrantedSlotsOfAnActivatorThatNeverHeardOfThemAreNotQuarantined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		b, _ := w.activator("b")
		hold(t.Context(), a, "t1", roomy)
		time.Sleep(time.Second)
		w.kill(a)
		time.Sleep(time.Second)
		w.offer(replicaWith("r1", 0, 1)) // granted to t1, of which a never hears
		ch := hold(t.Context(), b, "t2", roomy)
		w.tick(6 * time.Second)
		if got := now(t, ch); got.err != nil {
			t.Fatal(got.err)
		}
	})
}

func TestALateStatementOfABuriedActivatorDoesNotShrinkItsQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		ch := hold(t.Context(), a, "t1", roomy)
		w.offer(replicaWith("r1", 0, 1))
		now(t, ch)
		time.Sleep(2 * time.Second)
		late := a.known("translate").state()
		late.number, late.Held = 1, nil // sent long ago, when nothing was in flight
		s := a.known("translate")
		w.kill(a)
		w.tick(7 * time.Second)
		s.q = &Queue{cfg: a.cfg, stopped: a.stopped}
		s.q.cfg.Redis = clientOf(t, w.redis)
		if reply, err := s.call(context.Background(), late); err != nil || reply[0] != "stale" {
			t.Fatalf("reply %v, %v; want stale", reply, err)
		}
		if d := w.demand(); d.SlotsOut["r1"] != 1 {
			t.Errorf("slots out = %v", d.SlotsOut)
		}
	})
}

func TestAGrantThatADeadActivatorMayHaveHeardOfIsQuarantined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, err := New(Config{Redis: clientOf(t, w.redis), Activator: "a"}) // acknowledges nothing
		if err != nil {
			t.Fatal(err)
		}
		b, _ := w.activator("b")
		w.offer(replicaWith("r1", 0, 1))
		given := &waiter{ticket: ticket("t1"), limits: roomy, outcome: make(chan outcome, 1)}
		s := newService(a, "translate")
		s.longest.timeout = time.Minute
		s.waiters["t1"], given.place = given, s.order.PushBack(given)
		if err := s.ask(t.Context(), given); err != nil {
			t.Fatal(err)
		}
		if o := <-given.outcome; o.slot == nil {
			t.Fatal(o.err)
		}
		ch := hold(t.Context(), b, "t2", roomy)
		w.tick(10 * time.Second)
		notYet(t, ch)
		if d := w.demand(); d.SlotsOut["r1"] != 1 {
			t.Errorf("slots out = %v", d.SlotsOut)
		}
	})
}
