package queue

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// takenOver is one slot at r1, in which a runs a durable request as execute says,
// until it falls silent; another activator has taken the request over and answered
// it in a slot of r3; and a is back. Who waits gets r1's slot when it is free.
func takenOver(t *testing.T, execute func(context.Context, *Execution) error, test func(w *world, a *Queue, waiting <-chan held)) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(t), &faults{}
		a, _ := w.activator("a", func(c *Config) { c.Execute = execute; c.Redis.AddHook(f) })
		e := w.submit(a, async("1"))
		w.offer(replicaWith("r1", 0, 1))
		if e := w.find(a, e.ID); e.State != StateRunning || e.Replica != "r1" {
			t.Fatalf("entry = %+v", e)
		}
		b, _ := w.activator("b", answering)
		alive := hold(t.Context(), b, "alive", roomy) // what b holds, it states: it is heard throughout
		w.offer(replicaWith("r1", 0, 1), replicaWith("r2", 1, 1))
		now(t, alive)
		w.tick(time.Second)
		f.set(func(f *faults) { f.cut = true })
		w.tick(6 * time.Second)
		w.offer(replicaWith("r1", 0, 1), replicaWith("r2", 1, 1), replicaWith("r3", 2, 1))
		w.tick(time.Second)
		if got := w.answer(b, e.ID); got != "answer to body" {
			t.Fatalf("answer = %q", got)
		}
		w.offer(replicaWith("r1", 0, 1), replicaWith("r2", 1, 1))
		waiting := hold(t.Context(), b, "t1", roomy)
		w.tick(time.Second)
		notYet(t, waiting)
		f.set(func(f *faults) { f.cut = false })
		w.tick(1500 * time.Millisecond)
		test(w, a, waiting)
	})
}

// longRun is cut short when it is taken over.
func longRun(ctx context.Context, _ *Execution) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestTheSlotOfARunThatWasTakenOverStaysInQuarantineWhenItsOwnerIsBack(t *testing.T) {
	takenOver(t, longRun, func(w *world, a *Queue, waiting <-chan held) {
		if st := a.Standings()[0]; st.InFlight != 0 || st.Owned != 0 {
			t.Errorf("its owner has %+v: its run goes on", st)
		}
		notYet(t, waiting)
		w.tick(9*time.Minute + 40*time.Second)
		notYet(t, waiting)
		w.tick(20 * time.Second) // request.timeout has passed since it began
		if got := now(t, waiting); got.err != nil {
			t.Fatal(got.err)
		}
	})
}

func TestAReplicasOwnCountFreesTheSlotOfARunThatWasTakenOver(t *testing.T) {
	takenOver(t, longRun, func(w *world, a *Queue, waiting <-chan held) {
		c := counting{w, w.t}
		early := c.mark()
		w.tick(2 * time.Second)
		c.tell(early, 0) // counted before its connection was surely closed
		notYet(t, waiting)
		c.tell(c.mark(), 1)
		notYet(t, waiting)
		c.tell(c.mark(), 0)
		if got := now(t, waiting); got.err != nil {
			t.Fatal(got.err)
		}
	})
}

func TestTheSlotOfARunThatEndedByItselfIsFreeThoughItWasTakenOver(t *testing.T) {
	late := make(chan error, 1)
	takenOver(t, func(ctx context.Context, e *Execution) error {
		time.Sleep(3 * time.Second)
		err := e.Finish(ctx, []byte("too late"))
		late <- err
		return err
	}, func(w *world, a *Queue, waiting <-chan held) {
		if err := <-late; !errors.Is(err, ErrFenced) {
			t.Errorf("err = %v, want ErrFenced", err)
		}
		if got := now(t, waiting); got.err != nil {
			t.Fatal(got.err)
		}
	})
}

func TestASlotThatIsGivenUpIsNotUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		ch := hold(t.Context(), a, "t1", roomy)
		w.offer(replicaWith("r1", 0, 1))
		slot := now(t, ch).slot
		w.tick(time.Second)
		slot.leave("a run", time.Now().Add(time.Minute))
		if _, ok := a.Try("translate", roomy); ok {
			t.Error("it was in use again before the ledger had heard of it")
		}
		w.tick(50 * time.Second)
		if _, ok := a.Try("translate", roomy); ok || w.demand().Quarantined["r1"] != 1 {
			t.Errorf("demand = %+v, in use again: %t", w.demand(), ok)
		}
	})
}

func TestTheSlotOfARequestThatWasCancelledIsFreeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r, f := newWorld(t), newRunner(), &faults{}
		a, _ := w.activator("a", r.join, func(c *Config) { c.Redis.AddHook(f) })
		b, _ := w.activator("b")
		e := w.submit(a, async("1"))
		w.offer(replicaWith("r1", 0, 1))
		now(t, r.started)
		waiting := hold(t.Context(), b, "t1", roomy)
		// Whether its owner learns of it by a message, or by its next write.
		r.do <- func(ctx context.Context, e *Execution) error {
			if _, err := b.Cancel(t.Context(), e.Request.ID); err != nil {
				t.Error(err)
			}
			err := e.Write(context.WithoutCancel(ctx), []byte("part"))
			if !errors.Is(err, ErrFenced) || errors.Is(err, errTakenOver) {
				t.Errorf("err = %v, want ErrFenced, and not that it was taken over", err)
			}
			return err
		}
		w.tick(100 * time.Millisecond)
		if got := w.find(b, e.ID); got.State != StateCancelled {
			t.Fatalf("entry = %+v", got)
		}
		if got := now(t, waiting); got.err != nil {
			t.Fatal(got.err)
		}
	})
}
