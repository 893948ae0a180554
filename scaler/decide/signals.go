package decide

import (
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// gpus is the GPU utilization over the ready replicas, percent.
type gpus struct {
	mean, max  float64 // of those that are known
	known, all bool    // any is; all are, and there is one
}

func utilization(replicas []Replica) (u gpus) {
	sum, known, ready := 0.0, 0, 0
	for i := range replicas {
		if replicas[i].Phase != jobs.Ready {
			continue
		}
		ready++
		if v := replicas[i].GPUUtilization; v != nil && *v >= 0 { // NaN is not
			known++
			sum += *v
			u.max = max(u.max, *v)
		}
	}
	if u.known = known > 0; u.known {
		u.mean, u.all = sum/float64(known), known == ready
	}
	return u
}

// silent names the ready replicas whose GPU utilization is unknown.
func silent(replicas []Replica) string {
	var names []string
	for i := range replicas {
		if v := replicas[i].GPUUtilization; replicas[i].Phase == jobs.Ready && (v == nil || !(*v >= 0)) {
			names = append(names, replicas[i].ID)
		}
	}
	return strings.Join(names[:min(len(names), 5)], ", ")
}

// reading is a window's signals, and what is needed to say why one is unknown.
type reading struct {
	Signal
	length      time.Duration
	completions uint64
	asked       bool // any request was held, in flight or arrived, or that is not known
}

// upSignals are means over the window with data in at least half of it: of
// buckets for gauges, of 5 s buckets for latencies. GPU utilization is the mean
// over the ready replicas.
func upSignals(now time.Time, w time.Duration, s Series, g grid, l Latencies) reading {
	win := s.over(w, g)
	lat := l.over(now, w, true)
	r := reading{length: w, completions: lat.count, asked: true}
	r.LatencyMean, r.LatencyP50, r.LatencyP95, r.LatencyP99 = lat.mean, lat.p50, lat.p95, lat.p99
	if win.Samples > 0 && 2*win.data >= win.slots {
		r.Demand = some(mean(win.PerReplica, win.Samples))
		r.QPS = some(mean(win.QPS, win.Samples))
	}
	if win.GPUMeans > 0 && 2*win.gpu >= win.slots {
		r.GPUUtilization = some(mean(win.GPUMean, win.GPUMeans))
	}
	return r
}

// downSignals are means over a window without a hole: a bucket nobody saw makes
// the signal unknown until it has left the window. Half of the data would let
// missing data lower a mean, and with it the count. GPU utilization is the
// maximum over the ready replicas, all of which must be known, now too.
func downSignals(now time.Time, w time.Duration, s Series, g grid, l Latencies, gpusNow bool) reading {
	win := s.over(w, g)
	r := reading{length: w, asked: true}
	if !win.whole {
		return r
	}
	lat := l.over(now, w, false)
	r.completions = lat.count
	r.LatencyMean, r.LatencyP50, r.LatencyP95, r.LatencyP99 = lat.mean, lat.p50, lat.p95, lat.p99
	r.Demand = some(mean(win.PerReplica, win.Samples))
	r.QPS = some(mean(win.QPS, win.Samples))
	r.asked = win.Demand > 0 || win.Arrivals > 0 || lat.count > 0
	if gpusNow && win.gpuAll {
		r.GPUUtilization = some(mean(win.GPUMax, win.GPUMaxes))
	}
	return r
}

// some is a known value. Zero, as all are of a service at rest, is one place for
// all, so that a look at it allocates nothing: a signal is never written to.
func some(v float64) *float64 {
	if v == 0 {
		return &zero
	}
	known := v
	return &known
}

var zero float64

// condition is one named threshold and the value it is compared with.
type condition struct {
	name    string
	limit   float64
	value   *float64
	linear  bool // falls in proportion as replicas are added
	latency bool
	metric  bool   // a metric block's
	needs   uint64 // completions, for a latency
}

// maxConditions is how many thresholds one block can name.
const maxConditions = 7 + policies.MaxMetrics

// conditions lists the named thresholds of a block with their values.
func conditions(t *policies.Thresholds, s Signal, into *[maxConditions]condition) []condition {
	out := into[:0]
	for _, l := range [...]struct {
		name  string
		limit *time.Duration
		value *float64
		needs uint64
	}{
		{"latency_mean", t.LatencyMean, s.LatencyMean, minForMean},
		{"latency_p50", t.LatencyP50, s.LatencyP50, minForP50},
		{"latency_p95", t.LatencyP95, s.LatencyP95, minForP95},
		{"latency_p99", t.LatencyP99, s.LatencyP99, minForP99},
	} {
		if l.limit != nil {
			out = append(out, condition{name: l.name, limit: l.limit.Seconds(), value: l.value, latency: true, needs: l.needs})
		}
	}
	if t.GPUUtilization != nil {
		out = append(out, condition{name: "gpu_utilization", limit: *t.GPUUtilization, value: s.GPUUtilization})
	}
	if t.Demand != nil {
		out = append(out, condition{name: "demand", limit: *t.Demand, value: s.Demand, linear: true})
	}
	if t.QPS != nil {
		out = append(out, condition{name: "qps", limit: *t.QPS, value: s.QPS, linear: true})
	}
	return out
}

// named reports whether a block names any threshold.
func named(t *policies.Thresholds) bool {
	return t.LatencyMean != nil || t.LatencyP50 != nil || t.LatencyP95 != nil || t.LatencyP99 != nil ||
		t.GPUUtilization != nil || t.Demand != nil || t.QPS != nil
}

// ups are the conditions of scale_up with their values, downs those of
// scale_down.
func (l *look) ups(room *[maxConditions]condition) []condition {
	return l.metricConditions(conditions(&l.p.ScaleUp, l.up.Signal, room), l.up.Signal, false)
}

func (l *look) downs(room *[maxConditions]condition) []condition {
	return l.metricConditions(conditions(&l.p.ScaleDown, l.down.Signal, room), l.down.Signal, true)
}

// names reports whether the policy names any condition of scale_up or, if down,
// of scale_down.
func (l *look) names(down bool) bool {
	if down && named(&l.p.ScaleDown) || !down && named(&l.p.ScaleUp) {
		return true
	}
	for i := range l.p.Metrics {
		if m := &l.p.Metrics[i]; down && m.Down != nil || !down && m.Up != nil {
			return true
		}
	}
	return false
}

// bound writes the condition's limit.
func (c condition) bound() string { return strings.TrimSuffix(c.show(c.limit), " a replica") }

// show writes a value of the condition with its unit.
func (c condition) show(v float64) string {
	switch {
	case c.metric:
		return figure(v)
	case c.latency:
		return figure(v) + "s"
	case c.name == "gpu_utilization":
		return figure(v) + "%"
	case c.name == "qps":
		return figure(v) + "/s a replica"
	default:
		return figure(v) + " a replica"
	}
}
