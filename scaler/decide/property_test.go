package decide

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// drawPolicy is any policy that may be saved, as far as decisions read it.
func drawPolicy(t *rapid.T) *policies.Policy {
	if rapid.IntRange(0, 3).Draw(t, "chatglm") == 0 {
		return chatglm()
	}
	lo := rapid.IntRange(0, 2).Draw(t, "min")
	p := plain(lo, lo+rapid.IntRange(1, 8).Draw(t, "more"), rapid.SampledFrom([]int{1, 2, 8, 100}).Draw(t, "concurrency"))
	p.Sizing.Mode = rapid.SampledFrom([]string{"auto", "auto", "thresholds"}).Draw(t, "mode")
	p.Sizing.Headroom = rapid.SampledFrom([]float64{0, 0.5, 2}).Draw(t, "headroom")
	p.Sizing.Patience = rapid.SampledFrom([]float64{0.1, 2, 8}).Draw(t, "patience")
	p.Sizing.Every = rapid.SampledFrom([]time.Duration{time.Second, 10 * time.Second}).Draw(t, "every")
	p.ToZero.Mode = rapid.SampledFrom([]string{"auto", "after", "never"}).Draw(t, "to zero")
	p.ToZero.After = rapid.SampledFrom([]time.Duration{5 * time.Second, time.Minute}).Draw(t, "after")
	if rapid.Bool().Draw(t, "target") {
		p.Sizing.TargetUtilization = some(0.7)
	}
	p.ToZero.Prewarm = rapid.Bool().Draw(t, "prewarm")
	if rapid.Bool().Draw(t, "drain within") {
		d := rapid.SampledFrom([]time.Duration{time.Second, time.Minute}).Draw(t, "within")
		p.Sizing.DrainWithin = &d
	}
	if rapid.IntRange(0, 2).Draw(t, "schedule") == 0 {
		p.Schedules = []policies.Schedule{{
			Name: "now and then", Cron: rapid.SampledFrom([]string{"*/10 * * * *", "1 8 * * *"}).Draw(t, "cron"), Zone: "Europe/Berlin",
			For: rapid.SampledFrom([]time.Duration{time.Minute, 10 * time.Minute}).Draw(t, "for"), Min: rapid.IntRange(1, 2).Draw(t, "min"),
		}}
	}
	if rapid.IntRange(0, 2).Draw(t, "metric") == 0 {
		p.Metrics = []policies.Metric{{Name: "waiting", Source: "metrics", Query: "waiting", Up: some(8), Down: some(1)}}
		if rapid.Bool().Draw(t, "only down") {
			p.Metrics[0].Up = nil
		}
	}
	for _, b := range []*policies.Thresholds{&p.ScaleUp, &p.ScaleDown} {
		up := b == &p.ScaleUp
		pick := func(hi, lo float64) *float64 {
			switch {
			case rapid.IntRange(0, 2).Draw(t, "named") > 0:
				return nil
			case up:
				return &hi
			default:
				return &lo
			}
		}
		b.Window = rapid.SampledFrom([]time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute}).Draw(t, "window")
		b.MaxStep = rapid.IntRange(0, 2).Draw(t, "max_step")
		b.CooldownAuto = up && rapid.Bool().Draw(t, "auto")
		b.Cooldown = rapid.SampledFrom([]time.Duration{0, 20 * time.Second}).Draw(t, "cooldown")
		b.GPUUtilization, b.Demand, b.QPS = pick(85, 40), pick(6, 2), pick(10, 3)
		if v := pick(5, 2); v != nil {
			d := time.Duration(*v * float64(time.Second))
			b.LatencyMean = &d
		}
		if v := pick(8, 3); v != nil {
			d := time.Duration(*v * float64(time.Second))
			b.LatencyP95 = &d
		}
	}
	return p
}

// drawHappening changes the world in one random way.
func drawHappening(t *rapid.T, w *world) {
	ids := []string{"r0", "r1", "r2", "r3", "r4", "r5"}
	id := func() string { return rapid.SampledFrom(ids).Draw(t, "replica") }
	op := &w.snap.Operator
	switch rapid.IntRange(0, 23).Draw(t, "what") {
	case 0, 1, 2:
		w.arrive(rapid.IntRange(0, 60).Draw(t, "arrive"))
	case 3, 4:
		w.hold(rapid.SampledFrom([]int{0, 0, 1, 7}).Draw(t, "held"))
	case 5, 6:
		w.snap.InFlight = rapid.IntRange(0, 30).Draw(t, "in flight")
	case 7, 8:
		w.snap.InFlight = 0
		w.hold(0)
	case 9, 10, 11:
		w.replica(id(), rapid.SampledFrom([]jobs.Phase{jobs.Pending, jobs.Starting, jobs.Ready, jobs.Ready, jobs.Draining, jobs.Gone}).Draw(t, "phase"))
	case 12, 13:
		var g *float64
		if rapid.Bool().Draw(t, "gpu known") {
			g = some(rapid.SampledFrom([]float64{0, 20, 60, 95}).Draw(t, "gpu"))
		}
		w.gpu(id(), g)
	case 14:
		w.served.latency = rapid.SampledFrom([]time.Duration{10 * time.Millisecond, time.Second, 4 * time.Second, 12 * time.Second}).Draw(t, "latency")
		w.served.times = rapid.SampledFrom([]int{0, 1, 20}).Draw(t, "completed")
	case 15:
		w.snap.Known = rapid.IntRange(0, 2).Draw(t, "known") > 0
	case 16:
		w.snap.Starts = rapid.SampledFrom([][]float64{nil, {10, 11, 12, 10, 10}, {400, 380, 420, 410, 390, 405}}).Draw(t, "starts")
	case 17:
		if w.snap.Failures.InARow++; rapid.Bool().Draw(t, "heal") {
			w.snap.Failures = Failures{}
		} else {
			w.snap.Failures.Last = w.now
			w.snap.Failures.Seconds += 400
		}
	case 18:
		w.snap.Service = ServiceTime{MeanSeconds: rapid.SampledFrom([]float64{0.05, 4, 60}).Draw(t, "S"), Count: 10}
	case 19:
		*op = rapid.SampledFrom([]Operator{{}, {}, {Paused: true}, {Pinned: new(int)}, {Asleep: true, SleepAt: w.now}, {WakeAt: w.now}}).Draw(t, "operator")
	case 20:
		w.snap.Out = rapid.SampledFrom([]*Out{nil, nil, {Rule: "stopped", Reason: "stopped by ann"}, {Rule: "purged", Reason: "purged"}}).Draw(t, "out")
	case 22:
		w.snap.Metrics, w.snap.MetricMaxes = nil, nil
		if rapid.IntRange(0, 2).Draw(t, "metric known") > 0 {
			w.snap.Metrics = map[string]*float64{"waiting": some(rapid.SampledFrom([]float64{0, 5, 100}).Draw(t, "waiting"))}
			if rapid.Bool().Draw(t, "one has more waiting") {
				w.snap.MetricMaxes = map[string]*float64{"waiting": some(100)}
			}
		}
	case 23:
		w.now = w.now.Add(-rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour}).Draw(t, "clock set back"))
	case 21:
		w.snap.Hand = nil
		if rapid.Bool().Draw(t, "by hand") {
			w.snap.Hand = &Hand{Count: rapid.IntRange(0, 20).Draw(t, "count"), At: w.now, Until: w.now.Add(30 * time.Second)}
		}
	}
}

// live lets a random world go on, and looks at it now and then.
func live(t *rapid.T, w *world, each func(Decision)) {
	for range rapid.IntRange(1, 30).Draw(t, "happenings") {
		drawHappening(t, w)
		w.served.complete(t, w.now)
		each(w.look())
		w.now = w.now.Add(rapid.SampledFrom([]time.Duration{20 * time.Millisecond, time.Second, time.Second, 5 * time.Second, time.Minute}).Draw(t, "later"))
	}
}

func TestWhateverHappensTheCountIsLawful(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live(t, newWorld(t, drawPolicy(t)), func(Decision) {}) // look checks G7
	})
}

func TestTheSameArgumentsGiveTheSameAnswerAndAreLeftAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawPolicy(t))
		kept := w.mem
		live(t, w, func(Decision) {
			// The Memory as a scaler holds it: never through JSON, and decided from twice.
			snap := w.snap
			before := encodedMemory(t, kept)
			d1, m1 := Decide(w.now, w.p, 1, snap, kept)
			other := snap
			other.Held, other.Arrivals, other.Known = other.Held+3, other.Arrivals+50, true
			Decide(w.now, w.p, 1, other, kept)
			d2, m2 := Decide(w.now, w.p, 1, snap, kept)
			if a, b := encodedJSON(t, d1), encodedJSON(t, d2); a != b {
				t.Fatalf("two answers:\n%s\n%s", a, b)
			}
			if a, b := encodedMemory(t, m1), encodedMemory(t, m2); a != b {
				t.Fatalf("two memories:\n%s\n%s", a, b)
			}
			if after := encodedMemory(t, kept); before != after {
				t.Fatalf("the memory was written:\n%s\n%s", before, after)
			}
			kept = m1
		})
	})
}

func TestAMemoryThroughJSONDecidesTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawPolicy(t)) // its own memory goes through JSON at every look
		var direct Memory
		live(t, w, func(d Decision) {
			var want Decision
			want, direct = Decide(w.now, w.p, 1, w.snap, direct)
			if a, b := encodedJSON(t, d), encodedJSON(t, want); a != b {
				t.Fatalf("%s: through JSON and directly:\n%s\n%s", w.now.Sub(epoch), a, b)
			}
		})
	})
}

func TestNothingChangedNothingChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawPolicy(t))
		live(t, w, func(first Decision) {
			again, _ := Decide(w.now, w.p, 1, w.snap, w.mem)
			if again.From != first.To || again.To != first.To {
				t.Fatalf("%s: %d→%d (%s), and again at once %d→%d (%s)", w.now.Sub(epoch),
					first.From, first.To, first.Reason, again.From, again.To, again.Reason)
			}
		})
	})
}

func TestMoreDemandNeverGivesFewerReplicas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawPolicy(t))
		live(t, w, func(Decision) {})
		less := w.snap
		less.Known, less.Deadlines = true, nil
		if less.InFlight+less.Held > 0 {
			less.LastDemand = w.now
		}
		more := less
		more.Held += rapid.IntRange(0, 50).Draw(t, "more held")
		more.InFlight += rapid.IntRange(0, 50).Draw(t, "more in flight")
		if more.InFlight+more.Held > 0 {
			more.LastDemand = w.now
		}
		if more.Held > less.Held && more.OldestHold.IsZero() {
			more.OldestHold = w.now
		}
		a, _ := Decide(w.now, w.p, 1, less, w.mem)
		b, _ := Decide(w.now, w.p, 1, more, w.mem)
		if b.To < a.To {
			t.Fatalf("held %d→%d, in flight %d→%d: %d replicas (%s), then %d (%s)",
				less.Held, more.Held, less.InFlight, more.InFlight, a.To, a.Reason, b.To, b.Reason)
		}
	})
}

// Once the fleet has done what was asked, nothing more is asked at that moment:
// a replica that starts is never launched a second time.
func TestWhatIsLaunchedIsNotLaunchedAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawPolicy(t))
		live(t, w, func(first Decision) {
			more := first.To - w.snap.running()
			if more <= 0 || first.MaxStarts > 0 {
				return
			}
			for i := range more {
				w.replica(fmt.Sprint("launched-", first.At.UnixNano(), "-", i), jobs.Pending)
			}
			again, _ := Decide(w.now, w.p, 1, w.snap, w.mem)
			if again.To > first.To {
				t.Fatalf("%s: %d→%d (%s); with them starting %d→%d (%s)", w.now.Sub(epoch),
					first.From, first.To, first.Reason, again.From, again.To, again.Reason)
			}
		})
	})
}

// running counts the replicas that decisions count on: N₀.
func (s *Snapshot) running() (n int) {
	for _, r := range s.Replicas {
		if r.Phase == jobs.Pending || r.Phase == jobs.Starting || r.Phase == jobs.Ready {
			n++
		}
	}
	return n
}

// Erasing what was seen of the GPUs or of demand, anywhere in a history, never
// lowers a count that the whole history would have kept.
func TestMissingDataNeverCausesAScaleDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := chatglm()
		if rapid.Bool().Draw(t, "demand alone") {
			p.ScaleUp.GPUUtilization, p.ScaleDown.GPUUtilization = nil, nil
		}
		var full, holed Memory
		now := epoch
		snap := Snapshot{Known: true}
		for i := range 6 {
			snap.Replicas = append(snap.Replicas, Replica{ID: fmt.Sprint("r", i), Index: i, Phase: jobs.Ready, Launched: epoch, ReadyAt: epoch})
		}
		for range rapid.IntRange(12, 40).Draw(t, "samples") {
			now = now.Add(10 * time.Second)
			snap.InFlight = 6 * rapid.SampledFrom([]int{0, 1, 10, 10, 30}).Draw(t, "demand")
			snap.Replicas = slices.Clone(snap.Replicas)
			g := rapid.SampledFrom([]float64{10, 30, 30, 60}).Draw(t, "gpu")
			for i := range snap.Replicas {
				snap.Replicas[i].GPUUtilization = some(g)
			}
			snap.LastDemand = now
			erased := snap
			switch rapid.IntRange(0, 11).Draw(t, "erase") {
			case 0:
				erased.Known = false
			case 1:
				erased.Replicas = slices.Clone(erased.Replicas)
				erased.Replicas[rapid.IntRange(0, 5).Draw(t, "whose")].GPUUtilization = nil
			}
			var a, b Decision
			a, full = Decide(now, p, 1, snap, full)
			b, holed = Decide(now, p, 1, erased, holed)
			if b.To < b.From && a.To >= a.From {
				t.Fatalf("%s: %d→%d (%s), with all data %d→%d (%s)", now.Sub(epoch), b.From, b.To, b.Reason, a.From, a.To, a.Reason)
			}
			if a.To != b.To {
				return // from here on they live different lives
			}
		}
	})
}

// A constant load, served by replicas that start as long as they do, is
// answered by a count that settles.
func TestConstantLoadDoesNotOscillate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom([]int{1, 2, 8}).Draw(t, "concurrency")
		p := plain(0, 8, c)
		p.Sizing.Headroom = rapid.SampledFrom([]float64{0, 0.5, 2}).Draw(t, "headroom")
		if rapid.Bool().Draw(t, "thresholds") {
			p.ScaleUp.Demand, p.ScaleDown.Demand = some(float64(c)*0.9), some(float64(c)*0.5)
			if rapid.Bool().Draw(t, "mode") {
				p.Sizing.Mode = "thresholds"
			}
		}
		start := time.Duration(rapid.IntRange(1, 90).Draw(t, "cold start")) * time.Second
		load := rapid.IntRange(1, 4*c).Draw(t, "load")
		s := rapid.SampledFrom([]float64{0.5, 5, 20}).Draw(t, "S")
		w := newWorld(t, p)
		w.snap.Service = ServiceTime{MeanSeconds: s, Count: 100}
		var arrived float64
		settled, changes, descending := 11*time.Minute, 0, false
		for w.now.Sub(epoch) < 15*time.Minute {
			w.now = w.now.Add(time.Second)
			arrived += float64(load) / s
			w.snap.Arrivals = uint64(arrived)
			ready := 0
			for _, r := range w.snap.Replicas {
				if w.now.Sub(r.Launched) >= start {
					w.replica(r.ID, jobs.Ready)
					ready++
				}
			}
			w.snap.InFlight = min(load, ready*c)
			w.hold(load - w.snap.InFlight)
			w.snap.LastDemand = w.now
			d, mem := Decide(w.now, p, 1, w.snap, w.mem)
			w.mem = mem
			for len(w.snap.Replicas) < d.To {
				w.replica(fmt.Sprint("r", len(w.snap.Replicas)), jobs.Starting)
			}
			w.snap.Replicas = w.snap.Replicas[:d.To]
			if d.To != d.From && w.now.Sub(epoch) > settled {
				if down := d.To < d.From; !down || !descending { // steps on one way down are one change
					changes++
				}
				descending = d.To < d.From
				t.Logf("%s: %d→%d %s", w.now.Sub(epoch), d.From, d.To, d.Reason)
			}
		}
		if changes > 1 { // one level may still expire
			t.Fatalf("%d changes under a constant load of %d", changes, load)
		}
	})
}

func encodedJSON(t *rapid.T, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
