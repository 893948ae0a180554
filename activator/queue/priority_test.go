package queue

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// arrival is a request of the priority model: after a pause, at one of two activators.
type arrival struct {
	Priority, At int
	Pause, Work  time.Duration
}

var genArrival = rapid.Custom(func(t *rapid.T) arrival {
	return arrival{
		Priority: rapid.SampledFrom([]int{0, 0, 1, 5, 9, 9, 9, 9, 9}).Draw(t, "priority"),
		At:       rapid.IntRange(0, 1).Draw(t, "at"),
		Pause:    time.Duration(rapid.SampledFrom([]int{0, 0, 0, 0, 1, 5}).Draw(t, "pause ms")) * time.Millisecond,
		Work:     time.Duration(rapid.IntRange(1, 4).Draw(t, "work ms")) * time.Millisecond,
	}
})

// TestPrioritiesAreKeptByTheModel: over one slot and two activators, whoever gets it
// is the first of its priority; of the most urgent that wait, unless another priority
// has been passed over nine times; and none is passed over more often than that, but
// for once by each of those below it.
func TestPrioritiesAreKeptByTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		arrivals := rapid.SliceOfN(genArrival, 15, 24).Draw(rt, "arrivals")
		first := rapid.IntRange(0, 30).Draw(rt, "before the first slot")
		var wrong []string
		fail := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			a, _ := w.activator("a")
			b, _ := w.activator("b")
			type release struct {
				n    int // of the arrival
				slot *Slot
			}
			released := make(chan release, len(arrivals))
			var waiting []int       // in the order of their numbers
			passed := map[int]int{} // priority → slots that others had since it waits, or had one
			var busy *Slot
			var until time.Time
			take := func() {
				if busy != nil && !time.Now().Before(until) {
					busy.Release()
					busy = nil
				}
				synctest.Wait()
				for len(released) > 0 {
					r := <-released
					if busy != nil {
						fail("request %d has the slot that another has", r.n)
					}
					busy, until = r.slot, time.Now().Add(arrivals[r.n].Work)
					of := func(n int) int { return arrivals[n].Priority }
					had, most, waits := of(r.n), 0, map[int]bool{}
					for _, n := range waiting {
						most, waits[of(n)] = max(most, of(n)), true
						if of(n) == had && n < r.n {
							fail("request %d has the slot while %d waits, of the same priority", r.n, n)
						}
					}
					if had != most && passed[had] < 9 {
						fail("priority %d has the slot before %d, after it was passed over %d times", had, most, passed[had])
					}
					for priority := range 10 {
						switch {
						case priority == had || !waits[priority]:
							delete(passed, priority)
						default:
							passed[priority]++
						}
						if below := slices.Index([]int{0, 1, 5, 9}, priority); passed[priority] > 9+below {
							fail("priority %d is passed over %d times", priority, passed[priority])
						}
					}
					waiting = slices.DeleteFunc(waiting, func(n int) bool { return n == r.n })
				}
			}
			pass := func(d time.Duration) {
				for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Millisecond) {
					take()
				}
				take()
			}
			for n, of := range arrivals {
				if n == first {
					w.offer(replicaWith("r1", 0, 1))
					take()
				}
				tk := ticket(fmt.Sprintf("t%02d", n))
				tk.Priority = of.Priority
				q := []*Queue{a, b}[of.At]
				waiting = append(waiting, n)
				go func() {
					slot, _, err := q.Hold(t.Context(), tk, roomy)
					if err != nil {
						t.Error(err)
						return
					}
					released <- release{n, slot}
				}()
				take()
				pass(of.Pause)
			}
			w.offer(replicaWith("r1", 0, 1))
			for range 50 {
				if pass(100 * time.Millisecond); len(waiting) == 0 && busy == nil {
					return
				}
			}
			fail("%v still wait", waiting)
		})
		if len(wrong) > 0 {
			rt.Fatal(wrong)
		}
	})
}

func TestOfThreePrioritiesThatWaitWithoutEndEachHasAShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		var got []byte
		had := make(chan byte, 1)
		for _, class := range []struct {
			name            byte
			priority, count int
		}{{'l', 0, 5}, {'m', 4, 5}, {'t', 9, 30}} {
			for i := range class.count {
				tk := ticket(fmt.Sprintf("%c%02d", class.name, i))
				tk.Priority = class.priority
				go func() {
					slot, _, err := q.Hold(t.Context(), tk, roomy)
					if err != nil {
						t.Error(err)
						return
					}
					had <- class.name
					slot.Release()
				}()
				synctest.Wait()
			}
		}
		w.offer(replicaWith("r1", 0, 1))
		for range 31 {
			got = append(got, <-had)
		}
		if want := "ttttttttt" + "lmtttttttt" + "lmtttttttt" + "lm"; string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		for range 9 {
			<-had
		}
	})
}
