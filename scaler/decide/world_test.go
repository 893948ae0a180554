package decide

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"
	"pgregory.net/rapid"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// epoch is where virtual time begins: a multiple of every grid.
var epoch = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)

// plain is a policy with the defaults and a keep-alive of one minute.
func plain(lo, hi, concurrency int) *policies.Policy {
	p := policies.New("translate")
	p.Replicas = policies.Replicas{Min: lo, Max: hi, Concurrency: concurrency}
	p.ToZero = policies.ToZero{Mode: "after", After: time.Minute, AtLeast: 30 * time.Second, AtMost: 30 * time.Minute}
	return p
}

// chatglm is the policy of policies/examples/chatglm.hcl, as values.
func chatglm() *policies.Policy {
	five, two := 5*time.Second, 2*time.Second
	p := policies.New("chatglm")
	p.Replicas.Min, p.Replicas.Max = 2, 6
	p.Sizing.Mode, p.Sizing.Every, p.Sizing.Sample = "thresholds", 30*time.Second, 10*time.Second
	p.ScaleUp.Window, p.ScaleUp.CooldownAuto, p.ScaleUp.Cooldown, p.ScaleUp.MaxStep = time.Minute, false, 0, 1
	p.ScaleUp.LatencyMean, p.ScaleUp.GPUUtilization, p.ScaleUp.Demand = &five, some(85), some(50)
	p.ScaleDown.Window, p.ScaleDown.Cooldown, p.ScaleDown.MaxStep = 2*time.Minute, 0, 1
	p.ScaleDown.LatencyMean, p.ScaleDown.GPUUtilization, p.ScaleDown.Demand = &two, some(40), some(20)
	return p
}

// world is a service in virtual time: what a scaler would see of it, and the
// Memory that it would keep. Every look passes the Memory through JSON and
// checks G7.
type world struct {
	t      rapid.TB
	now    time.Time
	p      *policies.Policy
	snap   Snapshot
	mem    Memory
	last   Decision
	served served
	zone   *time.Location // nil: times are printed since epoch
}

// served is what completes each second, and the 5 s buckets it has filled.
type served struct {
	latency time.Duration
	times   int
	buckets map[time.Time]*latencySum
}

type latencySum struct {
	count  uint64
	sum    float64
	sketch *ddsketch.DDSketch
}

func newWorld(t rapid.TB, p *policies.Policy) *world {
	return &world{t: t, now: epoch, p: p, snap: Snapshot{Known: true},
		served: served{buckets: map[time.Time]*latencySum{}}}
}

// look decides now.
func (w *world) look() Decision {
	w.t.Helper()
	if w.snap.InFlight+w.snap.Held > 0 {
		w.snap.LastDemand = w.now
	}
	w.snap.Latency = w.served.items(w.now)
	d, mem := Decide(w.now, w.p, 1, w.snap, w.mem)
	if err := lawful(w.p, w.snap, w.mem, d); err != nil {
		w.t.Errorf("%s: %v", w.now.Sub(epoch), err)
	}
	text, err := json.Marshal(mem)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mem = Memory{}
	if err := json.Unmarshal(text, &w.mem); err != nil {
		w.t.Fatal(err)
	}
	w.last = d
	return d
}

// pass lets time pass with a look each second, and hands every decision to fn.
func (w *world) pass(d time.Duration, fn func(Decision)) {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(time.Second)
		w.served.complete(w.t, w.now)
		dec := w.look()
		if fn != nil {
			fn(dec)
		}
	}
}

// rest lets time pass with a look only when the decision before asked for it.
func (w *world) rest(d time.Duration, fn func(Decision)) {
	w.t.Helper()
	fn(w.look())
	for end := w.now.Add(d); w.now.Before(end); {
		if next := w.last.Next; next.After(w.now) && next.Before(end) {
			w.now = next
		} else {
			w.now = end
		}
		fn(w.look())
	}
}

func (w *world) arrive(n int) {
	w.snap.Arrivals += uint64(n)
	w.hold(w.snap.Held + n)
}

func (w *world) hold(n int) {
	if n > 0 && w.snap.Held == 0 {
		w.snap.OldestHold = w.now
	}
	if w.snap.Held = n; n == 0 {
		w.snap.OldestHold = time.Time{}
	}
}

// replica puts a replica into a phase, and makes it if there is none such.
func (w *world) replica(id string, phase jobs.Phase) {
	w.snap.Replicas = slices.Clone(w.snap.Replicas)
	i := slices.IndexFunc(w.snap.Replicas, func(r Replica) bool { return r.ID == id })
	if phase == jobs.Gone {
		if i >= 0 {
			w.snap.Replicas = slices.Delete(w.snap.Replicas, i, i+1)
		}
		return
	}
	if i < 0 {
		i = len(w.snap.Replicas)
		w.snap.Replicas = append(w.snap.Replicas, Replica{ID: id, Index: i, Launched: w.now})
	}
	r := &w.snap.Replicas[i]
	r.Phase = phase
	if phase == jobs.Ready && r.ReadyAt.IsZero() {
		r.ReadyAt = w.now
	}
}

// serve lets n replicas be ready.
func (w *world) serve(n int) {
	w.snap.Replicas = nil
	for i := range n {
		w.replica(fmt.Sprint("r", i+1), jobs.Ready)
	}
}

func (w *world) gpu(id string, percent *float64) {
	w.snap.Replicas = slices.Clone(w.snap.Replicas)
	for i := range w.snap.Replicas {
		if w.snap.Replicas[i].ID == id {
			w.snap.Replicas[i].GPUUtilization = percent
		}
	}
}

// complete adds one second of completions, those of the second before now.
func (s *served) complete(t rapid.TB, now time.Time) {
	if s.times == 0 {
		return
	}
	start := now.Add(-time.Second).Truncate(jobs.LatencyBucketSpan)
	b := s.buckets[start]
	if b == nil {
		sketch, err := ddsketch.NewDefaultDDSketch(latencyAccuracy)
		if err != nil {
			t.Fatal(err)
		}
		b = &latencySum{sketch: sketch}
		s.buckets[start] = b
	}
	for range s.times {
		b.count++
		b.sum += s.latency.Seconds()
		if err := b.sketch.Add(s.latency.Seconds()); err != nil {
			t.Fatal(err)
		}
	}
}

// items are what an activator publishes: the running bucket and the one before.
func (s *served) items(now time.Time) []LatencyItem {
	var out []LatencyItem
	running := now.Truncate(jobs.LatencyBucketSpan)
	for _, start := range []time.Time{running.Add(-jobs.LatencyBucketSpan), running} {
		if b := s.buckets[start]; b != nil {
			out = append(out, LatencyItem{Activator: "a1", Start: start, Count: b.count, Sum: b.sum, Sketch: encoded(b.sketch)})
		}
	}
	return out
}

func encoded(s *ddsketch.DDSketch) []byte {
	var b bytes.Buffer
	s.EncodeProto(&b)
	return b.Bytes()
}

// lawful checks G7 on one decision.
func lawful(p *policies.Policy, snap Snapshot, mem Memory, d Decision) error {
	op := snap.Operator
	switch {
	case d.Reason == "":
		return fmt.Errorf("no reason for %s", d.Rule)
	case d.To < 0:
		return fmt.Errorf("wanted %d", d.To)
	case !d.Next.After(d.At):
		return fmt.Errorf("next look at %s, not after %s", d.Next, d.At)
	case !mem.Since.IsZero() && d.From != mem.Wanted:
		return fmt.Errorf("from %d, wanted was %d", d.From, mem.Wanted)
	case snap.Out != nil:
		if d.To != 0 || d.Rule != snap.Out.Rule {
			return fmt.Errorf("to %d by %s while the job is %s", d.To, d.Rule, snap.Out.Rule)
		}
		return nil
	case op.Paused:
		if d.To != d.From {
			return fmt.Errorf("%d→%d while paused", d.From, d.To)
		}
		return nil
	case snap.Hand != nil && d.At.Before(snap.Hand.Until):
		if d.To != snap.Hand.Count {
			return fmt.Errorf("to %d while %d was set by hand", d.To, snap.Hand.Count)
		}
		return nil
	case op.Pinned != nil:
		if d.To != min(*op.Pinned, p.Replicas.Max) {
			return fmt.Errorf("to %d while pinned to %d", d.To, *op.Pinned)
		}
		return nil
	case op.Asleep:
		return nil
	case d.To < p.Replicas.Min || d.To > p.Replicas.Max:
		return fmt.Errorf("to %d, outside %d…%d", d.To, p.Replicas.Min, p.Replicas.Max)
	case !snap.Known && d.To < d.From && d.To != p.Replicas.Max:
		return fmt.Errorf("%d→%d with demand unknown", d.From, d.To)
	case snap.Known && snap.Held+snap.InFlight > 0 && d.To == 0:
		return fmt.Errorf("to zero with %d held and %d in flight", snap.Held, snap.InFlight)
	}
	if d.To >= d.From || d.To == p.Replicas.Max || d.Rule == "to-zero" && p.ToZero.Mode == "after" {
		return nil
	}
	asked := snap.Held+snap.InFlight > 0
	down, v := p.ScaleDown, d.Signals.Down
	for _, c := range []struct {
		name    string
		named   bool
		value   *float64
		latency bool
	}{
		{"gpu_utilization", down.GPUUtilization != nil, v.GPUUtilization, false},
		{"demand", down.Demand != nil, v.Demand, false},
		{"qps", down.QPS != nil, v.QPS, false},
		{"metric waiting", slices.ContainsFunc(p.Metrics, func(m policies.Metric) bool { return m.Down != nil }), v.Metrics["waiting"], false},
		{"latency_mean", down.LatencyMean != nil, v.LatencyMean, true},
		{"latency_p95", down.LatencyP95 != nil, v.LatencyP95, true},
	} {
		if c.named && c.value == nil && (!c.latency || asked) {
			return fmt.Errorf("%d→%d with %s unknown", d.From, d.To, c.name)
		}
	}
	return nil
}
