package queue

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestASubmissionBringsOneSlotBackAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.load()
		f, r := &faults{}, newRunner()
		a, _ := w.activator("a", r.join, func(c *Config) { c.Redis.AddHook(f) })
		w.offer(replicaWith("r1", 0, 3))
		now(t, hold(t.Context(), a, "t1", roomy)).slot.Release()
		time.Sleep(2300 * time.Millisecond) // all three are leased, and no statement is under way
		f.set(func(f *faults) { f.delay = 100 * time.Millisecond })
		submitted := make(chan error, 1)
		go func() { _, err := a.Submit(t.Context(), keyed("1", "k"), roomy); submitted <- err }()
		time.Sleep(350 * time.Millisecond) // the script has run; its answer is on its way
		if d := w.demand(); d.SlotsOut["r1"] != 3 {
			t.Errorf("%d slots are out, want 3: two that are leased, and the request's", d.SlotsOut["r1"])
		}
		if err := <-submitted; err != nil {
			t.Error(err)
		}
	})
}

func TestASubmissionThatComesAfterALaterStatementBringsNoSlotBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.load()
		r := newRunner()
		f := &faults{server: func() int64 { return 0 }, arrive: func(args []any) { _ = w.ledger.redis.Do(context.Background(), args...).Err() }}
		a, _ := w.activator("a", r.join, func(c *Config) { c.Redis.AddHook(f) })
		w.offer(replicaWith("r1", 0, 2))
		now(t, hold(t.Context(), a, "t1", roomy)).slot.Release()
		time.Sleep(2300 * time.Millisecond) // both are leased, and no statement is under way
		f.set(func(f *faults) { f.late = 3 * time.Second })
		if _, err := a.Submit(t.Context(), async("1"), roomy); !errors.Is(err, ErrStoreUnavailable) {
			t.Fatalf("err = %v", err)
		}
		time.Sleep(2 * time.Second) // it has said what it holds, and got both again
		var slots []*Slot
		for range 2 {
			slot, ok := a.Try("translate", roomy)
			if !ok {
				t.Fatal("the slot that was to be brought back is lost")
			}
			slots = append(slots, slot)
		}
		time.Sleep(2 * time.Second) // the submission has come
		notYet(t, r.started)
		slots[0].Release()
		time.Sleep(time.Second)
		now(t, r.started)
		slots[1].Release()
	})
}

func TestOfAnEarlierRunOfTheSameActivatorNothingIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := newRunner()
		a, _ := w.activator("a", r.join)
		w.offer(replicaWith("r1", 0, 1))
		e := w.submit(a, async("1"))
		old := now(t, r.started)
		r.do <- func(context.Context, *Execution) error { return errors.New("the replica broke") }
		time.Sleep(2 * time.Second)
		now(t, r.started)
		if err := old.Finish(t.Context(), []byte("of the first")); !errors.Is(err, ErrFenced) {
			t.Errorf("the first run stores: %v, want %v", err, ErrFenced)
		}
		r.do <- func(ctx context.Context, e *Execution) error {
			e.Begin(200, nil)
			return e.Finish(ctx, []byte("of the second"))
		}
		time.Sleep(time.Second)
		if got := w.answer(a, e.ID); got != "of the second" {
			t.Errorf("answer = %q", got)
		}
	})
}

func TestALateStatementOfOneThatWasBuriedAndAsksAgainIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := &faults{}
		a, _ := w.activator("a", func(c *Config) { c.Redis.AddHook(f) })
		w.offer(replicaWith("r1", 0, 1))
		now(t, hold(t.Context(), a, "t1", roomy)).slot.Release()
		time.Sleep(2 * time.Second)
		f.set(func(f *faults) { f.cut = true })
		w.tick(10 * time.Second) // it is buried
		call := func(script *redis.Script, own ...any) any {
			reply, err := run(t.Context(), script, w.ledger.redis, "translate", argsOf("translate", &a.cfg, 0, "a", own...))
			if err != nil {
				t.Fatal(err)
			}
			return reply[0]
		}
		deadline := time.Now().Add(time.Minute).UnixMilli()
		call(holdScript, "t2", deadline, 1, 10, 100, 9, 0, 1000, 0, "", "request_id", "x")
		if got := call(settleScript, 1, 0, 1000, 0, "", 1000, 1500, `{"held":{"r1":[1,0,0]}}`); got != "stale" {
			t.Errorf("its first statement, come late: %v, want stale", got)
		}
	})
}

// TestACallThatHoldsRenewsNoLeaseThatHasEnded: of one that stood still the idle slots
// have been given to others. Redis has its statement by now, but the answer that says so
// is on its way, and that of a request that is held comes before it.
func TestACallThatHoldsRenewsNoLeaseThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.load()
		f, settling := &faults{}, &troubled{script: settleScript}
		a, _ := w.activator("a", settling.join, func(c *Config) { c.Redis.AddHook(f) })
		b, _ := w.activator("b")
		w.offer(replicaWith("r0", 0, 1))
		now(t, hold(t.Context(), b, "alive", roomy)) // b is heard throughout
		time.Sleep(time.Minute)                      // and wants no leases
		w.offer(replicaWith("r0", 0, 1), replicaWith("r1", 1, 2))
		now(t, hold(t.Context(), a, "t1", roomy)).slot.Release()
		time.Sleep(2300 * time.Millisecond) // a keeps the slot that it had, and no statement is under way
		stopped := make(chan struct{})
		f.set(func(f *faults) { f.paused = stopped })
		w.tick(7 * time.Second)
		now(t, hold(t.Context(), b, "t2", roomy))
		if _, ok := b.Try("translate", roomy); !ok {
			t.Fatal("b has not got both")
		}
		settling.answerAfter(time.Second)
		s := a.known("translate")
		s.mu.Lock()
		s.outage = time.Time{} // its goroutines went on asking its peers; a process that stands still does not
		s.mu.Unlock()
		close(stopped)
		f.set(func(f *faults) { f.paused = nil })
		synctest.Wait()
		w.offer(replicaWith("r0", 0, 1), replicaWith("r1", 1, 2), replicaWith("r2", 2, 1))
		if got := now(t, hold(t.Context(), a, "t4", roomy)); got.slot.Replica != "r2" {
			t.Fatalf("slot of %s", got.slot.Replica)
		}
		if slot, ok := a.Try("translate", roomy); ok {
			t.Errorf("a slot of %s is used that another has", slot.Replica)
		}
	})
}
