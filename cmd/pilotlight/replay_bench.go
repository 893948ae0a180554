package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pilotlight/pilotlight/internal/bench"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/simulate"
)

type benchSimulate struct{}

// Help is an example.
func (benchSimulate) Help() string { return "Example:\n  pilotlight bench simulate" }

// Run measures the simulator.
func (benchSimulate) Run(ctx context.Context, std streams, b *benchCommand) error {
	return b.measure(ctx, std, measureSimulate)
}

// measureSimulate replays drawn requests, and compares with the times that the
// design names and with the same model under the cheapest of the other ways to
// scale, whose decisions cost next to nothing.
func measureSimulate(ctx context.Context, cfg bench.Config) (bench.Result, error) {
	r := bench.Result{Name: "simulate", Method: "drawn requests of one service, replayed on virtual time under the default policy; " +
		"against the time that the design allows, and against the same requests under a fixed idle timeout"}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	for _, c := range []struct {
		what     string
		requests int
		every    time.Duration // between two, on average
		allowed  time.Duration
		rounds   int
	}{
		{"14 days, one a minute", 14 * 24 * 60, time.Minute, time.Second, 3},
		{"a year, one a minute", 365 * 24 * 60, time.Minute, 10 * time.Second, 3},
		{"10 million requests, five a second", 10_000_000, 200 * time.Millisecond, 0, 1},
	} {
		var own, speed, rate, events []float64
		var heap uint64
		for range c.rounds {
			if cfg.Progress != nil {
				_, _ = fmt.Fprintf(cfg.Progress, "simulate: %s\n", c.what)
			}
			took, rep, peak, err := timeReplay(ctx, c.requests, c.every, false)
			if err != nil {
				return bench.Result{}, err
			}
			own, heap = append(own, took.Seconds()), max(heap, peak)
			speed = append(speed, rep.SpanS/took.Seconds())
			events = append(events, float64(rep.Events)/took.Seconds())
			rate = append(rate, float64(c.requests)/took.Seconds())
		}
		if c.allowed > 0 {
			r.Ratios = append(r.Ratios, ratioOf(c.what+" / "+c.allowed.String(), own, c.allowed.Seconds(), 1))
		}
		fixed, _, _, err := timeReplay(ctx, c.requests, c.every, true)
		if err != nil {
			return bench.Result{}, err
		}
		r.Ratios = append(r.Ratios, ratioOf(c.what+" / a fixed idle timeout", own, fixed.Seconds(), 0))
		r.Figures = append(r.Figures,
			figureOf(c.what, "virtual s per s", speed), figureOf(c.what, "requests per s", rate),
			figureOf(c.what, "events per s", events), figureOf(c.what, "MiB of heap at most", []float64{float64(heap) / (1 << 20)}))
	}
	if cfg.Progress != nil {
		_, _ = fmt.Fprintln(cfg.Progress, "simulate: a recorded week, as the page does it")
	}
	took, err := timePage(ctx)
	if err != nil {
		return bench.Result{}, err
	}
	r.Ratios = append(r.Ratios, ratioOf("a recorded week, ten a minute, nine ways to scale, half of the processors / "+pageAllowed.String(),
		[]float64{took.Seconds()}, pageAllowed.Seconds(), 1))
	return r, nil
}

// pageAllowed is what somebody waits for the page of a simulation without asking
// what is wrong.
const pageAllowed = 5 * time.Second

// timePage simulates a recorded week as the control plane does: a draft, the policy
// in force, the other ways to scale.
func timePage(ctx context.Context) (time.Duration, error) {
	r := &simulate.Recording{Service: "bench", From: time.Date(2026, 11, 14, 0, 0, 0, 0, time.UTC)}
	draw := rand.New(rand.NewPCG(1, 1))
	for hour := range 7 * 24 {
		h := jobs.RecordedHour{Start: r.From.Add(time.Duration(hour) * time.Hour)}
		for at := 6 * draw.ExpFloat64(); at < 3600; at += 6 * draw.ExpFloat64() {
			h.Arrive(h.Start.Add(time.Duration(at*float64(time.Second))), 1)
			h.Took(4*draw.ExpFloat64(), 1)
		}
		r.Hours = append(r.Hours, h)
	}
	r.To = r.From.Add(time.Duration(len(r.Hours)) * time.Hour)
	draft, live := policies.New("bench"), policies.New("bench")
	draft.Replicas = policies.Replicas{Max: 10, Concurrency: 8}
	live.Replicas, live.Sizing.Patience = draft.Replicas, 8
	list := append([]simulate.Candidate{simulate.Policy(simulate.DraftName, draft), simulate.Policy(simulate.LiveName, live)}, simulate.Baselines(draft)...)
	setup := simulate.DefaultSetup()
	setup.Begins, setup.Lasts, setup.Series, setup.Drawn = r.From, r.To.Sub(r.From), 14*time.Minute, 2
	setup.Workers = max(1, runtime.GOMAXPROCS(0)/2)
	begun := time.Now()
	_, err := simulate.Replay(ctx, r.Source(setup.Seed), setup, list, nil)
	return time.Since(begun), err
}

func ratioOf(what string, values []float64, yardstick, aim float64) bench.Ratio {
	sorted := slices.Sorted(slices.Values(values))
	return bench.Ratio{What: what, N: len(values), Aim: aim, Value: middle(sorted) / yardstick, Lowest: sorted[0] / yardstick, Highest: sorted[len(sorted)-1] / yardstick}
}

// middle is the median of at least one value.
func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// figureOf is the middle of a few values and the greatest of them.
func figureOf(what, unit string, values []float64) bench.Figure {
	sorted := slices.Sorted(slices.Values(values))
	return bench.Figure{What: what, Unit: unit, N: len(values), P50: middle(sorted), P99: sorted[len(sorted)-1]}
}

// heapLooks is how often a replay looks at its heap.
const heapLooks = 32

// timeReplay replays n requests; peak is the most heap seen on the way.
func timeReplay(ctx context.Context, n int, every time.Duration, fixed bool) (took time.Duration, rep *simulate.Report, peak uint64, err error) {
	p := policies.New("bench")
	p.Replicas = policies.Replicas{Max: 10, Concurrency: 8}
	list := []simulate.Candidate{simulate.Policy(simulate.PolicyName, p)}
	if fixed {
		list = simulate.Baselines(p)[:1]
	}
	runtime.GC()
	var most, next atomic.Uint64
	source := &drawnRequests{draw: rand.New(rand.NewPCG(1, 1)), left: n, every: every}
	begun := time.Now()
	rep, err = simulate.Replay(ctx, source, simulate.DefaultSetup(), list, func(at time.Duration, requests uint64) {
		if requests >= next.Load() {
			next.Store(requests + uint64(n)/heapLooks)
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), m.HeapInuse))
		}
	})
	if err != nil {
		return 0, nil, 0, err
	}
	return time.Since(begun), rep, most.Load(), nil
}

// drawnRequests is a Poisson process; nothing of it is stored.
type drawnRequests struct {
	draw  *rand.Rand
	at    float64
	left  int
	every time.Duration
}

// Next draws a request; io.EOF after the last.
func (d *drawnRequests) Next() (simulate.Request, error) {
	if d.left == 0 {
		return simulate.Request{}, io.EOF
	}
	d.left--
	d.at += d.draw.ExpFloat64() * d.every.Seconds()
	return simulate.Request{At: time.Duration(d.at * float64(time.Second)), Service: "bench", Seconds: 4 * d.draw.ExpFloat64()}, nil
}
