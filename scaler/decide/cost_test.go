package decide

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"
	"google.golang.org/protobuf/proto"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestALookAtAServiceAtRestAllocatesNothing(t *testing.T) {
	p := plain(0, 3, 8)
	snap := Snapshot{Known: true, Arrivals: 10, LastDemand: epoch}
	_, mem := Decide(epoch, p, 1, snap, Memory{})
	at := epoch.Add(10 * time.Minute)
	Quietly(at, p, 1, &snap, &mem)
	if n := testing.AllocsPerRun(100, func() { Quietly(at, p, 1, &snap, &mem) }); n != 0 {
		t.Errorf("%v allocations by a look that finds nothing new, want none", n)
	}
}

func TestAMergedQuantileIsThatOfOneSketchOfAllValues(t *testing.T) {
	if highestBin-lowestBin >= scaleBins {
		t.Fatalf("%d indexes, room for %d", highestBin-lowestBin+1, scaleBins)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		all := emptySketch(t)
		var items []LatencyItem
		for i := range 1 + r.IntN(30) { // of three activators
			one := emptySketch(t)
			n := 1 + r.IntN(60)
			for range n {
				v := math.Exp(8 * (r.Float64() - 0.5))
				for _, s := range []*ddsketch.DDSketch{all, one} {
					if err := s.Add(v); err != nil {
						t.Fatal(err)
					}
				}
			}
			text, err := proto.Marshal(one.ToProto())
			if err != nil {
				t.Fatal(err)
			}
			items = append(items, LatencyItem{Activator: fmt.Sprint(i % 3), Start: epoch.Add(time.Duration(i/3) * jobs.LatencyBucketSpan),
				Count: uint64(n), Sum: 1, Sketch: text})
		}
		now := epoch.Add(50 * time.Second)
		l := Latencies{}
		for _, it := range items { // each heard in time
			l = l.observe(it.Start.Add(time.Second), []LatencyItem{it}, time.Minute)
		}
		got := l.over(now, time.Minute, false)
		for _, q := range []struct {
			of    float64
			got   *float64
			least float64
		}{{0.5, got.p50, minForP50}, {0.95, got.p95, minForP95}, {0.99, got.p99, minForP99}} {
			want, err := all.GetValueAtQuantile(q.of)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case all.GetCount() < q.least:
				if q.got != nil {
					t.Errorf("quantile %v of %v values is %v, want unknown", q.of, all.GetCount(), *q.got)
				}
			case q.got == nil || *q.got != want:
				t.Errorf("quantile %v of %v values is %v, want %v", q.of, all.GetCount(), q.got, want)
			}
		}
	}
}

func emptySketch(t *testing.T) *ddsketch.DDSketch {
	t.Helper()
	s, err := ddsketch.NewDefaultDDSketch(latencyAccuracy)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
