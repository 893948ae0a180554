package queue

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestAHeldRequestIsInRedisUntilAReplicaIsOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		ch := hold(t.Context(), q, "t1", roomy)
		notYet(t, ch)
		if d := w.demand(); d.Held != 1 || d.OldestHold.IsZero() || len(d.Deadlines) != 1 {
			t.Fatalf("demand = %+v, want one held ticket", d)
		}
		key := prefix("translate") + "ticket:t1"
		for _, what := range []string{"body", "header", "path"} {
			if got := w.redis.HGet(key, what); got != "" {
				t.Errorf("its %s is in Redis: %q; its connection's process alone can send it", what, got)
			}
		}
		time.Sleep(3 * time.Second)
		w.offer(replicaWith("r1", 0, 2))
		got := now(t, ch)
		if got.err != nil || got.slot.Replica != "r1" || !got.wait.Cold {
			t.Fatalf("got %+v, want a slot of r1 after a cold wait", got)
		}
		if d := got.wait.ColdFor; d != 3*time.Second {
			t.Errorf("cold wait = %s, want 3s", d)
		}
		if w.redis.Exists(key) {
			t.Error("the ticket is still in Redis after its release")
		}
	})
}

func TestTheWarmPathAsksRedisNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		ch := hold(t.Context(), q, "t1", roomy)
		w.offer(replicaWith("r1", 0, 2))
		now(t, ch).slot.Release()
		synctest.Wait()
		before := w.redis.CommandCount()
		for i := range 100 {
			slot, ok := q.Try("translate", roomy)
			if !ok {
				t.Fatalf("request %d found no slot on the warm path", i)
			}
			slot.Release()
		}
		synctest.Wait()
		if n := w.redis.CommandCount() - before; n != 0 {
			t.Errorf("100 warm requests cost %d Redis commands, want 0", n)
		}
	})
}

func TestSlotsAreHandedOutInOrderAndNeverTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		var chans []<-chan held
		for i := range 20 {
			chans = append(chans, hold(t.Context(), q, fmt.Sprintf("t%02d", i), roomy))
		}
		w.offer(replicaWith("r1", 0, 2), replicaWith("r2", 1, 1))
		for i := 0; i < 20; i++ {
			got := now(t, chans[i])
			if got.err != nil {
				t.Fatal(got.err)
			}
			if i+3 < 20 {
				notYet(t, chans[i+3])
			}
			if d := w.demand(); d.SlotsOut["r1"] > 2 || d.SlotsOut["r2"] > 1 {
				t.Fatalf("slots out = %v over 2 and 1", d.SlotsOut)
			}
			got.slot.Release()
		}
	})
}

func TestAFreedSlotGoesToTheOtherActivatorThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		b, _ := w.activator("b")
		first := hold(t.Context(), a, "t1", roomy)
		w.offer(replicaWith("r1", 0, 1))
		slot := now(t, first).slot
		second := hold(t.Context(), b, "t2", roomy)
		notYet(t, second)
		slot.Release()
		if got := now(t, second); got.err != nil || got.slot.Replica != "r1" {
			t.Fatalf("got %+v", got)
		}
	})
}

func TestAnIdleLeaseGoesBackWhenAnotherActivatorWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		b, _ := w.activator("b")
		first := hold(t.Context(), a, "t1", roomy)
		w.offer(replicaWith("r1", 0, 4))
		now(t, first).slot.Release()
		synctest.Wait()
		if d := w.demand(); d.SlotsOut["r1"] != 4 {
			t.Fatalf("slots out = %v, want all 4 leased to a", d.SlotsOut)
		}
		if got := now(t, hold(t.Context(), b, "t2", roomy)); got.err != nil {
			t.Fatal(got.err)
		}
	})
}

func TestDrainTakesIdleLeasesBackAndWaitsForBusyOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		ch := hold(t.Context(), q, "t1", roomy)
		w.offer(replicaWith("r1", 0, 4))
		slot := now(t, ch).slot
		w.offer(replicaWith("r1", 0, 0))
		if d := w.demand(); d.SlotsOut["r1"] != 1 {
			t.Fatalf("slots out = %v while one request runs, want 1", d.SlotsOut)
		}
		if _, ok := q.Try("translate", roomy); ok {
			t.Fatal("a draining replica gave a slot")
		}
		slot.Release()
		synctest.Wait()
		if d := w.demand(); d.SlotsOut["r1"] != 0 {
			t.Fatalf("slots out = %v after the last request, want none", d.SlotsOut)
		}
	})
}

func TestAClientThatLeavesWithdrawsItsTicket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		gone := errors.New("client gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		ch := hold(ctx, q, "t1", roomy)
		cancel(gone)
		if got := now(t, ch); !errors.Is(got.err, gone) {
			t.Fatalf("err = %v, want the cause", got.err)
		}
		if d := w.demand(); d.Held != 0 {
			t.Errorf("held = %d after the client left", d.Held)
		}
		w.offer(replicaWith("r1", 0, 1))
		time.Sleep(2 * time.Second)
		if d := w.demand(); d.SlotsOut["r1"] > 1 {
			t.Errorf("slots out = %v", d.SlotsOut)
		}
	})
}

func TestAFullHoldRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		b, _ := w.activator("b")
		hold(t.Context(), a, "t1", Limits{Requests: 1, Bytes: 100})
		var full *FullError
		if got := now(t, hold(t.Context(), a, "t2", Limits{Requests: 1, Bytes: 100})); !errors.As(got.err, &full) {
			t.Errorf("same activator: %v, want FullError", got.err)
		}
		if got := now(t, hold(t.Context(), b, "t3", Limits{Requests: 1, Bytes: 100})); !errors.As(got.err, &full) {
			t.Errorf("other activator: %v, want FullError", got.err)
		}
		if got := now(t, hold(t.Context(), b, "t4", Limits{Requests: 10, Bytes: 7})); !errors.As(got.err, &full) {
			t.Errorf("bytes: %v, want FullError", got.err)
		}
	})
}

func TestWhileRedisIsAwayWarmTrafficFlowsAndHeldRequestsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		ch := hold(t.Context(), q, "t1", roomy)
		w.offer(replicaWith("r1", 0, 1))
		slot := now(t, ch).slot
		time.Sleep(2 * time.Second)
		w.redis.SetError("LOADING")
		second := hold(t.Context(), q, "t2", roomy)
		third := hold(t.Context(), q, "t3", roomy)
		time.Sleep(4 * time.Second)
		notYet(t, second)
		slot.Release()
		got := now(t, second)
		if got.err != nil {
			t.Fatal(got.err)
		}
		notYet(t, third)
		time.Sleep(6 * time.Second)
		w.redis.SetError("")
		time.Sleep(2 * time.Second)
		if d := w.demand(); d.Held != 1 || d.SlotsOut["r1"] != 1 {
			t.Fatalf("after Redis' return: %+v, want t3 held and one slot out", d)
		}
		got.slot.Release()
		now(t, third).slot.Release()
		time.Sleep(time.Second)
		for range 10 {
			slot, ok := q.Try("translate", roomy)
			if !ok {
				t.Fatal("not warm again")
			}
			slot.Release()
		}
	})
}

func TestAReplicaThatBrokeGetsNoSlotForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		ch := hold(t.Context(), q, "t1", roomy)
		w.offer(replicaWith("r1", 0, 1))
		now(t, ch).slot.ReleaseSuspect()
		again := hold(t.Context(), q, "t1", roomy)
		notYet(t, again)
		w.offer(replicaWith("r1", 0, 1), replicaWith("r2", 1, 1))
		if got := now(t, again); got.err != nil || got.slot.Replica != "r2" {
			t.Fatalf("got %+v, want r2", got)
		}
	})
}

func TestStopEndsEveryWaitAndGivesTheSlotsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, stop := w.activator("a")
		warm := hold(t.Context(), q, "t1", roomy)
		w.offer(replicaWith("r1", 0, 1))
		slot := now(t, warm).slot
		ch := hold(t.Context(), q, "t2", roomy)
		q.Stop()
		if got := now(t, ch); !errors.Is(got.err, ErrStopped) {
			t.Fatalf("err = %v, want ErrStopped", got.err)
		}
		slot.Release()
		stop()
		if d := w.demand(); d.Held != 0 || len(d.SlotsOut) != 0 {
			t.Fatalf("left behind: %+v", d)
		}
	})
}

func TestFirstAnswersAreReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		want := jobs.FirstAnswer{Replica: "r1", RequestID: "x", FirstByte: time.Now().UTC()}
		if err := q.FirstAnswer(t.Context(), "translate", want); err != nil {
			t.Fatal(err)
		}
		got, err := w.ledger.FirstAnswers(t.Context(), "translate")
		if err != nil || len(got) != 1 || got[0].Replica != "r1" {
			t.Fatalf("got %+v, %v", got, err)
		}
		if got, _ := w.ledger.FirstAnswers(t.Context(), "translate"); len(got) != 0 {
			t.Errorf("read twice: %+v", got)
		}
	})
}

func TestCountersOfASilentActivatorAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		c := jobs.Counters{Activator: "a", At: time.Now(), Services: map[string]jobs.ServiceCounters{"translate": {Arrivals: 3}}}
		if err := q.PublishCounters(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if got, err := w.ledger.Counters(t.Context()); err != nil || len(got) != 1 || got[0].Services["translate"].Arrivals != 3 {
			t.Fatalf("got %+v, %v", got, err)
		}
		time.Sleep(4 * time.Second)
		if got, err := w.ledger.Counters(t.Context()); err != nil || len(got) != 0 {
			t.Fatalf("got %+v, %v; want none", got, err)
		}
	})
}

func TestALateCopyOfAnOldStatementChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		ch := hold(t.Context(), q, "t1", roomy)
		w.offer(replicaWith("r1", 0, 1))
		now(t, ch)
		time.Sleep(2 * time.Second) // statements have been made since
		s := q.service("translate")
		late := s.state()
		late.number, late.Held = 1, nil
		reply, err := s.call(t.Context(), late)
		if err != nil || reply[0] != "stale" {
			t.Fatalf("reply %v, %v; want stale", reply, err)
		}
		if d := w.demand(); d.SlotsOut["r1"] != 1 {
			t.Errorf("slots out = %v: the old statement took the slot away", d.SlotsOut)
		}
	})
}

func TestAfterAnOutageNobodyIsTakenForDeadBeforeALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		first := hold(t.Context(), a, "t1", roomy)
		w.offer(replicaWith("r1", 0, 1))
		now(t, first).slot.Release()
		time.Sleep(2 * time.Second)
		w.redis.SetError("LOADING")
		time.Sleep(time.Second)
		if _, ok := a.Try("translate", roomy); !ok { // of which Redis does not hear
			t.Fatal("no slot in an outage")
		}
		time.Sleep(20 * time.Second)
		b, _ := w.activator("b")
		w.redis.SetError("")
		// b is heard before a has noticed that Redis is back.
		second := hold(t.Context(), b, "t2", roomy)
		notYet(t, second)
		time.Sleep(2 * time.Second)
		notYet(t, second)
	})
}

func TestSteadyTrafficDoesNotKeepTheHeartbeatFromRedis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		ch := hold(t.Context(), q, "t1", roomy)
		w.offer(replicaWith("r1", 0, 2))
		now(t, ch).slot.Release()
		for range 1000 { // 10 s of requests with pauses shorter than quietFor
			slot, ok := q.Try("translate", roomy)
			if !ok {
				t.Fatal("no slot on the warm path")
			}
			time.Sleep(5 * time.Millisecond)
			slot.Release()
			time.Sleep(5 * time.Millisecond)
			if d := w.demand(); d.SlotsOut["r1"] != 2 {
				t.Fatalf("slots out = %v: the lease was lost under traffic", d.SlotsOut)
			}
		}
	})
}

func TestAnActivatorThatStoodStillDoesNotGetItsSlotsBackFromOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		b, err := New(Config{Redis: clientOf(t, w.redis), Activator: "b"}) // settles only when told to
		if err != nil {
			t.Fatal(err)
		}
		stopped := newService(b, "translate")
		b.services["translate"] = stopped
		w.offer(replicaWith("r1", 0, 2))
		stopped.lastUse = time.Now()
		settleNow := func() {
			t.Helper()
			if _, err := stopped.settle(t.Context(), stopped.state()); err != nil {
				t.Fatal(err)
			}
		}
		settleNow()
		if d := w.demand(); d.SlotsOut["r1"] != 2 {
			t.Fatalf("slots out = %v, want both leased to b", d.SlotsOut)
		}
		for range 80 { // b stands still for 8 s
			time.Sleep(100 * time.Millisecond)
			w.demand()
		}
		one, two := now(t, hold(t.Context(), a, "t1", roomy)), now(t, hold(t.Context(), a, "t2", roomy))
		if one.err != nil || two.err != nil {
			t.Fatal(one.err, two.err)
		}
		if _, ok := b.Try("translate", roomy); ok {
			t.Error("b gave a slot that it had not heard of for longer than its lease")
		}
		settleNow()
		if d := w.demand(); d.SlotsOut["r1"] != 2 {
			t.Errorf("slots out = %v, 2 are offered", d.SlotsOut)
		}
		if _, ok := b.Try("translate", roomy); ok {
			t.Error("b gave a slot that is a's")
		}
	})
}

func TestARequestThatHasItsPlaceIsNotRefusedWhenTheHoldIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		small := Limits{Requests: 1, Bytes: 100}
		first := hold(t.Context(), q, "t1", small)
		again := ticket("t2")
		again.Seq = 1 // as one that had a slot whose replica died
		ch := make(chan held, 1)
		go func() {
			slot, wait, err := q.Hold(t.Context(), again, small)
			ch <- held{"t2", slot, wait, err}
		}()
		notYet(t, ch)
		w.offer(replicaWith("r1", 0, 2))
		if a, b := now(t, ch), now(t, first); a.err != nil || b.err != nil {
			t.Error(a.err, b.err)
		}
	})
}
