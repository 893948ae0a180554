package scaler

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestSlotsOfEveryStateAreShownAndForgottenBesideThoseOfAnActivatorInTheSameProcess(t *testing.T) {
	registry := prometheus.NewRegistry()
	owned := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pilotlight_slots", Help: jobs.SlotsHelp}, []string{"service", "state"})
	registry.MustRegister(owned)
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	shown := func() map[string]float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, s := range f.GetMetric() {
				if f.GetName() == "pilotlight_slots" {
					got[s.GetLabel()[0].GetValue()+" "+s.GetLabel()[1].GetValue()] = s.GetGauge().GetValue()
				}
			}
		}
		return got
	}
	want := func(when string, want map[string]float64) {
		t.Helper()
		if diff := cmp.Diff(want, shown()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}

	// Of 16 slots five are out, two of them in quarantine, and one more is a dead
	// activator's: ten are nobody's.
	s := &service{
		offered: []jobs.SlotOffer{{ID: "r1", Slots: 8}, {ID: "r2", Slots: 8}, {ID: "r3"}},
		demand: reading{Demand: jobs.Demand{
			SlotsOut:    map[string]int{"r1": 3, "r2": 2, "r3": 4},
			Quarantined: map[string]int{"r1": 2, "r2": 1}, Abandoned: map[string]int{"r2": 1},
		}},
	}
	owned.WithLabelValues("a", "leased").Set(3)
	m.slotsOf("a", s.freeSlots(), sum(s.demand.Quarantined))
	m.slotsOf("b", 1, 0)
	want("both", map[string]float64{"a leased": 3, "a free": 10, "a quarantined": 3, "b free": 1, "b quarantined": 0})
	m.forget("b")
	want("without b", map[string]float64{"a leased": 3, "a free": 10, "a quarantined": 3})
	m.forgetAll()
	want("when it leads no more", map[string]float64{"a leased": 3})
}
