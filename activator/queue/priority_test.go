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
// is the first of the most urgent that wait, or the first of the least urgent; and
// among ten that get it while several priorities wait, at least one is of those.
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
			var waiting []int // in the order of their numbers
			since := 0        // slots since the least urgent had one, while several priorities waited
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
					least, most := of(waiting[0]), of(waiting[0])
					for _, n := range waiting {
						least, most = min(least, of(n)), max(most, of(n))
					}
					firstOf := func(priority int) int {
						return waiting[slices.IndexFunc(waiting, func(n int) bool { return of(n) == priority })]
					}
					if r.n != firstOf(most) && r.n != firstOf(least) {
						fail("request %d of priority %d has the slot while %v wait", r.n, of(r.n), waiting)
					}
					switch {
					case least == most:
						since = 0
					case of(r.n) == least:
						if since != 9 {
							fail("the least urgent have the slot after %d others, want 9", since)
						}
						since = 0
					default:
						if since++; since > 9 {
							fail("the least urgent wait for the %dth slot", since+1)
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
