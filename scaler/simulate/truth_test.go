package simulate_test

import (
	"context"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/simulate"
)

// How far the simulation may be from the real house. The house finds a replica
// ready up to a second late (its pause between probes), and lets one that is to go
// finish what it has before it is stopped: the simulation knows neither.
const (
	gpuTolerance  = 0.02 // of the real GPU-seconds
	waitTolerance = 0.03 // of the real mean wait
	waitLeast     = 0.05 // seconds that are no difference
)

// TestTheSimulatorIsTrue plays ten minutes of traces to the real activator,
// queue, lease and scaler, all in one process on virtual time, with replicas that
// take as long as the trace says, and compares with the simulation of the same.
func TestTheSimulatorIsTrue(t *testing.T) {
	for name, c := range map[string]struct {
		trace  string
		from   time.Duration
		starts time.Duration
		policy func(p *policies.Policy)
	}{
		"bursts of code completion": {"azure-llm-2023-code", 0, time.Minute, nil},
		"a chat that starts at full load": {"azure-llm-2023-conv", 0, 30 * time.Second, func(p *policies.Policy) {
			p.Replicas.Max = 8
		}},
		"a quick model that goes to zero between bursts": {"azure-llm-2023-code", 20 * time.Minute, 10 * time.Second, func(p *policies.Policy) {
			p.ToZero.Mode, p.ToZero.After = "after", 5*time.Second
			p.Replicas.Max, p.Replicas.Concurrency = 3, 4
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && c.policy == nil {
				t.Skip("takes seconds")
			}
			requests := tenMinutes(t, c.trace, c.from)
			p := policies.New("truth")
			p.Job, p.Route.PathPrefixes = "truth", []string{"/truth"}
			p.Replicas = policies.Replicas{Max: 6, Concurrency: 8}
			if c.policy != nil {
				c.policy(p)
			}
			setup := simulate.DefaultSetup()
			setup.ColdStart, setup.ColdSigma = c.starts, 0
			rep, err := simulate.Replay(context.Background(), &list{requests}, setup, []simulate.Candidate{simulate.Policy(simulate.PolicyName, p)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			sim := rep.Results[0]
			var real reality
			synctest.Test(t, func(t *testing.T) { real = live(t, p, setup.Launch+c.starts, requests) })
			t.Logf("%d requests: simulated %.1f GPU-seconds, %d launches, wait %.3f s (p99 %.2f); real %.1f, %d, %.3f (%.2f)", len(requests),
				sim.GPUSeconds, sim.Launches, sim.AddedWait.Mean, sim.AddedWait.P99, real.gpuSeconds, real.launches, real.mean(), real.quantile(0.99))
			if real.failed > 0 {
				t.Errorf("%d requests failed", real.failed)
			}
			if off := math.Abs(sim.GPUSeconds-real.gpuSeconds) / real.gpuSeconds; off > gpuTolerance {
				t.Errorf("GPU-seconds are %.1f %% off", 100*off)
			}
			if off := math.Abs(sim.AddedWait.Mean - real.mean()); off > max(waitLeast, waitTolerance*real.mean()) {
				t.Errorf("the mean wait is %.3f s off", off)
			}
		})
	}
}

// tenMinutes of a trace, from a moment on.
func tenMinutes(t *testing.T, trace string, from time.Duration) []simulate.Request {
	source := open(t, trace)
	var requests []simulate.Request
	for {
		r, err := source.Next()
		if err == io.EOF || r.At >= from+10*time.Minute {
			return requests
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.At >= from {
			r.At -= from
			requests = append(requests, r)
		}
	}
}

// open reads one of the traces kept here.
func open(tb testing.TB, name string) *simulate.Trace {
	tb.Helper()
	f, err := os.Open(filepath.Join("traces", name+".csv.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Close() })
	trace, err := simulate.NewTrace(f, name, simulate.DefaultDurations(), 1)
	if err != nil {
		tb.Fatal(err)
	}
	return trace
}

// list is a Source.
type list struct{ rest []simulate.Request }

func (l *list) Next() (simulate.Request, error) {
	if len(l.rest) == 0 {
		return simulate.Request{}, io.EOF
	}
	r := l.rest[0]
	l.rest = l.rest[1:]
	return r, nil
}
