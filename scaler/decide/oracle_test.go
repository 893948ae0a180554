package decide

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pilotlight/pilotlight/jobs"
)

// oracle is the chatglm rule as its operators would write it down: samples
// every 10 s, looked at every 30 s; up by one if any mean over six samples is
// above its mark, down by one if all means over twelve are below theirs. A
// signal without data moves nothing.
type oracle struct {
	samples []oracleSample
	wanted  int
}

type oracleSample struct {
	known     bool // the ledger was read
	demand    float64
	gpu       []*float64 // of the ready replicas
	completed int        // in the 10 s before
	seconds   float64    // of them together
}

func (o *oracle) sample(s oracleSample) { o.samples = append(o.samples, s) }

func (o *oracle) decide() int {
	newest := o.samples[len(o.samples)-1]
	if !newest.known {
		return o.wanted
	}
	switch {
	case o.any():
		o.wanted = min(o.wanted+1, 6)
	case o.all(newest):
		o.wanted = max(o.wanted-1, 2)
	}
	return o.wanted
}

func (o *oracle) any() bool {
	last := o.samples[max(0, len(o.samples)-6):]
	var demand, gpu, seconds float64
	var demands, gpus, completed, busy int
	for _, s := range last {
		if s.completed > 0 {
			completed += s.completed
			seconds += s.seconds
			busy++
		}
		if !s.known {
			continue
		}
		demand += s.demand
		demands++
		var sum float64
		n := 0
		for _, g := range s.gpu {
			if g != nil {
				sum += *g
				n++
			}
		}
		if n > 0 {
			gpu += sum / float64(n)
			gpus++
		}
	}
	return busy >= 3 && seconds/float64(completed) > 5 ||
		gpus >= 3 && gpu/float64(gpus) > 85 ||
		demands >= 3 && demand/float64(demands) > 50
}

func (o *oracle) all(newest oracleSample) bool {
	if len(o.samples) < 12 {
		return false
	}
	var demand, gpu, seconds float64
	completed := 0
	for _, s := range o.samples[len(o.samples)-12:] {
		if !s.known || len(s.gpu) == 0 {
			return false
		}
		top := 0.0
		for _, g := range s.gpu {
			if g == nil {
				return false
			}
			top = max(top, *g)
		}
		gpu += top
		demand += s.demand
		completed += s.completed
		seconds += s.seconds
	}
	if completed == 0 && demand > 0 { // asked for, but nothing known of latency
		return false
	}
	return (completed == 0 || seconds/float64(completed) < 2) && gpu/12 < 40 && demand/12 < 20
}

// regime is what a service lives through for some samples.
type regime struct {
	samples   int
	demand    int // per replica
	gpu       float64
	latency   time.Duration
	completed int // per second
	known     bool
	gpuKnown  bool
}

func drawRegime(t *rapid.T) regime {
	return regime{
		samples:   rapid.IntRange(1, 16).Draw(t, "samples"),
		demand:    rapid.SampledFrom([]int{0, 1, 10, 19, 21, 40, 51, 80}).Draw(t, "demand"),
		gpu:       rapid.SampledFrom([]float64{0, 10, 39, 41, 60, 86, 100}).Draw(t, "gpu"),
		latency:   rapid.SampledFrom([]time.Duration{time.Second, 1900 * time.Millisecond, 3 * time.Second, 6 * time.Second, 20 * time.Second}).Draw(t, "latency"),
		completed: rapid.SampledFrom([]int{0, 1, 7}).Draw(t, "completed"),
		known:     rapid.IntRange(0, 9).Draw(t, "known") > 0,
		gpuKnown:  rapid.IntRange(0, 5).Draw(t, "gpu known") > 0,
	}
}

func TestChatGLMFollowsItsRuleOverRandomHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, chatglm())
		o := oracle{wanted: 2}
		w.replica("r0", jobs.Ready)
		w.replica("r1", jobs.Ready)
		lag := rapid.IntRange(0, 4).Draw(t, "samples until a launch is ready")
		due := 0
		for range rapid.IntRange(2, 8).Draw(t, "regimes") {
			r := drawRegime(t)
			for range r.samples {
				// The fleet follows, late when it goes up.
				switch n := len(w.snap.Replicas); {
				case n > o.wanted:
					w.replica(fmt.Sprint("r", n-1), jobs.Gone)
				case n < o.wanted:
					if due++; due > lag {
						w.replica(fmt.Sprint("r", n), jobs.Ready)
						due = 0
					}
				}
				s := oracleSample{known: r.known, demand: float64(r.demand)}
				w.snap.Known = r.known
				w.snap.InFlight = r.demand * len(w.snap.Replicas)
				for i := range w.snap.Replicas {
					var g *float64
					if r.gpuKnown || i > 0 {
						g = some(max(0, r.gpu-float64(i)))
					}
					s.gpu = append(s.gpu, g)
					w.gpu(w.snap.Replicas[i].ID, g)
				}
				w.served.latency, w.served.times = r.latency, r.completed
				if w.now.Equal(epoch) && len(o.samples) == 0 {
					s.completed = 0
				} else {
					for range 10 {
						w.now = w.now.Add(time.Second)
						w.served.complete(t, w.now)
					}
					s.completed, s.seconds = 10*r.completed, float64(10*r.completed)*r.latency.Seconds()
				}
				if !r.known { // what activators publish cannot be read either
					s.completed, s.seconds = 0, 0
					w.served.buckets = map[time.Time]*latencySum{}
				}
				o.sample(s)
				got := w.lookPublishing(10 * time.Second)
				want := o.wanted
				if w.now.Sub(epoch)%(30*time.Second) == 0 {
					want = o.decide()
				}
				if got.To != want {
					t.Fatalf("%s: %d→%d (%s), the rule says %d", w.now.Sub(epoch), got.From, got.To, got.Reason, want)
				}
			}
		}
	})
}

// lookPublishing looks once after a time in which several publications of an
// activator were read.
func (w *world) lookPublishing(d time.Duration) Decision {
	if w.snap.InFlight+w.snap.Held > 0 {
		w.snap.LastDemand = w.now
	}
	w.snap.Latency = nil
	for at := w.now.Add(-d); !at.After(w.now); at = at.Add(jobs.LatencyBucketSpan) {
		w.snap.Latency = append(w.snap.Latency, w.served.items(at)...)
	}
	dec, mem := Decide(w.now, w.p, 1, w.snap, w.mem)
	if err := lawful(w.p, w.snap, w.mem, dec); err != nil {
		w.t.Errorf("%s: %v", w.now.Sub(epoch), err)
	}
	w.mem = mem
	w.last = dec
	return dec
}

func encodedMemory(t interface{ Fatal(...any) }, m Memory) string {
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
