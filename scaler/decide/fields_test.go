package decide

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// elsewhere are the fields that others act on, by what they begin with: the
// data path, the fleet, the readers of signals.
var elsewhere = []string{
	"description", "job", "group", "namespace", "regions", "gpu_priority", "weight", "preempt",
	"route.", "translate.", "probe.", "request.", "retry.", "result.", "gpu.", "by_hand.", "cost.usd_per_hour",
	"hold.max_requests", "hold.max_bytes", "hold.max_body", "hold.heartbeat", "hold.async_max_wait",
	"scale_down.drain_timeout",
}

// life is what one service lives through under a policy: an operator's wake,
// bursts, calm, latencies, utilization and a metric that rise and fall, quiet
// times of many lengths, on so many days. It returns each change of the count.
func life(t *testing.T, p *policies.Policy, days int) string {
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	const start = 20 * time.Second
	w := newWorld(t, p)
	w.snap.Service = ServiceTime{MeanSeconds: 4, Count: 100}
	for range 10 {
		w.snap.Starts = append(w.snap.Starts, start.Seconds())
	}
	var out strings.Builder
	draw := rand.New(rand.NewPCG(1, 1))
	second := func(inFlight, held int, latency time.Duration, gpu, metric float64) {
		w.now = w.now.Add(time.Second)
		w.snap.Arrivals += uint64(inFlight / 4)
		w.hold(held)
		w.snap.InFlight, w.served.latency, w.served.times = inFlight, latency, inFlight
		if inFlight+held > 0 {
			w.snap.LastDemand = w.now
		}
		w.snap.Metrics = map[string]*float64{"waiting": &metric}
		for i := range w.snap.Replicas {
			r := &w.snap.Replicas[i]
			if r.GPUUtilization = &gpu; w.now.Sub(r.Launched) >= start && r.Phase != jobs.Ready {
				r.Phase, r.ReadyAt = jobs.Ready, w.now
			}
		}
		w.served.complete(t, w.now)
		w.snap.Latency = w.served.items(w.now)
		d, mem := Decide(w.now, p, 1, w.snap, w.mem)
		w.mem = mem
		for len(w.snap.Replicas) < d.To {
			w.snap.Replicas = append(w.snap.Replicas, Replica{ID: fmt.Sprint("r", len(w.snap.Replicas)), Index: len(w.snap.Replicas), Phase: jobs.Starting, Launched: w.now})
		}
		w.snap.Replicas = slices.Clone(w.snap.Replicas[:d.To])
		if d.To != d.From {
			fmt.Fprintf(&out, "%s %d\n", w.now.Sub(epoch), d.To)
		}
	}
	for day := range days {
		w.now = epoch.AddDate(0, 0, day)
		second(0, 0, 0, 0, 0)
		w.snap.Operator.WakeAt = w.now // nothing comes of it: no replica starts for longer than it may wait
		for range 60 {
			second(0, 0, 0, 0, 0)
		}
		for range 120 { // a burst, which more and more is served
			second(8*len(w.snap.Replicas), max(0, 40-8*len(w.snap.Replicas)), 3*time.Second, 60, 2)
		}
		for i := range 600 { // busy, with ups and downs
			n := 6 + 6*(i/90%2)
			second(n, 0, time.Duration(1+7*(i/120%2))*time.Second, 30+65*float64(i/150%2), float64(20*(i/200%2)))
		}
		for range 300 { // one at a time
			second(1, 0, time.Second, 10, 0)
		}
		for range 5 { // lone ones, minutes apart
			for range 40 + draw.IntN(500) {
				second(0, 0, 0, 0, 0)
			}
			for range 10 {
				second(min(1, len(w.snap.Replicas)), max(0, 1-len(w.snap.Replicas)), time.Second, 20, 0)
			}
		}
	}
	return out.String()
}

// Every field of a policy that decisions read changes one. A field that is
// added without a line here fails the test.
func TestEveryPolicyFieldChangesSomeDecision(t *testing.T) {
	seconds := func(s float64) *time.Duration { d := secondsOf(s); return &d }
	thresholds := func(p *policies.Policy) { // only what is under test moves the count
		p.Sizing.Mode, p.Replicas.Min = "thresholds", 1
	}
	falls := func(p *policies.Policy) { // demand raises it, what is under test lets it fall
		thresholds(p)
		p.ScaleUp.Demand = some(5)
	}
	rises := func(p *policies.Policy) {
		thresholds(p)
		p.ScaleUp.Demand, p.ScaleDown.Demand = some(5), some(3)
	}
	schedule := func(p *policies.Policy) {
		p.Schedules = []policies.Schedule{{Name: "day", Cron: "10 8 * * *", Zone: "UTC", For: time.Hour, Min: 2}}
	}
	metric := func(up, down *float64) func(*policies.Policy) {
		return func(p *policies.Policy) {
			thresholds(p)
			if up == nil {
				p.ScaleUp.Demand = some(5)
			}
			p.Metrics = []policies.Metric{{Name: "waiting", Source: "metrics", Query: "waiting", Up: up, Down: down}}
		}
	}
	both := func(p *policies.Policy) { metric(some(8), some(1))(p) }
	type edit = func(*policies.Policy)
	cases := map[string]struct{ base, change edit }{
		"replicas.min":         {nil, func(p *policies.Policy) { p.Replicas.Min = 1 }},
		"replicas.max":         {nil, func(p *policies.Policy) { p.Replicas.Max = 3 }},
		"replicas.concurrency": {nil, func(p *policies.Policy) { p.Replicas.Concurrency = 2 }},
		"hold.max_wait": {func(p *policies.Policy) { p.ToZero.Mode, p.ToZero.After = "after", 5*time.Second }, func(p *policies.Policy) {
			p.Hold.MaxWait = 5 * time.Second
		}},
		"sizing.mode":               {nil, func(p *policies.Policy) { p.Sizing.Mode = "thresholds" }},
		"sizing.headroom":           {nil, func(p *policies.Policy) { p.Sizing.Headroom = 2 }},
		"sizing.target_utilization": {nil, func(p *policies.Policy) { p.Sizing.TargetUtilization = some(0.3) }},
		"sizing.patience":           {nil, func(p *policies.Policy) { p.Sizing.Patience = 0.1 }},
		"sizing.every":              {rises, func(p *policies.Policy) { p.Sizing.Every = 30 * time.Second }},
		"sizing.sample":             {rises, func(p *policies.Policy) { p.Sizing.Sample = 20 * time.Second }},
		"sizing.drain_within": {func(p *policies.Policy) { p.Sizing.Patience = 0.1 }, func(p *policies.Policy) {
			p.Sizing.DrainWithin = seconds(1)
		}},
		"scale_up.window":            {rises, func(p *policies.Policy) { p.ScaleUp.Window = 5 * time.Minute }},
		"scale_up.cooldown":          {rises, func(p *policies.Policy) { p.ScaleUp.CooldownAuto, p.ScaleUp.Cooldown = false, time.Second }},
		"scale_up.max_step":          {func(p *policies.Policy) { rises(p); p.ScaleUp.Demand, p.ScaleDown.Demand = some(2), some(1) }, func(p *policies.Policy) { p.ScaleUp.MaxStep = 1 }},
		"scale_up.latency_mean":      {thresholds, func(p *policies.Policy) { p.ScaleUp.LatencyMean = seconds(4) }},
		"scale_up.latency_p50":       {thresholds, func(p *policies.Policy) { p.ScaleUp.LatencyP50 = seconds(4) }},
		"scale_up.latency_p95":       {thresholds, func(p *policies.Policy) { p.ScaleUp.LatencyP95 = seconds(4) }},
		"scale_up.latency_p99":       {thresholds, func(p *policies.Policy) { p.ScaleUp.LatencyP99 = seconds(4) }},
		"scale_up.gpu_utilization":   {thresholds, func(p *policies.Policy) { p.ScaleUp.GPUUtilization = some(80) }},
		"scale_up.demand":            {thresholds, func(p *policies.Policy) { p.ScaleUp.Demand = some(5) }},
		"scale_up.qps":               {thresholds, func(p *policies.Policy) { p.ScaleUp.QPS = some(1) }},
		"scale_down.window":          {rises, func(p *policies.Policy) { p.ScaleDown.Window = 5 * time.Minute }},
		"scale_down.cooldown":        {func(p *policies.Policy) { rises(p); p.ScaleDown.MaxStep = 1 }, func(p *policies.Policy) { p.ScaleDown.Cooldown = time.Minute }},
		"scale_down.max_step":        {func(p *policies.Policy) { rises(p); p.ScaleUp.Demand, p.ScaleDown.Demand = some(2), some(1.5) }, func(p *policies.Policy) { p.ScaleDown.MaxStep = 1 }},
		"scale_down.latency_mean":    {falls, func(p *policies.Policy) { p.ScaleDown.LatencyMean = seconds(2) }},
		"scale_down.latency_p50":     {falls, func(p *policies.Policy) { p.ScaleDown.LatencyP50 = seconds(2) }},
		"scale_down.latency_p95":     {falls, func(p *policies.Policy) { p.ScaleDown.LatencyP95 = seconds(2) }},
		"scale_down.latency_p99":     {falls, func(p *policies.Policy) { p.ScaleDown.LatencyP99 = seconds(2) }},
		"scale_down.gpu_utilization": {falls, func(p *policies.Policy) { p.ScaleDown.GPUUtilization = some(40) }},
		"scale_down.demand":          {falls, func(p *policies.Policy) { p.ScaleDown.Demand = some(3) }},
		"scale_down.qps":             {falls, func(p *policies.Policy) { p.ScaleDown.QPS = some(0.5) }},
		"to_zero.after":              {nil, func(p *policies.Policy) { p.ToZero.Mode, p.ToZero.After = "after", 45*time.Second }},
		"to_zero.at_least":           {nil, func(p *policies.Policy) { p.ToZero.AtLeast = 10 * time.Minute }},
		"to_zero.at_most":            {nil, func(p *policies.Policy) { p.ToZero.AtMost = 31 * time.Second }},
		"to_zero.prewarm": {func(p *policies.Policy) { p.Sizing.Patience = 100; p.ToZero.AtMost = time.Minute }, func(p *policies.Policy) {
			p.ToZero.Prewarm = false
		}},
		"schedule":      {nil, schedule},
		"schedule.cron": {schedule, func(p *policies.Policy) { p.Schedules[0].Cron = "20 8 * * *" }},
		"schedule.zone": {schedule, func(p *policies.Policy) { p.Schedules[0].Zone = "Asia/Shanghai" }},
		"schedule.for":  {schedule, func(p *policies.Policy) { p.Schedules[0].For = 20 * time.Minute }},
		"schedule.min":  {schedule, func(p *policies.Policy) { p.Schedules[0].Min = 4 }},
		"metric":        {thresholds, both},
		"metric.up":     {both, func(p *policies.Policy) { p.Metrics[0].Up = some(15) }},
		"metric.down":   {metric(nil, some(1)), func(p *policies.Policy) { p.Metrics[0].Down = some(0.001) }},
		"metric.source": {nil, nil}, // of another source or query is another metric: see below
		"metric.query":  {nil, nil},
		"cost.gpu":      {nil, func(p *policies.Policy) { p.Cost = &policies.Cost{GPU: "8x 80GB"} }},
	}
	for _, doc := range policies.Fields() {
		if slices.ContainsFunc(elsewhere, func(s string) bool { return strings.HasPrefix(doc.Path, s) }) {
			continue
		}
		c, ok := cases[doc.Path]
		if !ok {
			t.Errorf("%s: nothing shows that it changes a decision", doc.Path)
			continue
		}
		delete(cases, doc.Path)
		if c.change == nil {
			continue
		}
		t.Run(doc.Path, func(t *testing.T) {
			t.Parallel()
			policy := func(edits ...edit) *policies.Policy {
				p := policies.New("translate")
				p.Job, p.Route.Models = "translate", []string{"m"}
				p.Replicas = policies.Replicas{Max: 6, Concurrency: 4}
				for _, e := range edits {
					if e != nil {
						e(p)
					}
				}
				return p
			}
			days := 1
			if doc.Path == "to_zero.prewarm" { // which must have seen two
				days = 3
			}
			if before, after := life(t, policy(c.base), days), life(t, policy(c.base, c.change), days); before == after {
				t.Errorf("with it and without it the service lives the same life:\n%s", before)
			}
		})
	}
	for path := range cases {
		t.Errorf("%s is no field", path)
	}
}

func TestAMetricOfAnotherSourceOrQueryIsAnotherOne(t *testing.T) {
	for _, change := range []func(*policies.Metric){
		func(m *policies.Metric) { m.Source = "prometheus" }, func(m *policies.Metric) { m.Query = "other" },
	} {
		p := plain(0, 6, 4)
		p.Metrics = []policies.Metric{{Name: "waiting", Source: "metrics", Query: "waiting", Up: some(8)}}
		w := newWorld(t, p)
		w.replica("r1", jobs.Ready)
		w.snap.InFlight, w.snap.Metrics = 1, map[string]*float64{"waiting": some(5)}
		w.pass(time.Minute, nil)
		if v := w.last.Signals.Up.Metrics["waiting"]; v == nil || *v != 5 {
			t.Fatalf("the mean is %v, want 5", v)
		}
		other := *p
		other.Metrics = slices.Clone(p.Metrics)
		change(&other.Metrics[0])
		w.p = &other
		w.pass(time.Second, nil)
		if v := w.last.Signals.Up.Metrics["waiting"]; v != nil {
			t.Errorf("the mean is %g of what was another metric", *v)
		}
	}
}
