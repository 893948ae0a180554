package queue

import (
	"testing"
	"testing/synctest"
	"time"
)

// lasting are limits of a service whose request.timeout is that.
func lasting(timeout time.Duration) Limits {
	return Limits{Requests: 1000, Bytes: 1 << 20, Timeout: timeout}
}

// TestOneThatDiesWithAGrantOfWhichItHasReadNothingIsQuarantinedForThatRequestsTimeout:
// who accepted the request knew its timeout; who got it had never heard of one.
func TestOneThatDiesWithAGrantOfWhichItHasReadNothingIsQuarantinedForThatRequestsTimeout(t *testing.T) {
	for name, acknowledged := range map[string]bool{"acknowledged": true, "not acknowledged": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.load()
				front, leave := w.activator("front", newRunner().join)
				e, err := front.Submit(t.Context(), async("1"), lasting(20*time.Second))
				if err != nil {
					t.Fatal(err)
				}
				leave()
				r, reading, settling := newRunner(), &troubled{script: runScript}, &troubled{script: settleScript}
				a, _ := w.activator("a", r.join, reading.join, settling.join)
				time.Sleep(1500 * time.Millisecond) // it looks after the service
				reading.set(1000, 0)
				settling.set(0, 300*time.Millisecond)
				w.offer(replicaWith("r1", 0, 1))
				time.Sleep(400 * time.Millisecond) // it has the grant
				if acknowledged {
					time.Sleep(time.Second)
				}
				if got := w.find(a, e.ID); got.State != StateGranted {
					t.Fatalf("entry = %+v, want it granted", got)
				}
				if n, _ := w.redis.HKeys(keysOf("translate")[2]); len(n) == 0 != acknowledged {
					t.Fatalf("grants = %v", n)
				}
				w.kill(a)
				b, _ := w.activator("b", answering)
				ch := hold(t.Context(), b, "t1", lasting(20*time.Second))
				w.tick(20 * time.Second) // it is dead since 4.5 s after its last word
				notYet(t, ch)
				w.tick(6 * time.Second)
				if got := now(t, ch); got.err != nil {
					t.Fatal(got.err)
				}
			})
		})
	}
}

// killed is a slot in use of an activator that has been told of two timeouts, one
// after the other, and is killed; it returns for how long the slot is quarantined.
func killed(t *testing.T, use func(w *world, a *Queue)) (quarantined time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a")
		w.offer(replicaWith("r1", 0, 2))
		use(w, a)
		time.Sleep(100 * time.Millisecond) // it has told
		w.kill(a)
		for w.demand().SlotsOut["r1"] > 0 {
			if w.tick(250 * time.Millisecond); w.demand().Quarantined["r1"] > 0 {
				quarantined += 250 * time.Millisecond
			}
		}
	})
	return quarantined
}

func TestAWarmRequestOfALongerTimeoutIsQuarantinedForThat(t *testing.T) {
	got := killed(t, func(w *world, a *Queue) {
		now(w.t, hold(w.t.Context(), a, "t1", lasting(10*time.Second)))
		slot := now(w.t, hold(w.t.Context(), a, "t2", lasting(10*time.Second))).slot
		// Between two statements, and so that no more are in use than it has told.
		w.tick(2300 * time.Millisecond)
		slot.Release()
		if _, ok := a.Try("translate", lasting(time.Minute)); !ok { // the policy has changed
			w.t.Error("no slot is leased")
		}
	})
	if got < 59*time.Second || got > 61*time.Second {
		t.Errorf("quarantined for %s, want a minute", got)
	}
}

func TestARequestThatBeganUnderALongerTimeoutIsQuarantinedForTheRestOfIt(t *testing.T) {
	got := killed(t, func(w *world, a *Queue) {
		now(w.t, hold(w.t.Context(), a, "t1", lasting(time.Minute)))
		w.tick(2 * time.Second)
		if slot, ok := a.Try("translate", lasting(10*time.Second)); ok { // the policy has changed
			slot.Release()
		}
		w.tick(30 * time.Second)
	})
	if got < 30*time.Second || got > 37*time.Second {
		t.Errorf("quarantined for %s, want what is left of a minute that began 36 s before", got)
	}
}

func TestOnceWhatBeganUnderALongerTimeoutIsOverTheShorterOneCounts(t *testing.T) {
	got := killed(t, func(w *world, a *Queue) {
		now(w.t, hold(w.t.Context(), a, "t1", lasting(time.Minute))).slot.Release()
		w.tick(2 * time.Second)
		if slot, ok := a.Try("translate", lasting(10*time.Second)); ok { // the policy has changed
			slot.Release()
		}
		w.tick(time.Minute)
		a.Try("translate", lasting(10*time.Second))
	})
	if got < 9*time.Second || got > 11*time.Second {
		t.Errorf("quarantined for %s, want 10 s", got)
	}
}

// TestOneThatIsBackFromAnOutageOfEverybodySpeaksForTheOthers: all were silent for long,
// and were buried; the others may go on with what they had. That must be known for
// longer than their requests may take.
func TestOneThatIsBackFromAnOutageOfEverybodySpeaksForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(t), &network{}
		a, cutA := w.cutOff(n, "a")
		b, cutB := w.cutOff(n, "b")
		short := lasting(time.Second)
		w.offer(replicaWith("r1", 0, 2))
		one := now(t, hold(t.Context(), a, "t1", short)).slot
		two := now(t, hold(t.Context(), b, "t2", short)).slot
		w.tick(3 * time.Second)
		cutA.set(func(f *faults) { f.cut = true })
		cutB.set(func(f *faults) { f.cut = true })
		one.Release()
		two.Release()
		w.tick(20 * time.Second) // the scaler reaches Redis
		if _, ok := b.Try("translate", short); !ok {
			t.Fatal("b does not go on")
		}
		n.set(&n.cut, "b", true) // it does not hear either that a reaches Redis again
		cutA.set(func(f *faults) { f.cut = false })
		w.tick(3 * time.Second)
		if _, ok := a.Try("translate", short); !ok {
			t.Error("a does not go on")
		}
		if _, ok := a.Try("translate", short); ok {
			t.Error("a has been given the slot that b has in use")
		}
	})
}

func TestOneThatWaitedWhileTheTimeoutWasShortenedIsQuarantinedForItsOwn(t *testing.T) {
	for name, acknowledged := range map[string]bool{"acknowledged": true, "not acknowledged": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, settling := newWorld(t), &troubled{script: settleScript}
				w.load()
				a, _ := w.activator("a", settling.join)
				w.offer(replicaWith("r1", 0, 1))
				one := now(t, hold(t.Context(), a, "t1", lasting(time.Minute))).slot
				two := hold(t.Context(), a, "t2", lasting(time.Minute))
				synctest.Wait()
				three := hold(t.Context(), a, "t3", lasting(10*time.Second)) // the policy has changed
				w.tick(55 * time.Second)
				settling.set(0, 300*time.Millisecond)
				one.Release()
				time.Sleep(400 * time.Millisecond)
				now(t, two)
				if acknowledged {
					time.Sleep(400 * time.Millisecond)
				}
				if n, _ := w.redis.HKeys(keysOf("translate")[2]); len(n) == 0 != acknowledged {
					t.Fatalf("grants = %v", n)
				}
				w.kill(a)
				b, _ := w.activator("b")
				ch := hold(t.Context(), b, "t4", lasting(10*time.Second))
				w.tick(55 * time.Second)
				notYet(t, ch)
				notYet(t, three)
				w.tick(15 * time.Second)
				now(t, ch)
			})
		})
	}
}
