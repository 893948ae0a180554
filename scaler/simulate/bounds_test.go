package simulate

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fleet of whole seconds: replicas that are ready, and how long each other one
// still starts.
type fleet struct {
	ready  int
	starts []int
}

// leastOf tries every way to launch and stop, second by second, that has need[t]
// replicas ready throughout second t, and returns what the cheapest costs. It may
// begin before the trace does, and has at most that many replicas.
func leastOf(need []int, start, most int) int {
	type way struct {
		fleet
		cost int
	}
	ways := map[string]way{"": {}}
	for t := -start; t < len(need); t++ {
		next := map[string]way{}
		for _, w := range ways {
			for ready := 0; ready <= w.ready; ready++ { // the others are stopped
				if t >= 0 && ready < need[t] {
					continue
				}
				for launched := 0; launched+ready+len(w.starts) <= most; launched++ {
					starts := append(slices.Clone(w.starts), slices.Repeat([]int{start}, launched)...)
					n := way{fleet{ready: ready}, w.cost + ready + len(starts)}
					for _, rest := range starts {
						if rest == 1 {
							n.ready++
						} else {
							n.starts = append(n.starts, rest-1)
						}
					}
					slices.Sort(n.starts)
					key := fmt.Sprint(n.fleet)
					if o, met := next[key]; !met || n.cost < o.cost {
						next[key] = n
					}
				}
			}
		}
		ways = next
	}
	least := math.MaxInt
	for _, w := range ways {
		least = min(least, w.cost)
	}
	return least
}

func TestTheClairvoyantNeedsWhatTryingEverythingFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const span, longest = 9, 4
		slots, start := rapid.IntRange(1, 3).Draw(t, "slots"), rapid.IntRange(1, 4).Draw(t, "start")
		need := make([]int, span+longest)
		var requests []Request
		for _, at := range rapid.SliceOfN(rapid.IntRange(0, span-1), 1, 4).Draw(t, "at") {
			seconds := rapid.IntRange(1, longest).Draw(t, "seconds")
			requests = append(requests, Request{At: time.Duration(at) * time.Second, Seconds: float64(seconds)})
			for s := at; s < at+seconds; s++ {
				need[s]++
			}
		}
		slices.SortStableFunc(requests, func(a, b Request) int { return int(a.At - b.At) })
		for s := range need {
			need[s] = (need[s] + slots - 1) / slots
		}
		b := bounds{slots: slots, gpus: 1, start: float64(start)}
		for _, r := range requests {
			b.arrive(r.At, r.Seconds)
		}
		b.end(0)
		if want := float64(leastOf(need, start, 4)); math.Abs(b.zeroWait()-want) > 1e-6 {
			t.Fatalf("OPT0 is %v, and the cheapest of all ways costs %v", b.zeroWait(), want)
		}
	})
}
