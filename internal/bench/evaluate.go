package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"
	"google.golang.org/protobuf/proto"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// PartEvaluate is the process that decides and does nothing else.
const PartEvaluate = "evaluate"

const (
	evaluateRounds = 5
	evaluateMost   = 10000
	evaluateLeast  = 100
)

// evaluated is what decisions cost.
type evaluated struct {
	Seconds []float64 `json:"seconds"` // of CPU, of each round over all services
	Allocs  float64   `json:"allocs"`  // of a decision
	Memory  float64   `json:"memory"`  // bytes of one service's memory
}

// evaluations measures decisions in processes of one processor.
func evaluations(ctx context.Context, cfg Config) ([]Ratio, []Figure, error) {
	full, err := evaluate(ctx, cfg, evaluateMost, false)
	if err != nil {
		return nil, nil, err
	}
	few, err := evaluate(ctx, cfg, evaluateLeast, false)
	if err != nil {
		return nil, nil, err
	}
	rest, err := evaluate(ctx, cfg, evaluateMost, true)
	if err != nil {
		return nil, nil, err
	}
	each := func(e evaluated, n int) []float64 {
		var us []float64
		for _, s := range e.Seconds {
			us = append(us, 1e6*s/float64(n))
		}
		return us
	}
	second := []float64{1}
	ratios := []Ratio{
		ratioOfMedians("10,000 services with full windows evaluated, to the second that they have", full.Seconds, second, 1),
		ratioOfMedians("a decision among 10,000 services, to one among 100", each(full, evaluateMost), each(few, evaluateLeast), 0),
		ratioOfMedians("10,000 services at rest evaluated, to the second that they have", rest.Seconds, second, 1),
	}
	figures := []Figure{
		figureOf("a decision with full windows (rounds)", "us", each(full, evaluateMost)),
		figureOf("a decision at rest (rounds)", "us", each(rest, evaluateMost)),
		figureOf("allocations of a decision with full windows", "1", []float64{full.Allocs}),
		figureOf("allocations of a decision at rest", "1", []float64{rest.Allocs}),
		figureOf("what decisions remember of a service with full windows", "KiB", []float64{full.Memory / 1024}),
	}
	figures[3].Aim, figures[4].Aim = "0, but for a sample's bucket each 5 s", "below 64"
	return ratios, figures, nil
}

func evaluate(ctx context.Context, cfg Config, services int, resting bool) (e evaluated, err error) {
	args := []string{"bench", "part", PartEvaluate, "--services", strconv.Itoa(services)}
	if resting {
		args = append(args, "--resting")
	}
	c, err := startChild(ctx, cfg.Binary, []string{"GOMAXPROCS=1"}, args...)
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	return e, c.told(ctx, "evaluated", &e)
}

// RunEvaluate is the part of the scaler benchmark that only decides: for services
// whose windows are full, or at rest, one virtual second after another.
func RunEvaluate(ctx context.Context, services int, resting bool, out io.Writer) error {
	w := &evaluation{now: time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC), policy: policies.New("bench"), random: rand.New(rand.NewPCG(1, 2))}
	if !resting {
		w.fill()
	}
	var first decide.Memory
	for range 900 { // fills the longest window, and the widest reach of a quantile
		w.advance()
		decide.Quietly(w.now, w.policy, 1, &w.snap, &first)
	}
	text, err := json.Marshal(first)
	if err != nil {
		return err
	}
	before := heap()
	memories := make([]decide.Memory, services)
	for i := range memories { // each its own: what is shared would stay in the processor's cache
		if err := json.Unmarshal(text, &memories[i]); err != nil {
			return err
		}
	}
	e := evaluated{Memory: float64(heap()-before) / float64(services)}
	if err := tell(out, "filled", services); err != nil { // whoever waits has a limit
		return err
	}
	var allocs uint64
	for range evaluateRounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		w.advance()
		made := mallocs()
		began, err := processCPU() // neighbours on the machine do not count
		if err != nil {
			return err
		}
		for i := range memories {
			decide.Quietly(w.now, w.policy, 1, &w.snap, &memories[i])
		}
		ended, err := processCPU()
		if err != nil {
			return err
		}
		e.Seconds = append(e.Seconds, (ended - began).Seconds())
		if err := tell(out, "evaluating", len(e.Seconds)); err != nil {
			return err
		}
		allocs += mallocs() - made
	}
	e.Allocs = float64(allocs) / float64(evaluateRounds*services)
	runtime.KeepAlive(memories)
	return tell(out, "evaluated", e)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// evaluation is what all services see, a second at a time.
type evaluation struct {
	now     time.Time
	policy  *policies.Policy
	snap    decide.Snapshot
	random  *rand.Rand
	busy    bool
	buckets []*ddsketch.DDSketch // of each activator, the running one
	sums    []float64
}

// fill makes the service one with everything that a decision can look at.
func (w *evaluation) fill() {
	w.busy = true
	p := w.policy
	p.Replicas = policies.Replicas{Min: 1, Max: 8, Concurrency: 8}
	slow, fast := 8*time.Second, 2*time.Second
	limits := func(t *policies.Thresholds, latency time.Duration, share float64) {
		gpu, demand, qps := 100*share, 50*share, 40*share
		t.LatencyMean, t.LatencyP50, t.LatencyP95, t.LatencyP99 = &latency, &latency, &latency, &latency
		t.GPUUtilization, t.Demand, t.QPS = &gpu, &demand, &qps
	}
	limits(&p.ScaleUp, slow, 0.9)
	limits(&p.ScaleDown, fast, 0.3)
	p.ScaleUp.Window, p.ScaleDown.Window = 5*time.Minute, 10*time.Minute
	for i := range 4 {
		gpu := 60.0
		w.snap.Replicas = append(w.snap.Replicas, decide.Replica{
			ID: fmt.Sprint("replica-", i), Index: i, Phase: jobs.Ready, Launched: w.now, ReadyAt: w.now, GPUUtilization: &gpu,
		})
	}
	for range 50 {
		w.snap.Starts = append(w.snap.Starts, 120)
	}
}

// advance lets a second pass.
func (w *evaluation) advance() {
	w.now = w.now.Add(time.Second)
	w.snap.Known, w.snap.Latency = true, nil
	if !w.busy {
		return
	}
	const activators, perSecond = 3, 4
	w.snap.InFlight, w.snap.Held = 12+w.random.IntN(12), w.random.IntN(2)
	w.snap.Arrivals += activators * perSecond
	w.snap.LastDemand = w.now
	w.snap.Service = w.snap.Service.With(activators*perSecond, 18*activators)
	start := w.now.Truncate(jobs.LatencyBucketSpan)
	if w.now.Equal(start) || w.buckets == nil {
		w.buckets, w.sums = nil, make([]float64, activators)
		for range activators {
			sketch, err := ddsketch.NewDefaultDDSketch(0.01)
			if err != nil {
				panic(err) // of a constant
			}
			w.buckets = append(w.buckets, sketch)
		}
	}
	for i, sketch := range w.buckets {
		for range perSecond {
			v := 1 + 6*w.random.Float64()
			w.sums[i] += v
			if err := sketch.Add(v); err != nil {
				panic(err) // of a positive number
			}
		}
		text, err := proto.Marshal(sketch.ToProto())
		if err != nil {
			panic(err) // of a sketch that was made here
		}
		w.snap.Latency = append(w.snap.Latency, decide.LatencyItem{
			Activator: fmt.Sprint("activator-", i), Start: start, Count: uint64(sketch.GetCount()), Sum: w.sums[i], Sketch: text,
		})
	}
}
