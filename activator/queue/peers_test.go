package queue

import (
	"context"
	"maps"
	"testing"
	"testing/synctest"
	"time"
)

// cutOff is an activator whose way to Redis can be cut.
func (w *world) cutOff(n *network, name string, also ...func(*Config)) (*Queue, *faults) {
	f := &faults{}
	q, _ := w.activator(name, append(also, n.join, func(c *Config) { c.Redis.AddHook(f) })...)
	n.add(q)
	return q, f
}

func TestOneThatIsCutOffAloneStopsUsingItsSlotsAndItsRequestsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(t), &network{}
		a, cut := w.cutOff(n, "a")
		b, _ := w.cutOff(n, "b")
		w.offer(replicaWith("r1", 0, 3))
		now(t, hold(t.Context(), a, "t0", roomy)).slot.Release()
		w.tick(2 * time.Second)
		cut.set(func(f *faults) { f.cut = true })
		one, ok1 := a.Try("translate", roomy) // Redis hears of neither
		_, ok2 := a.Try("translate", roomy)
		if !ok1 || !ok2 || one.Check() != nil {
			t.Fatal("no slot while the lease lasts")
		}
		w.tick(3 * time.Second)
		if _, ok := a.Try("translate", roomy); ok {
			t.Error("it put a slot to new use though a peer reaches Redis")
		}
		first, second := hold(t.Context(), b, "t1", roomy), hold(t.Context(), b, "t2", roomy)
		w.tick(5 * time.Second)
		now(t, first) // the one that was idle
		notYet(t, second)
		one.Release() // nobody hears of it yet
		waits := hold(t.Context(), a, "t3", roomy)
		w.tick(time.Second)
		notYet(t, waits)
		cut.set(func(f *faults) { f.cut = false })
		w.tick(4 * time.Second)
		now(t, second)
	})
}

func TestAnOutageOfEverybodyKeepsSlotsInUsePastTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(t), &network{}
		a, _ := w.cutOff(n, "a")
		_, _ = w.cutOff(n, "b")
		w.offer(replicaWith("r1", 0, 1))
		now(t, hold(t.Context(), a, "t0", roomy)).slot.Release()
		w.tick(2 * time.Second)
		w.redis.SetError("LOADING")
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			slot, ok := a.Try("translate", roomy)
			if !ok || slot.Check() != nil {
				t.Fatal("warm traffic has stopped in an outage of everybody")
			}
			slot.Release()
		}
	})
}

func TestALostPeerDoesNotMakeAnOutageOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(t), &network{delay: 2 * time.Second} // peers take longer than they may
		a, cut := w.cutOff(n, "a")
		_, _ = w.cutOff(n, "b")
		w.offer(replicaWith("r1", 0, 1))
		now(t, hold(t.Context(), a, "t0", roomy)).slot.Release()
		w.tick(2 * time.Second)
		cut.set(func(f *faults) { f.cut = true })
		w.tick(20 * time.Second)
		// No peer that can be reached has Redis: it goes on (doc.go: what cannot be
		// excluded).
		if _, ok := a.Try("translate", roomy); !ok {
			t.Error("warm traffic has stopped though nobody that can be reached has Redis")
		}
	})
}

func TestAProcessThatStoodStillInAnOutageAsksAgainBeforeItGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(t), &network{}
		a, _ := w.cutOff(n, "a")
		w.offer(replicaWith("r1", 0, 1))
		now(t, hold(t.Context(), a, "t0", roomy)).slot.Release()
		w.tick(2 * time.Second)
		w.redis.SetError("LOADING")
		time.Sleep(10 * time.Second)
		s := a.known("translate")
		s.mu.Lock()
		s.renewed, s.outage = s.renewed.Add(-30*time.Second), s.outage.Add(-30*time.Second)
		s.mu.Unlock()
		for range 50 {
			if _, ok := a.Try("translate", roomy); ok {
				t.Fatal("it went on with slots that may have been others' meanwhile")
			}
			time.Sleep(100 * time.Millisecond)
		}
		w.redis.SetError("")
		time.Sleep(6 * time.Second)
		if _, ok := a.Try("translate", roomy); !ok {
			t.Error("Redis is back, and nobody else has the slot")
		}
	})
}

// TestOneThatGetsItsFirstSlotOverASlowWayIsNotTakenForCutOff: between the answer that
// brings the slot and that to its first statement, the ledger has renewed no lease of it.
func TestOneThatGetsItsFirstSlotOverASlowWayIsNotTakenForCutOff(t *testing.T) {
	for name, get := range map[string]func(w *world, a *Queue){
		"by a hold": func(w *world, a *Queue) {
			_, _, _ = a.Hold(w.t.Context(), ticket("t1"), roomy)
		},
		"by a submission": func(w *world, a *Queue) {
			_, _ = a.Submit(w.t.Context(), keyed("1", "k"), roomy)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, n := newWorld(t), &network{}
				w.load()
				settling := &troubled{script: settleScript}
				a, _ := w.cutOff(n, "a", newRunner().join, settling.join)
				_, _ = w.cutOff(n, "b")
				time.Sleep(3100 * time.Millisecond) // they know of each other; the next look at who is out of touch is at 3.25 s
				w.offer(replicaWith("r1", 0, 1))
				settling.set(0, 300*time.Millisecond)
				go get(w, a)
				for range 60 {
					time.Sleep(50 * time.Millisecond)
					s := a.known("translate")
					s.mu.Lock()
					if s.frozen {
						t.Errorf("frozen; its own are %+v", s.replicas[0])
					}
					s.mu.Unlock()
					if n := w.demand().SlotsOut["r1"]; n > 1 {
						t.Errorf("%d slots of one are out", n)
					}
				}
			})
		})
	}
}

func knownTo(q *Queue) map[string]string {
	q.peers.mu.Lock()
	defer q.peers.mu.Unlock()
	return q.peers.known
}

func TestTheListOfActivatorsForgetsThoseThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(t), &network{}
		a, _ := w.cutOff(n, "a")
		b, _ := w.cutOff(n, "b")
		time.Sleep(2 * time.Second)
		if !maps.Equal(knownTo(a), map[string]string{"b": "b"}) || !maps.Equal(knownTo(b), map[string]string{"a": "a"}) {
			t.Fatalf("a knows %v, b knows %v", knownTo(a), knownTo(b))
		}
		w.kill(a)
		n.kill("a")
		time.Sleep(10 * time.Second)
		if known := knownTo(b); len(known) != 0 {
			t.Errorf("b knows %v", known)
		}
		if view := b.Meet(context.Background(), View{Activator: "x"}); view.Activator != "b" {
			t.Errorf("view = %+v", view)
		}
	})
}
