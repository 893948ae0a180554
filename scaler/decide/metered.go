package decide

import (
	"hash/fnv"
	"math"
	"time"
)

const meteredBuckets = 30 // of the longest window

// Metered is the recent past of one of the policy's metrics, sampled with the
// other gauges: sums in at most 30 buckets and two. There is one for each condition:
// scale_up asks for the mean over the ready replicas, scale_down for their
// maximum, since a step down must not crowd the fullest of them.
type Metered struct {
	Name string    `json:"name"`
	Down bool      `json:"down,omitempty"`
	Of   uint32    `json:"of"`          // hash of source and query: another one begins anew
	Span int64     `json:"s"`           // length of a bucket, seconds
	Last int64     `json:"t"`           // start of the last bucket, unix seconds
	N    []int     `json:"n,omitempty"` // samples with a value; the last is of the last bucket
	Sum  []float32 `json:"v,omitempty"` // of them, in seven digits: a Memory must stay small; both are never written again
}

// known is the metric's value in a snapshot, nil if it is unknown or no number.
func known(values map[string]*float64, name string) *float64 {
	if v := values[name]; v != nil && !math.IsNaN(*v) && !math.IsInf(*v, 0) {
		return v
	}
	return nil
}

// observeMetrics samples every metric of the policy at a grid point.
func (l *look) observeMetrics(slot int64) {
	if len(l.p.Metrics) == 0 {
		l.mem.Metrics = nil
		return
	}
	out := make([]Metered, 0, 2*len(l.p.Metrics))
	for i := range l.p.Metrics {
		m := &l.p.Metrics[i]
		for _, down := range [...]bool{false, true} {
			if !down && m.Up == nil || down && m.Down == nil {
				continue
			}
			past := Metered{Name: m.Name, Down: down, Of: digest(m.Source, m.Query)}
			for _, before := range l.mem.Metrics {
				if before.Name == past.Name && before.Down == down && before.Of == past.Of {
					past = before
				}
			}
			out = append(out, past.observe(slot, l.grid, l.metricNow(m.Name, down)))
		}
	}
	l.mem.Metrics = out
}

// metricNow is the value of a metric in the snapshot that a condition of scale_up
// or, if down, of scale_down is about; nil is unknown.
func (l *look) metricNow(name string, down bool) *float64 {
	if _, named := l.snap.MetricMaxes[name]; down && named {
		return known(l.snap.MetricMaxes, name)
	}
	return known(l.snap.Metrics, name)
}

// digest tells texts of a policy apart without keeping them.
func digest(texts ...string) uint32 {
	h := fnv.New32a()
	for _, s := range texts {
		_, _ = h.Write([]byte(s + "\x00"))
	}
	return h.Sum32()
}

// observe returns the past with one more sample; nil is one without a value.
func (m Metered) observe(slot int64, g grid, value *float64) Metered {
	span := g.sample * ceilDiv(max(bucketSeconds, ceilDiv(g.keep, meteredBuckets)), g.sample)
	start := floor(slot, span)
	passed := (start - m.Last) / span
	if m.Span != span || start < m.Last || passed > int64(len(m.N)) {
		m = Metered{Name: m.Name, Down: m.Down, Of: m.Of, Span: span}
		passed = 1
	}
	most := int(g.keep/span) + 2
	n, sum := make([]int, 0, most+1), make([]float32, 0, most+1)
	n, sum = append(n, m.N...), append(sum, m.Sum...)
	for range passed {
		n, sum = append(n, 0), append(sum, 0)
	}
	if value != nil {
		n[len(n)-1]++
		sum[len(sum)-1] += float32(*value)
	}
	over := max(0, len(n)-most)
	m.Last, m.N, m.Sum = start, n[over:], sum[over:]
	return m
}

// over is the mean over the window that ends with a grid point; nil is unknown.
// whole asks for a value in every bucket, else half of them is enough.
func (m Metered) over(slot int64, w time.Duration, whole bool) *float64 {
	if len(m.N) == 0 {
		return nil
	}
	from := slot - seconds(w) // what ends by then is outside
	samples, filled, total := 0, 0, 0
	sum := 0.0
	at := m.Last
	for i := len(m.N) - 1; at+m.Span > from+1; i, at = i-1, at-m.Span {
		total++
		if i >= 0 && m.N[i] > 0 {
			filled++
			samples += m.N[i]
			sum += float64(m.Sum[i])
		}
	}
	if filled == 0 || whole && filled < total || 2*filled < total {
		return nil
	}
	return some(mean(sum, samples))
}

// metrics are the means over a window of the policy's metrics: of their mean over
// the replicas, or of the maximum if down. In the window of scale_down a hole
// makes one unknown, and so does not knowing it now.
func (l *look) metrics(w time.Duration, down bool) map[string]*float64 {
	var out map[string]*float64
	for i := range l.p.Metrics {
		m := &l.p.Metrics[i]
		limit := m.Up
		if down {
			limit = m.Down
		}
		if limit == nil {
			continue
		}
		if out == nil {
			out = make(map[string]*float64, len(l.p.Metrics))
		}
		out[m.Name] = nil
		if down && l.metricNow(m.Name, down) == nil {
			continue
		}
		for _, past := range l.mem.Metrics {
			if past.Name == m.Name && past.Down == down {
				out[m.Name] = past.over(l.mem.Samples.Slot, w, down)
			}
		}
	}
	return out
}

// metricConditions appends the conditions of the policy's metrics. What one more
// replica does to a metric is not known, so none of them is linear.
func (l *look) metricConditions(out []condition, s Signal, down bool) []condition {
	for i := range l.p.Metrics {
		m := &l.p.Metrics[i]
		limit := m.Up
		if down {
			limit = m.Down
		}
		if limit != nil {
			out = append(out, condition{name: "metric " + m.Name, limit: *limit, value: s.Metrics[m.Name], metric: true})
		}
	}
	return out
}
