package queue

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// troubled is a client of Redis of which the calls of one script fail, or take long.
type troubled struct {
	script *redis.Script

	mu    sync.Mutex
	fails int           // so many fail
	slow  time.Duration // and the others arrive so late
	back  time.Duration // and their answers
}

func (t *troubled) set(fails int, slow time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fails, t.slow = fails, slow
}

func (t *troubled) answerAfter(back time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.back = back
}

func (t *troubled) join(c *Config) { c.Redis.AddHook(t) }

func (t *troubled) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (t *troubled) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (t *troubled) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "evalsha" || cmd.Args()[1] != t.script.Hash() {
			return next(ctx, cmd)
		}
		t.mu.Lock()
		fails, slow, back := t.fails > 0, t.slow, t.back
		if fails {
			t.fails--
		}
		t.mu.Unlock()
		if fails {
			cmd.SetErr(errCut)
			return errCut
		}
		time.Sleep(slow)
		err := next(ctx, cmd)
		time.Sleep(back)
		return err
	}
}

func TestARunThatBreaksBeforeItsGrantIsAcknowledgedGivesItsSlotBackWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.load()
		r, settling := newRunner(), &troubled{script: settleScript}
		a, _ := w.activator("a", r.join, settling.join)
		w.offer(replicaWith("r1", 0, 1))
		now(t, hold(t.Context(), a, "t1", roomy)).slot.Release()
		time.Sleep(2300 * time.Millisecond) // its slot is leased, and no statement is under way
		settling.set(1000, 0)
		w.submit(a, async("1"))
		now(t, r.started)
		r.do <- func(context.Context, *Execution) error { return errors.New("the replica broke") }
		synctest.Wait()
		if slot, ok := a.Try("translate", roomy); ok {
			t.Errorf("a slot of %s is used that Redis takes for free", slot.Replica)
		}
		settling.set(0, 0)
		time.Sleep(5 * time.Second)
		if e := now(t, r.started); e.Attempt != 2 {
			t.Errorf("attempt %d, want the second", e.Attempt)
		}
		if _, ok := a.Try("translate", roomy); ok {
			t.Error("the slot is used twice")
		}
		r.do <- func(ctx context.Context, e *Execution) error { return e.Finish(ctx, nil) }
	})
}

func TestALateAcknowledgementLeavesTheNextGrantOfItsTicketAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.load()
		r, settling := newRunner(), &troubled{script: settleScript}
		a, _ := w.activator("a", r.join, settling.join)
		w.offer(replicaWith("r1", 0, 1))
		now(t, hold(t.Context(), a, "t1", roomy)).slot.Release()
		time.Sleep(2300 * time.Millisecond) // its slot is leased, and no statement is under way
		settling.set(0, 300*time.Millisecond)
		w.submit(a, async("1")) // and the statement with its acknowledgement is on its way
		now(t, r.started)
		r.do <- func(context.Context, *Execution) error { return errors.New("the replica broke") }
		synctest.Wait()
		w.demand() // gives the slot to the ticket once more
		time.Sleep(2 * time.Second)
		if e := now(t, r.started); e.Attempt != 2 {
			t.Errorf("attempt %d, want the second", e.Attempt)
		}
		r.do <- func(ctx context.Context, e *Execution) error { return e.Finish(ctx, nil) }
	})
}

func TestATicketThatIsHeldAgainAtOnceDoesNotGetItsOldGrantASecondTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.load()
		settling := &troubled{script: settleScript}
		a, _ := w.activator("a", settling.join)
		w.offer(replicaWith("r1", 0, 1))
		settling.set(0, 300*time.Millisecond)
		tk, again := ticket("t1"), make(chan *Slot, 1)
		slot, _, err := a.Hold(t.Context(), tk, roomy)
		if err != nil {
			t.Fatal(err)
		}
		slot.Release() // its replica refused the connection
		go func() {
			slot, _, err := a.Hold(t.Context(), tk, roomy)
			if err != nil {
				t.Error(err)
			}
			again <- slot
		}()
		time.Sleep(100 * time.Millisecond) // the acknowledgement is still on its way
		notYet(t, again)
		time.Sleep(2 * time.Second)
		slot = now(t, again)
		if slot, ok := a.Try("translate", roomy); ok {
			t.Errorf("the one slot of %s is used twice", slot.Replica)
		}
		slot.Release()
	})
}

func TestAfterACallThatFailedTheOthersAreAskedForAsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.load()
		holding := &troubled{script: holdScript}
		a, _ := w.activator("a", holding.join)
		var all []<-chan held
		for _, id := range []string{"t1", "t2", "t3"} {
			all = append(all, hold(t.Context(), a, id, roomy))
		}
		holding.set(1, 0)
		w.redis.FlushAll() // all three are to be asked for again, and the first call fails
		w.serverIs(1, "")
		w.load()
		w.tick(2 * time.Second)
		w.offer(replicaWith("r1", 0, 3))
		w.tick(10 * time.Second)
		for _, ch := range all {
			if h := now(t, ch); h.err != nil {
				t.Errorf("%s: %v", h.id, h.err)
			}
		}
	})
}

func TestATicketThatALateCallBringsBackIsAskedForAtItsOldPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.load()
		f := &faults{server: func() int64 { return 0 }, arrive: func(args []any) { _ = w.ledger.redis.Do(context.Background(), args...).Err() }}
		a, _ := w.activator("a", func(c *Config) { c.Redis.AddHook(f) })
		b, _ := w.activator("b")
		f.set(func(f *faults) { f.late = 8 * time.Second })
		first := hold(t.Context(), a, "t1", roomy) // asked for again at once
		time.Sleep(time.Second)
		second := hold(t.Context(), b, "t2", roomy)
		f.set(func(f *faults) { f.cut = true })
		w.tick(8 * time.Second) // a is buried, and the first call arrives
		f.set(func(f *faults) { f.cut = false })
		w.tick(4 * time.Second)
		w.offer(replicaWith("r1", 0, 1))
		w.tick(time.Second)
		now(t, first).slot.Release()
		w.tick(2 * time.Second)
		now(t, second).slot.Release()
	})
}

// TestWhatIsLeasedAtAReplicaThatDrainsIsItsHoldersUntilThatGivesItBack: the ledger must
// not take it by itself, since the answer that says so may be lost; and a replica that
// drains may be taken back.
func TestWhatIsLeasedAtAReplicaThatDrainsIsItsHoldersUntilThatGivesItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.load()
		f := &faults{}
		a, _ := w.activator("a", func(c *Config) { c.Redis.AddHook(f) })
		b, _ := w.activator("b")
		w.offer(replicaWith("r1", 0, 2))
		now(t, hold(t.Context(), a, "t1", roomy)).slot.Release()
		time.Sleep(2300 * time.Millisecond) // both slots are leased
		f.set(func(f *faults) { f.lost = 1000 })
		w.offer(replicaWith("r1", 0, 0))
		w.offer(replicaWith("r1", 0, 2))
		var out []<-chan held
		for _, id := range []string{"t2", "t3"} {
			out = append(out, hold(t.Context(), b, id, roomy))
		}
		if slot, ok := a.Try("translate", roomy); ok {
			for _, ch := range out {
				notYet(t, ch)
			}
			slot.Release()
		}
		f.set(func(f *faults) { f.lost = 0 })
		w.tick(2 * time.Second)
		for _, ch := range out {
			now(t, ch)
		}
	})
}

func TestATicketThatOnlyALostLedgerHasTakenIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.load()
		holding := &troubled{script: holdScript}
		a, _ := w.activator("a", holding.join)
		w.offer(replicaWith("r1", 0, 1))
		now(t, hold(t.Context(), a, "t1", roomy))
		time.Sleep(100 * time.Millisecond)
		holding.answerAfter(1500 * time.Millisecond)
		ch := hold(t.Context(), a, "t2", roomy) // Redis has it; the answer is on its way
		w.redis.FlushAll()
		w.serverIs(1, "")
		w.load()
		time.Sleep(1400 * time.Millisecond) // a has stated what it holds, and heard that it is forgotten
		holding.answerAfter(0)
		w.tick(10 * time.Second)
		w.offer(replicaWith("r1", 0, 2))
		w.tick(time.Second)
		if h := now(t, ch); h.err != nil {
			t.Error(h.err)
		}
	})
}
