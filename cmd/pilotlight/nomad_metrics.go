package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	dependencyUp     = "pilotlight_dependency_up"
	dependencyUpHelp = "1 while the dependency answers."

	// nomadAnswers is how old the picture of a Nomad that answers may be: its
	// freshness is examined every few seconds.
	nomadAnswers = 15 * time.Second
)

// nomadMetrics are what a scaler's process tells of its Nomad: calls by route and
// outcome, and how old its picture is. Nothing is asked for the sake of a scrape.
type nomadMetrics struct {
	calls *prometheus.CounterVec
	age   *prometheus.Desc
	up    *prometheus.Desc
	heard func() (at time.Time, streaming bool)
}

func newNomadMetrics() *nomadMetrics {
	return &nomadMetrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pilotlight_nomad_calls_total",
			Help: "Calls to Nomad by route and outcome."}, []string{"call", "outcome"}),
		age: prometheus.NewDesc("pilotlight_fleet_picture_age_seconds",
			"How long ago Nomad last answered this scaler with the present; absent until it has.", nil, nil),
		up: prometheus.NewDesc(dependencyUp, dependencyUpHelp, nil, prometheus.Labels{"dependency": "nomad"}),
	}
}

// called counts one call; it is nomad.Config.OnCall. Routes are few, whatever is
// asked about.
func (m *nomadMetrics) called(_, route string, status int, err error, _ time.Duration) {
	m.calls.WithLabelValues(route, outcomeOf(status, err)).Inc()
}

// outcomeOf a call: "given-up" is that the caller did not want its answer any
// more, which is no fault of Nomad's.
func outcomeOf(status int, err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "given-up"
	case err != nil || status == 0:
		return "no-answer"
	case status >= http.StatusInternalServerError:
		return "failed"
	case status >= http.StatusBadRequest:
		return "refused"
	}
	return "ok"
}

// Describe is part of prometheus.Collector.
func (m *nomadMetrics) Describe(to chan<- *prometheus.Desc) {
	m.calls.Describe(to)
	to <- m.age
	to <- m.up
}

// Collect is part of prometheus.Collector.
func (m *nomadMetrics) Collect(to chan<- prometheus.Metric) {
	m.calls.Collect(to)
	up := 0.0
	if at, _ := m.heard(); !at.IsZero() {
		age := max(0, time.Since(at))
		if age < nomadAnswers {
			up = 1
		}
		to <- prometheus.MustNewConstMetric(m.age, prometheus.GaugeValue, age.Seconds())
	}
	to <- prometheus.MustNewConstMetric(m.up, prometheus.GaugeValue, up)
}
