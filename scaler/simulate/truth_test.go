package simulate_test

import (
	"context"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/simulate"
)

// figures say how far the simulation may be from the real house in each: a share of
// what was met, but not less than the least. The house knows two things that the
// simulation does not: it finds a replica ready up to a second late (its pause
// between probes), and lets one that is to go finish what it has before it is
// stopped.
var figures = []struct {
	name         string
	of           func(*simulate.Result) float64
	met          func(*reality) float64
	share, least float64
	cut          float64 // the least where waits are cut off at hold.max_wait; 0: as above
}{
	// Most replicas live longer than a minute, and are paid for half a second longer.
	{"GPU-seconds", func(r *simulate.Result) float64 { return r.GPUSeconds }, func(r *reality) float64 { return r.gpuSeconds }, 0.02, 0, 0},
	// Where waits are cut off, a start that is found a second later does not lengthen
	// the longest waits, but takes them out of the mean: up to a second either way.
	{"mean wait", func(r *simulate.Result) float64 { return r.AddedWait.Mean }, (*reality).mean, 0.03, 0.05, 1},
	// Whoever waits for a start waits for the probe, too, up to a second longer; the
	// rest is the three digits of the histogram, and that those who are last of a
	// hundredth change places.
	{"p95 wait", func(r *simulate.Result) float64 { return r.AddedWait.P95 }, func(r *reality) float64 { return r.quantile(0.95) }, 0.002, 1.3, 0},
	{"p99 wait", func(r *simulate.Result) float64 { return r.AddedWait.P99 }, func(r *reality) float64 { return r.quantile(0.99) }, 0.002, 1.3, 0},
	{"longest wait", func(r *simulate.Result) float64 { return r.AddedWait.Max }, func(r *reality) float64 { return r.quantile(1) }, 0.002, 1.3, 0},
	// Those who come in the second of the probe are cold-started in one and not in the other.
	{"cold-started", func(r *simulate.Result) float64 { return float64(r.ColdStarted) }, func(r *reality) float64 { return float64(r.cold) }, 0.05, 2, 0},
	{"launches", func(r *simulate.Result) float64 { return float64(r.Launches) }, func(r *reality) float64 { return float64(r.launches) }, 0, 0, 0},
	{"refused", func(r *simulate.Result) float64 { return float64(r.Refused) }, func(r *reality) float64 { return float64(r.refused) }, 0.05, 0, 0},
	{"timed out", func(r *simulate.Result) float64 { return float64(r.TimedOut) }, func(r *reality) float64 { return float64(r.timedOut) }, 0.05, 0, 0},
}

// TestTheSimulatorIsTrue plays ten minutes of traces to the real activator,
// queue, lease and scaler, all in one process on virtual time, with replicas that
// take as long as the trace says, and compares with the simulation of the same.
func TestTheSimulatorIsTrue(t *testing.T) {
	for name, c := range map[string]struct {
		trace  string
		from   time.Duration
		long   time.Duration
		starts time.Duration
		policy func(p *policies.Policy)
		gpus   float64 // share by which GPU-seconds may differ; 0: as in figures
	}{
		// Keep-alives end amid these bursts: one more replica for a minute, or one less.
		"bursts of code completion": {"azure-llm-2023-code", 0, tenMinutes, time.Minute, nil, 0.05},
		"a chat that starts at full load": {"azure-llm-2023-conv", 0, tenMinutes, 30 * time.Second, func(p *policies.Policy) {
			p.Replicas.Max = 8
		}, 0},
		"a quick model that goes to zero between bursts": {"azure-llm-2023-code", 20 * time.Minute, tenMinutes, 10 * time.Second, func(p *policies.Policy) {
			p.ToZero.Mode, p.ToZero.After = "after", 5*time.Second
			p.Replicas.Max, p.Replicas.Concurrency = 3, 4
		}, 0},
		"more than may be held, and longer than it may wait": {"azure-llm-2023-code", 40 * time.Minute, 5 * time.Minute, 20 * time.Second, func(p *policies.Policy) {
			p.ToZero.Mode, p.ToZero.After = "after", 15*time.Second
			p.Replicas.Max, p.Replicas.Concurrency = 1, 6
			p.Hold.MaxRequests, p.Hold.MaxWait = 40, 15*time.Second
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && c.policy == nil {
				t.Skip("takes seconds")
			}
			requests := part(t, c.trace, c.from, c.long)
			p := policies.New("truth")
			p.Job, p.Route.PathPrefixes = "truth", []string{"/truth"}
			p.Replicas = policies.Replicas{Max: 6, Concurrency: 8}
			if c.policy != nil {
				c.policy(p)
			}
			setup := simulate.DefaultSetup()
			setup.ColdStart, setup.ColdSigma = c.starts, 0
			sims := phases(t, requests, setup, p)
			var real reality
			synctest.Test(t, func(t *testing.T) { real = live(t, p, setup.Launch+c.starts, requests) })
			if real.failed > 0 {
				t.Errorf("%d requests failed", real.failed)
			}
			for _, f := range figures {
				was, least, most := f.met(&real), math.Inf(1), math.Inf(-1)
				for i := range sims {
					least, most = min(least, f.of(&sims[i])), max(most, f.of(&sims[i]))
				}
				within := max(f.least, f.share*was)
				if f.name == "GPU-seconds" {
					within = max(within, c.gpus*was)
				}
				if real.timedOut > 0 {
					within = max(within, f.cut)
				}
				t.Logf("%-13s simulated %9.3f to %9.3f, real %9.3f, may differ by %.3f", f.name, least, most, was, within)
				if was < least-within || was > most+within {
					t.Errorf("%s is %.3f to %.3f simulated and %.3f in reality; allowed: a difference of %.3f", f.name, least, most, was, within)
				}
			}
		})
	}
}

// phases are simulations of which each has its requests and its ready replicas a
// quarter of a second later: the scaler looks every whole second, and the house finds
// a replica ready up to a second late. Where bursts come about when a keep-alive ends,
// a tenth of a second decides whether the replica is still there: the simulation is
// held to what it says for all of these, not to one of them.
func phases(t *testing.T, requests []simulate.Request, setup simulate.Setup, p *policies.Policy) []simulate.Result {
	starts := setup.ColdStart
	var all []simulate.Result
	for phase := time.Duration(0); phase < time.Second; phase += time.Second / 4 {
		later := slices.Clone(requests)
		for i := range later {
			later[i].At += phase
		}
		setup.ColdStart = starts + phase
		rep, err := simulate.Replay(context.Background(), &list{later}, setup, []simulate.Candidate{simulate.Policy(simulate.PolicyName, p)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rep.Results[0])
	}
	return all
}

const tenMinutes = 10 * time.Minute

// part of a trace, from a moment on.
func part(t *testing.T, trace string, from, long time.Duration) []simulate.Request {
	source := open(t, trace)
	var requests []simulate.Request
	for {
		r, err := source.Next()
		if err == io.EOF || r.At >= from+long {
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
