package decide

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

func TestAMemoryStaysBelow64KiBWhateverHappens(t *testing.T) {
	p := plain(0, 5000, 1)
	p.ScaleUp.Window, p.ScaleDown.Window = 5*time.Minute, 10*time.Minute
	r := rand.New(rand.NewPCG(1, 2))
	for i := range policies.MaxMetrics {
		p.Metrics = append(p.Metrics, policies.Metric{Name: fmt.Sprint("a metric with a long name, number ", i), Source: "metrics", Query: "x", Up: some(1e6), Down: some(0)})
	}
	for i := range 20 {
		p.Schedules = append(p.Schedules, policies.Schedule{Name: fmt.Sprint("a schedule with a long name, number ", i),
			Cron: fmt.Sprintf("%d,%d 0-23/2 1,2,3,4,5,6,7,8,9,10 1,2,3 *", i, i+1), Zone: "America/Argentina/ComodRivadavia", For: time.Duration(i+1) * time.Hour, Min: 1})
	}
	snap := Snapshot{Known: true, Metrics: map[string]*float64{}, MetricMaxes: map[string]*float64{}}
	for i := range 50 {
		snap.Starts = append(snap.Starts, 500+float64(i))
	}
	sketches := make([][]byte, 32) // spread over six orders of magnitude, thousands in each bin
	for i := range sketches {
		sketch, err := ddsketch.NewDefaultDDSketch(latencyAccuracy)
		if err != nil {
			t.Fatal(err)
		}
		for range 400 {
			if err := sketch.AddWithCount(math.Pow(10, 6*r.Float64()-3), float64(1+r.IntN(5000))); err != nil {
				t.Fatal(err)
			}
		}
		sketches[i] = encoded(sketch)
	}
	mem := Memory{Prewarm: marks(epoch, 9, func(_ int64, bin int) bool { return bin%2 == 0 })}
	for band := range 11 { // gaps of hours, days apart
		at := epoch.AddDate(-8, 0, 0)
		for range maxGaps {
			at = at.AddDate(0, 0, 6)
			mem.Gaps = mem.Gaps.closed(band, at, at.Add(time.Duration(3e5+1e5*r.Float64())*time.Second), 0)
		}
		mem.Gaps = mem.Gaps.with(func(b Band) Band {
			b.Choice = Choice{epoch.Unix(), 1 / 3.0, 1e6 / 7, true, 400, 1 / 3.0, 123456}
			return b
		}(mem.Gaps.band(band)))
	}
	for i := range 25 {
		mem.Prewarm.uses(epoch.Add(time.Duration(i-24)*time.Hour), 1e6/7, true)
		mem.Prewarm.ended(epoch, 1e6/7)
	}
	now := epoch
	largest := 0
	for i := range 640 {
		now = now.Add(time.Second)
		if i%3 == 0 {
			snap.Replicas = nil
			for j := range 1 + r.IntN(40) {
				snap.Replicas = append(snap.Replicas, Replica{ID: fmt.Sprintf("replica-%d-with-a-name-of-36-letters", j),
					Index: j, Phase: jobs.Ready, GPUUtilization: some(100 * r.Float64())})
			}
		}
		snap.InFlight, snap.Held = r.IntN(900000), r.IntN(900000)*(i%2)
		snap.Arrivals += uint64(r.IntN(1 << 30))
		for _, m := range p.Metrics {
			snap.Metrics[m.Name] = some(1e6 * r.Float64())
			snap.MetricMaxes[m.Name] = some(1e6 * r.Float64())
		}
		snap.Latency = nil
		if i%5 == 0 {
			for a := range 20 {
				snap.Latency = append(snap.Latency, LatencyItem{Activator: fmt.Sprintf("activator-%d-with-a-long-host-name.example", a),
					Start: now.Truncate(jobs.LatencyBucketSpan), Count: uint64(1 + i), Sum: r.Float64() * 1e6,
					Sketch: sketches[r.IntN(len(sketches))]})
			}
		}
		_, mem = Decide(now, p, 1, snap, mem)
		if i%60 == 0 || i > 635 {
			text, err := json.Marshal(mem)
			if err != nil {
				t.Fatal(err)
			}
			largest = max(largest, len(text))
		}
	}
	t.Logf("largest: %d bytes", largest)
	if largest >= 64<<10 {
		text, _ := json.Marshal(mem.Samples)
		recent, _ := json.Marshal(mem.Latency.Recent)
		folded, _ := json.Marshal(mem.Latency.Buckets)
		levels, _ := json.Marshal(mem.Levels)
		gaps, _ := json.Marshal(mem.Gaps)
		prewarm, _ := json.Marshal(mem.Prewarm)
		metrics, _ := json.Marshal(mem.Metrics)
		schedules, _ := json.Marshal(mem.Schedules)
		t.Logf("gaps %d, prewarm %d, metrics %d, schedules %d", len(gaps), len(prewarm), len(metrics), len(schedules))
		t.Errorf("a memory of %d bytes (samples %d, recent latencies %d, folded %d, levels %d)", largest, len(text), len(recent), len(folded), len(levels))
	}
}

func TestAnIdleMemoryIsSmall(t *testing.T) {
	w := newWorld(t, plain(0, 3, 8))
	w.pass(20*time.Minute, nil)
	if text := encodedMemory(t, w.mem); len(text) > 1500 {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}

func BenchmarkDecide(b *testing.B) {
	const services = 10_000
	b.Run("idle", func(b *testing.B) {
		p := plain(0, 3, 8)
		mems := make([]Memory, services)
		snap := Snapshot{Known: true, Arrivals: 10, LastDemand: epoch}
		for i := range mems {
			_, mems[i] = Decide(epoch, p, 1, snap, mems[i])
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			at := epoch.Add(time.Duration(1+i/services) * time.Second)
			_, mems[i%services] = Decide(at, p, 1, snap, mems[i%services])
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
	})
	b.Run("busy", func(b *testing.B) {
		p := chatglm()
		p.Sizing.Mode, p.Sizing.Every, p.Sizing.Sample = "auto", time.Second, time.Second
		p.ScaleUp.LatencyP95, p.ScaleUp.LatencyMean = p.ScaleUp.LatencyMean, nil
		w := newWorld(b, p)
		for i := range 4 {
			w.replica(fmt.Sprint("r", i), jobs.Ready)
			w.gpu(fmt.Sprint("r", i), some(60))
		}
		w.snap.InFlight, w.snap.Held = 30, 5
		w.served.latency, w.served.times = 2*time.Second, 12
		w.pass(5*time.Minute, func(Decision) { w.snap.Arrivals += 12 })
		mems := make([]Memory, services)
		for i := range mems {
			mems[i] = w.mem
		}
		snaps := make([]Snapshot, 60)
		for i := range snaps {
			w.now = w.now.Add(time.Second)
			w.served.complete(b, w.now)
			snaps[i] = w.snap
			snaps[i].Arrivals += uint64(12 * i)
			snaps[i].Latency = w.served.items(w.now)
		}
		start := w.now.Add(-time.Minute)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s := i / services % len(snaps)
			_, mems[i%services] = Decide(start.Add(time.Duration(s+1)*time.Second), p, 1, snaps[s], mems[i%services])
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
	})
}
