package simulate

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/policies"
)

func TestWhatNoTraceKnowsOfAPolicyIsSaidOnceAndIsSo(t *testing.T) {
	const (
		up   = `policy goes by metric "waiting", which no trace has: here it never adds a replica.`
		down = `policy goes down by metric "waiting", which no trace has: what is unknown holds the count, so that here nothing goes down but by a fixed to_zero.after.`
		gpu  = "policy goes by gpu_utilization, which no trace has: it is taken for 95 % at a replica with a request, and for 0 % at one without."
	)
	requests := append(poisson(3, "chat", 0.5, 30, 5*time.Minute), Request{At: 75 * time.Minute, Service: "chat", Seconds: 1})
	for name, c := range map[string]struct {
		change func(p *policies.Policy)
		said   []string
		stops  bool // amid the trace
	}{
		"nothing": {func(*policies.Policy) {}, nil, true},
		"a metric for up": {func(p *policies.Policy) {
			p.Metrics = []policies.Metric{{Name: "waiting", Source: "metrics", Up: new(8.0)}}
		}, []string{up}, true},
		"a metric for both": {func(p *policies.Policy) {
			p.Metrics = []policies.Metric{{Name: "waiting", Source: "metrics", Up: new(8.0), Down: new(1.0)}}
		}, []string{up, down}, false},
		"and a fixed keep-alive": {func(p *policies.Policy) {
			p.Metrics = []policies.Metric{{Name: "waiting", Source: "metrics", Down: new(1.0)}}
			p.ToZero.Mode, p.ToZero.After = "after", time.Minute
		}, []string{down}, true},
		"GPU utilization": {func(p *policies.Policy) { p.ScaleDown.GPUUtilization = new(40.0) }, []string{gpu}, true},
	} {
		p := basic(0, 8)
		c.change(p)
		setup := DefaultSetup()
		setup.Seeds = 2
		list := append(append([]Candidate{Policy(PolicyName, p)}, Sweep(p)[:1]...), Baselines(p)[:1]...)
		rep := replay(t, requests, setup, list)
		if diff := cmp.Diff(c.said, rep.Assumed); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if notes := strings.Join(rep.Notes(), "\n"); !strings.Contains(notes, strings.Join(c.said, "\n")) {
			t.Errorf("%s: notes\n%s", name, notes)
		}
		if stopped := rep.Results[0].Stops > 0; stopped != c.stops {
			t.Errorf("%s: %d replicas were stopped", name, rep.Results[0].Stops)
		}
	}
}
