package queue

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// gate refuses scripts on their way to Redis.
type gate struct {
	mu      sync.Mutex
	refused map[string]bool // by the script's hash
}

func (g *gate) set(fn func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fn()
}

func (g *gate) DialHook(next redis.DialHook) redis.DialHook { return next }

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		hash := ""
		if args := cmd.Args(); len(args) > 1 && cmd.Name() == "evalsha" {
			hash, _ = args[1].(string)
		}
		g.mu.Lock()
		refused := g.refused[hash]
		g.mu.Unlock()
		if refused {
			cmd.SetErr(errCut)
			return errCut
		}
		return next(ctx, cmd)
	}
}

func TestTheCallThatAcceptsADurableRequestBringsItsSlotWithoutASettlement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := newWorld(t), newRunner()
		a := warm(t, w, r)
		g := &gate{refused: map[string]bool{settleScript.Hash(): true}}
		a.cfg.Redis.AddHook(g)
		if e, err := a.Submit(t.Context(), keyed("1", "k"), roomy); err != nil || e.State == StateHeld {
			t.Errorf("entry %+v, %v; want it granted", e, err)
		}
		now(t, r.started)
		g.set(func() { clear(g.refused) })
	})
}

// warm returns an activator that has leased all three slots of a replica.
func warm(t *testing.T, w *world, r *runner) *Queue {
	t.Helper()
	a, _ := w.activator("a", r.join)
	w.offer(replicaWith("r1", 0, 3))
	now(t, hold(t.Context(), a, "t1", roomy)).slot.Release()
	w.tick(2 * time.Second)
	if d := w.demand(); d.SlotsOut["r1"] != 3 {
		t.Fatalf("slots out %v, want all three leased", d.SlotsOut)
	}
	return a
}

func TestADurableRequestOnAWarmServiceGetsItsSlotWithTheCallThatAcceptsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := newWorld(t), newRunner()
		a := warm(t, w, r)
		for i, req := range []*Request{keyed("1", "k"), async("2")} {
			e, err := a.Submit(t.Context(), req, roomy)
			if err != nil || e.State != StateGranted && e.State != StateRunning {
				t.Fatalf("entry %+v, %v; want it granted", e, err)
			}
			now(t, r.started)
			if d := w.demand(); d.SlotsOut["r1"] != 3 || d.Busy["r1"] != i+1 {
				t.Errorf("demand %+v, want all three slots out, %d of them busy", d, i+1)
			}
		}
		// The others stay where they are: the next warm request needs no Redis.
		slot, ok := a.Try("translate", roomy)
		if !ok {
			t.Fatal("the third slot was given back")
		}
		if _, ok := a.Try("translate", roomy); ok {
			t.Error("a fourth slot of three")
		}
		// None is left to give back with this one.
		e, err := a.Submit(t.Context(), keyed("3", "l"), roomy)
		if err != nil || e.State != StateHeld {
			t.Errorf("entry %+v, %v; want it held", e, err)
		}
		synctest.Wait()
		slot.Release()
		now(t, r.started)
	})
}

func TestASlotThatComesWithASubmissionGoesToWhoeverIsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r, lost := newWorld(t), newRunner(), &faults{}
		a := warm(t, w, r)
		a.cfg.Redis.AddHook(lost)
		b, _ := w.activator("b")
		slots := []*Slot{}
		for range 2 {
			slot, ok := a.Try("translate", roomy)
			if !ok {
				t.Fatal("no slot on a warm service")
			}
			slots = append(slots, slot)
		}
		// b waits, and a has not heard of it.
		lost.set(func(f *faults) { f.delay = 20 * time.Millisecond })
		first := make(chan held, 1)
		go func() {
			slot, wait, err := b.Hold(t.Context(), ticket("t2"), roomy)
			first <- held{"t2", slot, wait, err}
		}()
		e, err := a.Submit(t.Context(), keyed("1", "k"), roomy)
		if err != nil {
			t.Fatal(err)
		}
		got := now(t, first)
		if got.err != nil || e.State != StateHeld {
			t.Errorf("%v, and %s for the one that came later, want held", got.err, e.State)
		}
		notYet(t, r.started)
		got.slot.Release()
		time.Sleep(time.Second)
		now(t, r.started)
		for _, s := range slots {
			s.Release()
		}
	})
}

func TestASlotThatComesWithASubmissionWhoseAnswerIsLostIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r, lost := newWorld(t), newRunner(), &faults{}
		a := warm(t, w, r)
		if _, err := a.Submit(t.Context(), keyed("0", "j"), roomy); err != nil { // the service is listed from here on
			t.Fatal(err)
		}
		now(t, r.started)
		synctest.Wait()
		a.cfg.Redis.AddHook(lost)
		lost.set(func(f *faults) { f.lost = 1 })
		if _, err := a.Submit(t.Context(), keyed("1", "k"), roomy); err == nil {
			t.Fatal("accepted, though the answer was lost")
		}
		w.tick(3 * time.Second)
		now(t, r.started) // with the settlement after it
		if d := w.demand(); d.SlotsOut["r1"] != 3 || d.Busy["r1"] != 2 {
			t.Errorf("demand %+v, want all three slots out, two of them busy", d)
		}
		if _, ok := a.Try("translate", roomy); !ok {
			t.Error("the third slot is gone")
		}
		if _, ok := a.Try("translate", roomy); ok {
			t.Error("a fourth slot of three")
		}
	})
}

func TestASlotThatIsOnItsWayBackIsNotUsedAndReturnsIfItNeverArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := warm(t, w, newRunner())
		s := a.known("translate")
		if given := s.giveBack(); given[0] != "r1" {
			t.Fatalf("gave %v back", given)
		}
		for i := range 3 {
			slot, ok := a.Try("translate", roomy)
			if ok != (i < 2) {
				t.Fatalf("slot %d of the two that are left: %v", i, ok)
			}
			if ok {
				defer slot.Release()
			}
		}
		w.tick(2 * time.Second) // its submission is lost on the way there
		if slot, ok := a.Try("translate", roomy); !ok {
			t.Error("the slot is lost")
		} else {
			slot.Release()
		}
		s.mu.Lock()
		s.stating = true
		s.mu.Unlock()
		if given := s.giveBack(); given[0] != "" {
			t.Errorf("gave %v back while a statement is under way", given)
		}
		s.mu.Lock()
		s.stating = false
		s.mu.Unlock()
	})
}
