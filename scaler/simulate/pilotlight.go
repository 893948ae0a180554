package simulate

import (
	"time"

	"github.com/DataDog/sketches-go/ddsketch"
	"google.golang.org/protobuf/proto"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

const (
	tick          = time.Second // between looks while anything goes on, as the scaler's
	maxDeadlines  = 1000        // of held requests in a snapshot, as the ledger's
	keptStarts    = 50
	busyGPU       = 95.0 // percent that a replica shows while any request is in flight: a kernel runs
	sketchError   = 0.01
	hopeful       = 24 * time.Hour // longer than any start: a deadline so far ahead says nothing
	simulatedName = "simulated"
)

// epoch is when a trace that says nothing of it begins: a Monday at midnight.
var epoch = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// pilotlight is a policy, carried out by the decisions of package decide.
type pilotlight struct {
	policy  *policies.Policy
	begins  time.Time // of the trace
	memory  decide.Memory
	starts  []float64
	service decide.ServiceTime
	told    [2]counts      // as published at the last two moments, the newer first
	latency *recentLatency // nil: the policy names none
	snap    decide.Snapshot
}

// counts are what an activator publishes once a second. The scaler reads them
// once a second, too; half a second between the two is their mean.
type counts struct {
	at       time.Duration
	arrivals uint64
	inFlight int
	service  decide.ServiceTime
}

const publishedAfter = tick / 2 // after a whole second

// publish notes the counts of the moments of publication that have passed since
// they last changed. It has to be called before they change.
func (c *pilotlight) publish(m *model) {
	at := (m.now-publishedAfter)/tick*tick + publishedAfter
	if m.now < publishedAfter || at == c.told[0].at {
		return
	}
	now := counts{at: at, arrivals: m.arrivals, inFlight: m.inFlight, service: c.service}
	c.told[1] = c.told[0]
	if at-tick > c.told[0].at {
		c.told[1] = now
		c.told[1].at = at - tick
	}
	c.told[0] = now
}

// read is what the scaler knows of the counts: it reads them every whole second.
func (c *pilotlight) read(m *model) counts {
	if c.told[0].at > m.now/tick*tick {
		return c.told[1]
	}
	return c.told[0]
}

func newPilotlight(p *policies.Policy) *pilotlight {
	c := &pilotlight{policy: p}
	if namesLatency(&p.ScaleUp) || namesLatency(&p.ScaleDown) {
		c.latency = &recentLatency{}
	}
	return c
}

func namesLatency(t *policies.Thresholds) bool {
	return t.LatencyMean != nil || t.LatencyP50 != nil || t.LatencyP95 != nil || t.LatencyP99 != nil
}

// attach lets the controller hear of what it learns from.
func (c *pilotlight) attach(m *model, setup *Setup) {
	c.begins = setup.begins()
	c.starts = append(c.starts, setup.Learned...)
	if c.latency != nil {
		c.latency.begins = c.begins
	}
	m.onStart = func(took time.Duration) {
		c.starts = append(c.starts, took.Seconds())
		if len(c.starts) > 2*keptStarts {
			c.starts = append(c.starts[:0:0], c.starts[len(c.starts)-keptStarts:]...)
		}
	}
	m.onCount = func() { c.publish(m) }
	m.onDone = func(seconds float64) {
		c.service = c.service.With(1, seconds)
		if c.latency != nil {
			c.latency.add(m.now, seconds)
		}
	}
}

// period: the scaler looks once a second, and at once when demand is announced.
func (c *pilotlight) period() (change, first time.Duration) { return tick, 0 }

func (c *pilotlight) look(m *model) (int, time.Duration) {
	now := c.begins.Add(m.now)
	c.publish(m)
	read := c.read(m)
	s := &c.snap
	*s = decide.Snapshot{
		Known: true, InFlight: max(m.inFlight, read.inFlight), Held: m.held.len(), Arrivals: read.arrivals,
		Service: read.service, Replicas: s.Replicas[:0], Deadlines: s.Deadlines[:0],
		Starts: c.starts[max(0, len(c.starts)-keptStarts):], GPUs: m.gpus,
	}
	if m.arrivals > 0 { // counts are published at once when a service falls idle
		s.LastDemand = c.begins.Add(m.lastAsked)
	}
	if n := m.held.len(); n > 0 {
		s.OldestHold = c.begins.Add(m.held.first().at)
		for i := range min(n, maxDeadlines) {
			if m.held.items[m.held.head+i].at+m.maxWait > m.now+hopeful {
				break // in time for any replica, as are those behind it
			}
			s.Deadlines = append(s.Deadlines, c.begins.Add(m.held.items[m.held.head+i].at+m.maxWait))
		}
	}
	for i := range m.replicas {
		r := &m.replicas[i]
		d := decide.Replica{Index: r.index, Phase: jobs.Starting, Launched: c.begins.Add(r.launched), InFlight: r.inFlight}
		switch {
		case r.draining:
			d.Phase = jobs.Draining
		case r.ready:
			d.Phase, d.ReadyAt = jobs.Ready, c.begins.Add(r.readyAt)
			d.GPUUtilization = &idleGPU
			if r.inFlight > 0 {
				d.GPUUtilization = &loadedGPU
			}
		}
		s.Replicas = append(s.Replicas, d)
	}
	if c.latency != nil {
		s.Latency = c.latency.items()
	}
	d := decide.Quietly(now, c.policy, 1, s, &c.memory)
	at := m.now + tick
	if d.Next.After(now) {
		at = d.Next.Sub(c.begins)
	}
	return d.To, at
}

var idleGPU, loadedGPU = 0.0, busyGPU

// recentLatency collects completions in the aligned buckets that an activator
// publishes.
type recentLatency struct {
	begins  time.Time // of the trace
	buckets []latencyBucket
}

type latencyBucket struct {
	start  time.Time
	count  uint64
	sum    float64
	sketch *ddsketch.DDSketch
}

func (l *recentLatency) add(now time.Duration, seconds float64) {
	start := l.begins.Add(now.Truncate(jobs.LatencyBucketSpan))
	n := len(l.buckets)
	if n == 0 || !l.buckets[n-1].start.Equal(start) {
		sketch, err := ddsketch.NewDefaultDDSketch(sketchError)
		if err != nil {
			panic(err) // a constant
		}
		l.buckets = append(l.buckets[max(0, n-1):n:n], latencyBucket{start: start, sketch: sketch})
		n = len(l.buckets)
	}
	b := &l.buckets[n-1]
	b.count++
	b.sum += seconds
	_ = b.sketch.Add(max(seconds, 1e-9)) // a positive number is never refused
}

func (l *recentLatency) items() []decide.LatencyItem {
	var items []decide.LatencyItem
	for i := range l.buckets {
		b := &l.buckets[i]
		text, err := proto.Marshal(b.sketch.ToProto())
		if err != nil {
			continue
		}
		items = append(items, decide.LatencyItem{Activator: simulatedName, Start: b.start, Count: b.count, Sum: b.sum, Sketch: text})
	}
	return items
}
