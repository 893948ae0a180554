package queue

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPrioritiesGoFirstAndTheLowestGetsEveryTenthSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		order := make(chan string, 100)
		for i := range 40 {
			tk := ticket(fmt.Sprintf("t%02d", i))
			if i >= 10 {
				tk.Priority = 5
			}
			go func() {
				slot, _, err := q.Hold(t.Context(), tk, roomy)
				if err != nil {
					t.Error(err)
					return
				}
				order <- tk.ID
				time.Sleep(time.Millisecond)
				slot.Release()
			}()
			synctest.Wait()
		}
		w.offer(replicaWith("r1", 0, 1))
		time.Sleep(5 * time.Second)
		var got []string
		for range 40 {
			got = append(got, now(t, order))
		}
		want := []string{}
		high, low := 10, 0
		for len(want) < 40 {
			if (len(want)%10 == 9 || high == 40) && low < 10 {
				want, low = append(want, fmt.Sprintf("t%02d", low)), low+1
				continue
			}
			want, high = append(want, fmt.Sprintf("t%02d", high)), high+1
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWaitsThatCannotBeMetAreAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		short, long := ticket("t1"), ticket("t2")
		short.Deadline = time.Now().Add(20 * time.Second)
		chans := map[*Ticket]chan error{short: make(chan error, 1), long: make(chan error, 1)}
		for tk, ch := range chans {
			go func() { _, _, err := q.Hold(t.Context(), tk, roomy); ch <- err }()
		}
		synctest.Wait()
		vain := errors.New("about 40 s")
		q.FailBefore("translate", time.Now().Add(40*time.Second), vain)
		if err := now(t, chans[short]); !errors.Is(err, vain) {
			t.Errorf("err = %v", err)
		}
		notYet(t, chans[long])
		time.Sleep(time.Second)
		if d := w.demand(); d.Held != 1 {
			t.Errorf("held = %d", d.Held)
		}
	})
}

func TestALeaseCountsFromBeforeTheCallWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := &faults{}
		a, _ := w.activator("a", func(c *Config) { c.Redis.AddHook(f) })
		w.offer(replicaWith("r1", 0, 1))
		now(t, hold(t.Context(), a, "t1", roomy)).slot.Release()
		time.Sleep(time.Second)
		f.set(func(f *faults) { f.delay = time.Second })
		time.Sleep(4 * time.Second)
		s := a.known("translate")
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			s.mu.Lock()
			if age := time.Since(s.renewed); age < 2*time.Second {
				t.Errorf("renewed %s ago by a call that takes 2s", age)
			}
			s.mu.Unlock()
		}
	})
}

func TestAnAnswerThatAStoppedProcessReadsTooLateGivesItNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := &faults{}
		a, _ := w.activator("a", func(c *Config) { c.Redis.AddHook(f) })
		b, _ := w.activator("b")
		short := Limits{Requests: 10, Bytes: 100, Timeout: 20 * time.Second}
		mine := hold(t.Context(), a, "t1", short)
		w.tick(time.Second)
		f.set(func(f *faults) { f.delay = 500 * time.Millisecond })
		w.offer(replicaWith("r1", 0, 1)) // a settles at once, and gets it
		time.Sleep(600 * time.Millisecond)
		stopped := make(chan struct{})
		f.set(func(f *faults) { f.paused = stopped }) // the answer has arrived and is not read
		theirs := hold(t.Context(), b, "t2", short)
		w.tick(40 * time.Second)
		close(stopped)
		got := now(t, theirs)
		f.set(func(f *faults) { f.paused, f.delay = nil, 0 })
		w.tick(2 * time.Second)
		notYet(t, mine)
		got.slot.Release()
		w.tick(time.Second)
		now(t, mine)
	})
}
