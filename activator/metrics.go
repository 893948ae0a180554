package activator

import (
	"errors"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/activator/translate"
	"github.com/pilotlight/pilotlight/jobs"
)

// durationBuckets reach to 900 s: a cold start is part of a request's time.
var durationBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 900}

// metrics of the data path. Labels are policy names, status codes and language
// codes that an adapter has checked: never a caller's own text.
type metrics struct {
	requests     *prometheus.CounterVec
	duration     *prometheus.HistogramVec
	hold         *prometheus.HistogramVec
	held         *prometheus.GaugeVec
	heldBytes    *prometheus.GaugeVec
	oldest       *prometheus.GaugeVec
	inFlight     *prometheus.GaugeVec
	slots        *prometheus.GaugeVec
	rejected     *prometheus.CounterVec
	retries      *prometheus.CounterVec
	translations *prometheus.CounterVec
	late         prometheus.Counter

	pairsMu sync.Mutex
	pairs   map[[2]string]bool // language pairs counted so far
}

// maxPairs bounds the language pairs that are counted apart: codes are checked,
// but a caller chooses them. Further pairs are counted as "other".
const maxPairs = 500

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pilotlight_" + name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pilotlight_" + name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "pilotlight_" + name, Help: help,
			Buckets: durationBuckets, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100}, labels)
		reg.MustRegister(v)
		return v
	}
	late := prometheus.NewCounter(prometheus.CounterOpts{Name: "pilotlight_late_requests_total",
		Help: "Requests whose first byte was sent after the lease of their slot had ended: the process was stopped between the check and the write."})
	reg.MustRegister(late)
	return &metrics{
		late:         late,
		pairs:        map[[2]string]bool{},
		requests:     counter("requests_total", "Requests answered, by status code and whether they waited for a cold start.", "service", "code", "cold"),
		duration:     histogram("request_duration_seconds", "From arrival to the last byte of the answer.", "service", "cold"),
		hold:         histogram("hold_duration_seconds", "Time a request was held.", "service"),
		held:         gauge("held_requests", "Requests held by this activator.", "service"),
		heldBytes:    gauge("held_bytes", "Bytes of the bodies of held requests.", "service"),
		oldest:       gauge("oldest_hold_seconds", "Age of the oldest held request.", "service"),
		inFlight:     gauge("in_flight_requests", "Requests in a slot of a replica.", "service"),
		slots:        gauge("slots", jobs.SlotsHelp, "service", "state"),
		rejected:     counter("rejected_total", "Requests answered by Pilotlight itself with an error.", "service", "reason"),
		retries:      counter("retries_total", "Requests sent again to another replica.", "service", "reason"),
		translations: counter("translation_requests_total", "Translations answered.", "source_lang", "target_lang"),
	}
}

// serviceMetrics are the metrics of one service with the label lookups done.
type serviceMetrics struct {
	all          *metrics
	name         string
	duration     [2]prometheus.Observer // warm, cold
	holdDuration prometheus.Observer

	mu    sync.RWMutex
	codes map[codeKey]prometheus.Counter
}

type codeKey struct {
	status int
	cold   bool
}

func (m *metrics) forService(name string) *serviceMetrics {
	return &serviceMetrics{all: m, name: name, codes: map[codeKey]prometheus.Counter{},
		duration:     [2]prometheus.Observer{m.duration.WithLabelValues(name, "false"), m.duration.WithLabelValues(name, "true")},
		holdDuration: m.hold.WithLabelValues(name)}
}

// forget drops the series of a service that has no policy any more.
func (m *metrics) forget(service string) {
	of := prometheus.Labels{"service": service}
	for _, v := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.requests, m.duration, m.hold, m.held, m.heldBytes, m.oldest, m.inFlight, m.slots, m.rejected, m.retries} {
		v.DeletePartialMatch(of)
	}
}

func (m *metrics) unrouted(c *call) {
	if c.failure != "" {
		m.rejected.WithLabelValues("", c.failure).Inc()
	}
}

func (m *metrics) translated(req translate.Request) {
	source := "auto"
	if !req.Detects() {
		source = translate.ISO3(req.Source)
	}
	pair := [2]string{source, translate.ISO3(req.Target)}
	m.pairsMu.Lock()
	if !m.pairs[pair] {
		if len(m.pairs) < maxPairs {
			m.pairs[pair] = true
		} else {
			pair = [2]string{"other", "other"}
		}
	}
	m.pairsMu.Unlock()
	m.translations.WithLabelValues(pair[0], pair[1]).Inc()
}

func (s *serviceMetrics) finish(c *call, now time.Time) {
	key := codeKey{c.status, c.wasCold}
	s.mu.RLock()
	counter := s.codes[key]
	s.mu.RUnlock()
	if counter == nil {
		counter = s.all.requests.WithLabelValues(s.name, strconv.Itoa(c.status), strconv.FormatBool(c.wasCold))
		s.mu.Lock()
		s.codes[key] = counter
		s.mu.Unlock()
	}
	counter.Inc()
	i := 0
	if c.wasCold {
		i = 1
	}
	s.duration[i].Observe(now.Sub(c.arrived).Seconds())
	if c.failure != "" {
		s.all.rejected.WithLabelValues(s.name, c.failure).Inc()
	}
}

func (s *serviceMetrics) held(wait time.Duration) { s.holdDuration.Observe(wait.Seconds()) }

func (s *serviceMetrics) retried(err error) {
	reason := "broken"
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		reason = "refused"
	case errors.Is(err, queue.ErrLeaseLost):
		reason = "lease"
	}
	s.all.retries.WithLabelValues(s.name, reason).Inc()
}

func (s *serviceMetrics) standing(st queue.Standing, now time.Time) {
	s.all.held.WithLabelValues(s.name).Set(float64(st.Held))
	s.all.heldBytes.WithLabelValues(s.name).Set(float64(st.HeldBytes))
	s.all.inFlight.WithLabelValues(s.name).Set(float64(st.InFlight))
	age := 0.0
	if !st.OldestHold.IsZero() {
		age = now.Sub(st.OldestHold).Seconds()
	}
	s.all.oldest.WithLabelValues(s.name).Set(age)
	s.all.slots.WithLabelValues(s.name, "granted").Set(float64(st.InFlight))
	s.all.slots.WithLabelValues(s.name, "leased").Set(float64(st.Owned - st.InFlight))
}
