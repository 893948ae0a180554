package main

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestNomadMetricsTellTheAgeOfThePictureAndTheOutcomeOfEachCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		redis := prometheus.NewGauge(prometheus.GaugeOpts{Name: dependencyUp, Help: dependencyUpHelp, ConstLabels: prometheus.Labels{"dependency": "redis"}})
		reg.MustRegister(redis)
		redis.Set(1)
		m := newNomadMetrics()
		var heard time.Time
		m.heard = func() (time.Time, bool) { return heard, true }
		reg.MustRegister(m)

		expect := func(when string, want map[string]float64) {
			t.Helper()
			want = maps.Clone(want)
			want[dependencyUp+" redis"] = 1
			if diff := cmp.Diff(want, gathered(t, reg)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		const age, up = "pilotlight_fleet_picture_age_seconds", dependencyUp + " nomad"
		expect("never heard", map[string]float64{up: 0})
		heard = time.Now()
		expect("heard just now", map[string]float64{age: 0, up: 1})
		time.Sleep(12 * time.Second)
		expect("heard 12 s ago", map[string]float64{age: 12, up: 1})
		time.Sleep(18 * time.Second)
		expect("heard 30 s ago", map[string]float64{age: 30, up: 0})
		heard = time.Now().Add(time.Minute)

		m.called("GET", "nodes", 200, nil, 0)
		m.called("GET", "nodes", 200, nil, time.Second)
		m.called("POST", "job-scale", 403, nil, 0)
		m.called("POST", "job-scale", 500, nil, 0)
		m.called("GET", "event-stream", 0, fmt.Errorf("get: %w", context.Canceled), 0)
		m.called("GET", "event-stream", 0, fmt.Errorf("get: %w", context.DeadlineExceeded), 0)
		const calls = "pilotlight_nomad_calls_total "
		expect("called", map[string]float64{age: 0, up: 1, calls + "nodes ok": 2, calls + "job-scale refused": 1, calls + "job-scale failed": 1,
			calls + "event-stream given-up": 1, calls + "event-stream no-answer": 1})
	})
}

// gathered are the values of all series, by name and label values.
func gathered(t *testing.T, from prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			out[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}
