package scaler

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pilotlight/pilotlight/jobs"
)

// metrics are the ones of the scaler. Labels come from policies and from the
// code, never from a caller.
type metrics struct {
	leader    prometheus.Gauge
	replicas  *prometheus.GaugeVec
	wanted    *prometheus.GaugeVec
	blocked   *prometheus.GaugeVec
	slots     *prometheus.GaugeVec
	cold      *prometheus.HistogramVec
	wakes     *prometheus.CounterVec
	actions   *prometheus.CounterVec
	cut       *prometheus.CounterVec
	decisions prometheus.Histogram
	gpu       *prometheus.GaugeVec
	gpuMemory *prometheus.GaugeVec
	gpuTime   *prometheus.CounterVec
	usd       *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pilotlight_" + name, Help: help}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pilotlight_" + name, Help: help}, labels)
	}
	leader := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pilotlight_leader", Help: "1 while this process is the active one of its role.",
		ConstLabels: prometheus.Labels{"role": "scaler"},
	})
	m := &metrics{
		leader:   leader,
		replicas: gauge("replicas", "Replicas by phase.", "service", "region", "state"),
		wanted:   gauge("replicas_wanted", "Replicas that the last decision wants.", "service"),
		blocked:  gauge("blocked", "1 while something keeps a service from having the replicas it should have, by what it is.", "service", "reason"),
		slots:    gauge("slots", jobs.SlotsHelp, "service", "state"),
		cold: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                        "pilotlight_cold_start_duration_seconds",
			Help:                        "Cold starts by phase; phase \"total\" is the whole.",
			Buckets:                     []float64{.005, .02, .1, .5, 1, 2, 5, 10, 20, 40, 60, 90, 120, 180, 300, 600, 900},
			NativeHistogramBucketFactor: 1.1,
		}, []string{"service", "phase"}),
		wakes:   counter("wakes_total", "Launches from zero, by how their cold start ended.", "service", "outcome"),
		actions: counter("scale_actions_total", "Scale calls, by direction and the rule that decided.", "service", "direction", "reason"),
		cut:     counter("cut_requests_total", "Requests in flight that were cut at the end of drain_timeout.", "service"),
		decisions: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "pilotlight_decision_duration_seconds",
			Help:    "Time to decide for one service.",
			Buckets: prometheus.ExponentialBuckets(5e-6, 4, 8),
		}),
		gpu:       gauge("gpu_utilization_ratio", "Mean GPU utilization of the ready replicas; absent while unknown.", "service"),
		gpuMemory: gauge("gpu_memory_used_bytes", "GPU memory used by the ready replicas; absent while unknown.", "service"),
		gpuTime:   counter("gpu_seconds_total", "GPU-seconds of replicas by use.", "service", "use"),
		usd:       counter("usd_total", "Cost of replicas, where the policy names a price.", "service"),
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.leader, m.replicas, m.wanted, m.blocked, m.cold, m.wakes, m.actions, m.cut, m.decisions, m.gpu, m.gpuMemory, m.gpuTime, m.usd,
	} {
		errs = append(errs, registry.Register(c))
	}
	var shared prometheus.AlreadyRegisteredError // by the activator of this process
	if err := registry.Register(m.slots); errors.As(err, &shared) {
		m.slots = shared.ExistingCollector.(*prometheus.GaugeVec)
	} else {
		errs = append(errs, err)
	}
	return m, errors.Join(errs...)
}

// States of slots that the scaler shows.
var slotStates = []string{slotFree, slotQuarantined}

const slotFree, slotQuarantined = "free", "quarantined"

// slotsOf shows the slots of a service that no activator owns.
func (m *metrics) slotsOf(service string, free, quarantined int) {
	m.slots.WithLabelValues(service, slotFree).Set(float64(free))
	m.slots.WithLabelValues(service, slotQuarantined).Set(float64(quarantined))
}

// forget removes the series of a service that this process does not look after
// any more; its counters would be read as a standstill.
func (m *metrics) forget(service string) {
	by := prometheus.Labels{"service": service}
	for _, v := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.replicas, m.wanted, m.blocked, m.gpu, m.gpuMemory} {
		v.DeletePartialMatch(by)
	}
	for _, state := range slotStates {
		m.slots.DeleteLabelValues(service, state)
	}
}

// forgetAll is forget of every service.
func (m *metrics) forgetAll() {
	for _, v := range []*prometheus.GaugeVec{m.replicas, m.wanted, m.blocked, m.gpu, m.gpuMemory} {
		v.Reset()
	}
	for _, state := range slotStates { // the others are the activator's
		m.slots.DeletePartialMatch(prometheus.Labels{"state": state})
	}
}

// obstructed shows the kind of what is in a service's way; "" is nothing.
func (m *metrics) obstructed(service, kind string) {
	for _, other := range kinds {
		if other != kind {
			m.blocked.DeleteLabelValues(service, other)
		}
	}
	if kind != "" {
		m.blocked.WithLabelValues(service, kind).Set(1)
	}
}

// published shows a status in the gauges.
func (m *metrics) published(st jobs.Status, region string) {
	n := st.Replicas
	for phase, count := range map[jobs.Phase]int{
		jobs.Pending: n.Pending, jobs.Starting: n.Starting, jobs.Ready: n.Ready, jobs.Draining: n.Draining,
	} {
		m.replicas.WithLabelValues(st.Name, region, string(phase)).Set(float64(count))
	}
	m.wanted.WithLabelValues(st.Name).Set(float64(n.Wanted))
	show := func(v *prometheus.GaugeVec, value *float64, unit float64) {
		if value == nil {
			v.DeleteLabelValues(st.Name)
			return
		}
		v.WithLabelValues(st.Name).Set(*value * unit)
	}
	show(m.gpu, st.GPU, 0.01)
	show(m.gpuMemory, st.GPUMem, 1)
}

// coldStarted counts a cold start that is over.
func (m *metrics) coldStarted(c jobs.ColdStart) {
	for _, p := range c.Phases {
		m.cold.WithLabelValues(c.Service, p.Name).Observe(p.DurMS / 1000)
	}
	m.cold.WithLabelValues(c.Service, "total").Observe(c.DurMS / 1000)
}

// meter counts the GPU time since the last round: what runs costs, whatever it
// does.
func (s *service) meter(now time.Time) {
	last := s.meterAt
	s.meterAt = now
	if last.IsZero() {
		return
	}
	seconds := now.Sub(last).Seconds()
	for _, r := range s.replicas {
		use := "idle"
		switch {
		case r.phase == jobs.Pending && r.alloc.Started.IsZero():
			continue
		case r.firstReady.IsZero():
			use = "starting"
		case s.demand.Busy[r.alloc.ID] > 0:
			use = "busy"
		}
		s.ses.metrics.gpuTime.WithLabelValues(s.name, use).Add(seconds * float64(s.gpus))
		if c := s.policy.Cost; c != nil && c.USDPerHour != nil {
			s.ses.metrics.usd.WithLabelValues(s.name).Add(seconds / 3600 * *c.USDPerHour)
		}
	}
}
