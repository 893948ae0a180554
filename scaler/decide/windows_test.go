package decide

import (
	"math"
	"testing"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/store"
)

func seriesOf(g grid, from int64, step int64, vs ...gauges) Series {
	var s Series
	for i, v := range vs {
		s = s.observe(time.Unix(from+int64(i)*step, 0), g, v, false)
	}
	return s
}

func TestAWindowHoldsExactlyItsSamples(t *testing.T) {
	g := gridOf(10*time.Second, time.Minute, 2*time.Minute)
	var vs []gauges
	for i := range 20 {
		vs = append(vs, gauges{inFlight: i, ready: 1})
	}
	w := seriesOf(g, epoch.Unix(), 10, vs...).over(time.Minute, g)
	if w.Samples != 6 || w.InFlight != 14+15+16+17+18+19 || !w.whole {
		t.Errorf("%d samples with a sum of %d, whole %t; want 6, 99, true", w.Samples, w.InFlight, w.whole)
	}
}

func TestTimeNobodyLookedIsAHoleUnlessItWasIdle(t *testing.T) {
	g := gridOf(time.Second, time.Minute)
	for _, idle := range []bool{true, false} {
		s := seriesOf(g, epoch.Unix(), 1, gauges{}, gauges{}, gauges{})
		s = s.observe(epoch.Add(90*time.Second), g, gauges{inFlight: 60, ready: 1}, idle)
		w := s.over(time.Minute, g)
		if w.whole != idle {
			t.Errorf("idle %t: whole %t", idle, w.whole)
		}
		if idle && w.Samples != 60 || !idle && w.Samples != 1 {
			t.Errorf("idle %t: %d samples", idle, w.Samples)
		}
	}
}

func TestArrivalsOfAnOutageAreNoBurst(t *testing.T) {
	g := gridOf(time.Second, time.Minute)
	s := seriesOf(g, epoch.Unix(), 1, gauges{inFlight: 1, ready: 1}, gauges{inFlight: 1, ready: 1, arrivals: 1})
	now := epoch.Add(601 * time.Second)
	hole := s.observe(now, g, gauges{inFlight: 1, ready: 1, arrivals: 601}, false)
	if w := hole.over(time.Minute, g); w.Arrivals != 5 || w.QPS != 1 {
		t.Errorf("after a hole of 600s with 600 arrivals: %d recent ones, %g/s; want 5 and 1", w.Arrivals, w.QPS)
	}
	// From an idle service they have all come now.
	idle := seriesOf(g, epoch.Unix(), 1, gauges{}).observe(now, g, gauges{inFlight: 1, ready: 1, arrivals: 30}, true)
	if w := idle.over(time.Minute, g); w.Arrivals != 30 || w.QPS != 30 {
		t.Errorf("after an idle time: %d arrivals, %g/s; want 30 and 30", w.Arrivals, w.QPS)
	}
}

func TestARateStartsAtItsFirstArrival(t *testing.T) {
	g := gridOf(time.Second, time.Minute)
	s := seriesOf(g, epoch.Unix(), 1, gauges{}).observe(epoch.Add(100*time.Second), g, gauges{arrivals: 1}, true)
	for i := range 9 {
		s = s.observe(epoch.Add(time.Duration(101+i)*time.Second), g, gauges{arrivals: uint64(2 + i)}, false)
	}
	if got := s.over(time.Minute, g).rate(epoch.Add(109*time.Second), time.Minute); got != 1 {
		t.Errorf("%g/s, want 1: 10 arrivals, 9 s after the first", got)
	}
	alone := seriesOf(g, epoch.Unix(), 1, gauges{}).observe(epoch.Add(time.Second), g, gauges{arrivals: 1}, true)
	if got := alone.over(time.Minute, g).rate(epoch.Add(time.Second), time.Minute); got != 0 {
		t.Errorf("%g/s, want 0: one request alone is no rate", got)
	}
}

func itemOf(t *testing.T, by string, start time.Time, s *ddsketch.DDSketch, seconds ...float64) LatencyItem {
	t.Helper()
	it := LatencyItem{Activator: by, Start: start}
	for _, v := range seconds {
		if err := s.Add(v); err != nil {
			t.Fatal(err)
		}
		it.Count++
		it.Sum += v
	}
	it.Sketch = encoded(s)
	return it
}

func sketchOf(t *testing.T) *ddsketch.DDSketch {
	t.Helper()
	s, err := ddsketch.NewDefaultDDSketch(latencyAccuracy)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestQuantilesAreOfTheMergedSketch(t *testing.T) {
	var l Latencies
	var fast, slow []float64
	for range 95 {
		fast = append(fast, 1)
	}
	for range 5 {
		slow = append(slow, 100)
	}
	l = l.observe(epoch, []LatencyItem{
		itemOf(t, "a1", epoch.Add(-5*time.Second), sketchOf(t), fast...),
		itemOf(t, "a2", epoch.Add(-5*time.Second), sketchOf(t), slow...),
	}, time.Minute)
	// The mean of both p95 would be 50.
	got := l.over(epoch, time.Minute, false)
	if got.p95 == nil || math.Abs(*got.p95-1) > 0.011 || got.p99 != nil || got.mean == nil || *got.mean != 5.95 {
		t.Errorf("p95 %v, p99 %v (of 100 completions), mean %v", got.p95, got.p99, got.mean)
	}
}

func TestAnItemReplacesTheEarlierOneOfItsBucket(t *testing.T) {
	var l Latencies
	s := sketchOf(t)
	start := epoch.Add(-5 * time.Second)
	l = l.observe(epoch, []LatencyItem{itemOf(t, "a1", start, s, 1)}, time.Minute)
	again := itemOf(t, "a1", start, s, 3)
	again.Count, again.Sum = 2, 4
	l = l.observe(epoch, []LatencyItem{again, again}, time.Minute)
	for _, later := range []time.Duration{0, 40 * time.Second} { // as an item, and folded
		at := epoch.Add(later)
		l = l.observe(at, nil, time.Minute)
		if got := l.over(at, time.Minute, false); got.count != 2 || *got.mean != 2 {
			t.Errorf("after %s: %d completions with a mean of %g, want 2 and 2", later, got.count, *got.mean)
		}
	}
	l = l.observe(epoch.Add(40*time.Second), []LatencyItem{again}, time.Minute)
	if got := l.over(epoch.Add(40*time.Second), time.Minute, false); got.count != 2 {
		t.Errorf("%d completions: an item that comes too late was counted twice", got.count)
	}
}

func TestABucketAtTheEdgeBelongsToTheWindow(t *testing.T) {
	var l Latencies
	l = l.observe(epoch, []LatencyItem{itemOf(t, "a1", epoch.Add(-5*time.Second), sketchOf(t), 1)}, time.Minute)
	for _, tc := range []struct {
		after time.Duration
		want  uint64
	}{{58 * time.Second, 1}, {59 * time.Second, 1}, {60 * time.Second, 0}} {
		if got := l.over(epoch.Add(tc.after), time.Minute, false); got.count != tc.want {
			t.Errorf("%s after its end: %d completions, want %d", tc.after, got.count, tc.want)
		}
	}
}

func TestSketchesThatAreNotOursDoNoHarm(t *testing.T) {
	m, err := mapping.NewCubicallyInterpolatedMapping(0.02)
	if err != nil {
		t.Fatal(err)
	}
	foreign := ddsketch.NewDDSketch(m, store.NewSparseStore(), store.NewSparseStore())
	var vs []float64
	for range 50 {
		vs = append(vs, 4)
	}
	wild := ddsketch.NewDDSketch(latencyMapping, store.NewSparseStore(), store.NewSparseStore())
	items := []LatencyItem{
		itemOf(t, "foreign", epoch, foreign, vs...),
		itemOf(t, "wild", epoch, wild, 1e-300, 1e300, 0),
		{Activator: "garbage", Start: epoch, Count: 7, Sum: 7, Sketch: []byte("not a sketch")},
		{Activator: "empty", Start: epoch, Count: 7, Sum: 7},
		{Activator: "nan", Start: epoch, Count: 7, Sum: math.NaN(), Sketch: encoded(foreign)},
		{Activator: "tomorrow", Start: epoch.Add(24 * time.Hour), Count: 7, Sum: 7, Sketch: encoded(foreign)},
	}
	got := Latencies{}.observe(epoch, items, time.Minute).over(epoch, time.Minute, false)
	if got.count != 53 || got.p95 == nil || math.Abs(*got.p95-4) > 0.13 {
		t.Errorf("%d completions, p95 %v; want 53 and 4 within 3 %%", got.count, got.p95)
	}
}
