package scaler

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// metered is what was last read of one metric block of the policy, at one replica
// or at Prometheus. What is unknown stays unknown up to the decision, with its
// reason.
type metered struct {
	by    policies.Metric // the block as it was when it was read
	value *float64
	why   string
	warns string // what Prometheus warns of; the value is used all the same
	read  time.Time
}

// meters is what was last read of each metric, by name.
type meters map[string]metered

// now returns a metric as it is known at this moment: its value, or why that is
// unknown.
func (m meters) now(now time.Time, block *policies.Metric, sample time.Duration) metered {
	r, ok := m[block.Name]
	switch {
	case !ok || r.by.Source != block.Source || r.by.Query != block.Query:
		return metered{why: notMeasured}
	case now.Sub(r.read) > 3*sample+gpuTimeout:
		return metered{why: "no answer for " + ago(now, r.read)}
	}
	return r
}

const notMeasured = "not measured yet"

// scraped returns the policy's metrics that the replicas give of themselves.
func (s *service) scraped() []policies.Metric { return s.metricsFrom("metrics") }

func (s *service) metricsFrom(source string) (list []policies.Metric) {
	for _, m := range s.policy.Metrics {
		if m.Source == source {
			list = append(list, m)
		}
	}
	return list
}

// readMetrics reads the policy's metrics once per sizing.sample, beside the loop:
// each ready replica's /metrics, and Prometheus once. It returns when it wants to
// be called again.
func (s *service) readMetrics(now time.Time) (again time.Time) {
	if len(s.policy.Metrics) == 0 {
		return time.Time{}
	}
	if list := s.scraped(); len(list) > 0 {
		for _, r := range s.replicas {
			if r.phase == jobs.Ready {
				again = earlier(again, s.meterReplica(now, r, list))
			} else {
				r.meters = nil
			}
		}
	}
	if s.idle(now) {
		s.meters = nil // nobody is asked: an answer that grows old is no fault, and none of then counts at the next wake
	} else if list := s.metricsFrom("prometheus"); len(list) > 0 {
		again = earlier(again, s.meterQueries(now, list))
	}
	return again
}

// meterReplica scrapes one replica for all metrics.
func (s *service) meterReplica(now time.Time, r *replica, list []policies.Metric) (again time.Time) {
	if now.Before(r.meterDue) {
		return r.meterDue
	}
	url, fresh := "http://"+r.alloc.Address+"/metrics", s.policy.Sizing.Sample/2
	if !s.call(&r.metering, now, func() func(time.Time) {
		body, err := s.ses.exporters.fetch(s.ctx, url, fresh)
		return func(at time.Time) {
			if s.ctx.Err() == nil && r.phase == jobs.Ready && !now.Before(r.readyAt) {
				r.meters = readMeters(at, body, err, list)
			}
		}
	}) {
		return time.Time{} // its answer comes back here
	}
	r.meterDue = now.Add(s.policy.Sizing.Sample)
	return r.meterDue
}

// readMeters finds metrics in what a replica's /metrics says.
func readMeters(now time.Time, body []byte, err error, list []policies.Metric) meters {
	out := meters{}
	names := make([]string, len(list))
	for i, m := range list {
		names[i] = m.Query
	}
	families, malformed := readFamilies(body, names)
	for _, m := range list {
		v := metered{by: m, read: now}
		switch samples := families[m.Query].GetMetric(); {
		case err != nil:
			v.why = err.Error()
		case malformed != nil:
			v.why = malformed.Error()
		case len(samples) == 0:
			v.why = "its /metrics has no " + m.Query
		case len(samples) > 1:
			v.why = fmt.Sprintf(`its /metrics has %d series of %s, want one: use source "prometheus" with avg(…) or sum(…) around it`, len(samples), m.Query)
		case samples[0].Gauge != nil:
			v.value = figure(samples[0].Gauge.GetValue())
		case samples[0].Untyped != nil:
			v.value = figure(samples[0].Untyped.GetValue())
		case samples[0].Counter != nil:
			v.why = m.Query + ` is a counter, which only grows: use source "prometheus" with rate(…) around it`
		default:
			v.why = m.Query + " is neither a gauge nor a number without a type"
		}
		out[m.Name] = v.finite()
	}
	return out
}

// finite makes unknown what is no figure.
func (v metered) finite() metered {
	if v.value != nil && (math.IsNaN(*v.value) || math.IsInf(*v.value, 0)) {
		v.value, v.why = nil, fmt.Sprintf("%s is %v", v.by.Query, *v.value)
	}
	return v
}

// meterQueries asks Prometheus all queries at once.
func (s *service) meterQueries(now time.Time, list []policies.Metric) (again time.Time) {
	if now.Before(s.meterDue) {
		return s.meterDue
	}
	if !s.call(&s.metering, now, func() func(time.Time) {
		ctx, cancel := context.WithTimeout(s.ctx, gpuTimeout)
		defer cancel()
		values := make([]metered, len(list))
		var asking sync.WaitGroup
		for i, m := range list {
			asking.Go(func() {
				v := metered{by: m}
				if r, err := instant(ctx, s.ses.cfg.Client, s.ses.cfg.Prometheus, m.Query); err != nil {
					v.why = err.Error()
				} else {
					v.value, v.warns = &r.Value, r.Warning
				}
				values[i] = v
			})
		}
		asking.Wait()
		return func(at time.Time) {
			if s.ctx.Err() != nil {
				return
			}
			s.meters = meters{}
			for _, v := range values {
				v.read = at
				s.meters[v.by.Name] = v.finite()
			}
		}
	}) {
		return time.Time{}
	}
	s.meterDue = now.Add(s.policy.Sizing.Sample)
	return s.meterDue
}

// metrics returns the policy's metrics now, as means and as maxima over the ready
// replicas, nil for those that are unknown; the reasons why they are; and what
// Prometheus warns of.
func (s *service) metrics(now time.Time) (means, maxes map[string]*float64, unknown, warned []string) {
	if len(s.policy.Metrics) == 0 {
		return nil, nil, nil, nil
	}
	means, maxes = map[string]*float64{}, map[string]*float64{}
	for i := range s.policy.Metrics {
		m := &s.policy.Metrics[i]
		mean, most, why, warns := s.metric(now, m)
		means[m.Name], maxes[m.Name] = mean, most
		if why != "" && why != notMeasured {
			unknown = append(unknown, fmt.Sprintf("metric %s: %s", m.Name, why))
		}
		if warns != "" {
			warned = append(warned, fmt.Sprintf("metric %s: Prometheus warns: %s", m.Name, warns))
		}
	}
	slices.Sort(unknown)
	slices.Sort(warned)
	return means, maxes, unknown, warned
}

// metric is the mean and the maximum over the ready replicas, of all of them or
// it is unknown; or, for both, the one number that Prometheus gives.
func (s *service) metric(now time.Time, m *policies.Metric) (mean, most *float64, why, warns string) {
	sample := s.policy.Sizing.Sample
	if m.Source == "prometheus" {
		v := s.meters.now(now, m, sample)
		return v.value, v.value, v.why, v.warns
	}
	sum, top, n := 0.0, math.Inf(-1), 0
	for _, r := range s.inOrder() {
		if r.phase != jobs.Ready {
			continue
		}
		v := r.meters.now(now, m, sample)
		if v.value == nil {
			if v.why != notMeasured {
				v.why = "replica " + r.alloc.ID + ": " + v.why
			}
			return nil, nil, v.why, ""
		}
		sum, top = sum+*v.value, max(top, *v.value)
		n++
	}
	if n == 0 {
		return nil, nil, "", "" // nobody to ask, which is no fault
	}
	return figure(sum / float64(n)), &top, "", ""
}

// gpuWarned is what Prometheus warns of where it is asked for the GPU utilization
// of all replicas at once.
func (s *service) gpuWarned(now time.Time) []string {
	if s.policy.GPU.Source != "prometheus" {
		return nil
	}
	for _, r := range s.replicas { // all have the same
		if warns := r.gpuNow(now, s.policy.Sizing.Sample).Warning; warns != "" {
			return []string{"gpu.query: Prometheus warns: " + warns}
		}
	}
	return nil
}

// metricWords is what a notice says of metrics.
type metricWords struct {
	text   string
	logged time.Time
}

// loggedAgain is the least between two log lines about metrics: the words may be
// others each second, such as the time of an answer that is too old.
const loggedAgain = time.Minute

// tellMetrics notes for the notice what is to be said of metrics now, and logs what
// has become so.
func (s *service) tellMetrics(now time.Time, words *metricWords, message string, said []string) {
	text := strings.Join(said, "; ")
	if text == words.text {
		return
	}
	words.text, s.changed = text, true
	if text != "" && (words.logged.IsZero() || now.Sub(words.logged) >= loggedAgain) {
		words.logged = now
		s.log.Log(s.ctx, slog.LevelWarn, message, "reason", text)
	}
}
