package web

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pilotlight/pilotlight/scaler/simulate"
)

func TestSimulationsAreFewAndAreCancelled(t *testing.T) {
	s, _, _ := newTestServer(t, func(c *Config) { c.Recordings = aDay() }) // nothing runs
	post := func() SimulationInfo {
		w := call(s, "POST", "/api/v1/policies/translate/simulate?"+onTuesday, draftText1, asHCL)
		wantStatus(t, w, 202)
		i := decode[SimulationInfo](t, w)
		if w.Header().Get("Location") != "/api/v1/simulations/"+i.ID || i.State != simulationWaiting {
			t.Errorf("%v %s", w.Header(), w.Body)
		}
		return i
	}
	first := post()
	for range waitingSimulations - 1 {
		post()
	}
	w := call(s, "POST", "/api/v1/policies/translate/simulate?"+onTuesday, draftText1, asHCL)
	wantStatus(t, w, 429)
	if w.Header().Get("Retry-After") == "" {
		t.Error("a refusal does not say when to try again")
	}
	w = call(s, "DELETE", "/api/v1/simulations/"+first.ID, "")
	wantStatus(t, w, 200)
	if i := decode[SimulationInfo](t, w); i.State != simulationCancelled || i.Reason == nil || *i.Reason != "it was cancelled" {
		t.Errorf("cancelled: %s", w.Body)
	}
	wantStatus(t, call(s, "DELETE", "/api/v1/simulations/"+first.ID, ""), 200)
	post() // what was cancelled has made room
}

func TestAProcessSaysWhetherItForgotASimulationOrAnotherOneHasIt(t *testing.T) {
	s, _, _ := newTestServer(t, func(c *Config) { c.Recordings = aDay() })
	another, _, _ := newTestServer(t, func(c *Config) { c.Recordings = aDay() })
	w := call(s, "POST", "/api/v1/policies/translate/simulate?"+onTuesday, draftText1, asHCL)
	wantStatus(t, w, 202)
	id := decode[SimulationInfo](t, w).ID
	for _, method := range []string{"GET", "DELETE"} {
		w := call(another, method, "/api/v1/simulations/"+id, "")
		wantStatus(t, w, 404)
		if !strings.Contains(w.Body.String(), "belongs to the process of the control plane that began it") {
			t.Errorf("another process answers %s", w.Body)
		}
	}
	s.simulations.mu.Lock()
	clear(s.simulations.byID)
	s.simulations.mu.Unlock()
	w = call(s, "GET", "/api/v1/simulations/"+id, "")
	wantStatus(t, w, 404)
	if text := w.Body.String(); !strings.Contains(text, "not kept any more: 20 of a process are, for 15m after their end") {
		t.Errorf("its own process answers %s", text)
	}
}

func TestASimulationThatNobodyAsksForEndsAndIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newSimulations(slog.New(slog.DiscardHandler))
		endless := func() *simulation {
			j := &simulation{service: "translate", setup: simulate.DefaultSetup(),
				open: func() (simulate.Source, func(), error) { return &trickle{}, func() {}, nil }}
			if !all.add(j) {
				t.Fatal("no room")
			}
			return j
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); all.run(ctx) }()
		asked, left := endless(), endless()
		for range 3 {
			time.Sleep(30 * time.Second)
			all.find(asked.id)
		}
		now := time.Now()
		if i := left.info(now); i.State != simulationCancelled || *i.Reason != errSimulationAbandoned.Error() {
			t.Errorf("nobody asked for it for 90 s, and it stands as %+v", i)
		}
		if i := asked.info(now); i.State != simulationRunning {
			t.Errorf("somebody asks for it, and it stands as %+v", i)
		}
		time.Sleep(20 * time.Second)
		all.find(asked.id)
		time.Sleep(20 * time.Second)
		if i := asked.info(time.Now()); i.State != simulationFailed || !strings.Contains(*i.Reason, "took longer than 2m0s") {
			t.Errorf("after its time it stands as %+v", i)
		}
		time.Sleep(keepSimulation + time.Minute)
		if all.find(asked.id) != nil || all.find(left.id) != nil {
			t.Error("they are kept")
		}
		last := endless()
		time.Sleep(time.Second)
		cancel()
		<-done
		if i := last.info(time.Now()); i.State != simulationCancelled || *i.Reason != errSimulationStopping.Error() {
			t.Errorf("the server ended, and it stands as %+v", i)
		}
	})
}

// trickle is a source that gives a request a second of real time, for ever.
type trickle struct{ n int }

func (s *trickle) Next() (simulate.Request, error) {
	time.Sleep(time.Second)
	s.n++
	return simulate.Request{At: time.Duration(s.n) * 7 * time.Hour, Service: "a", Seconds: 1}, nil
}

// faulty is a source that is broken.
type faulty struct{}

func (faulty) Next() (simulate.Request, error) { panic("no such step") }

func TestASimulationThatBreaksFailsAloneAndIsLoggedWithItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		all := newSimulations(slog.New(slog.NewTextHandler(&log, nil)))
		j := &simulation{service: "translate", setup: simulate.DefaultSetup(),
			open: func() (simulate.Source, func(), error) { return faulty{}, func() {}, nil }}
		if !all.add(j) {
			t.Fatal("no room")
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); all.run(ctx) }()
		j.await(t.Context(), time.Minute)
		if info := j.info(time.Now()); info.State != simulationFailed || *info.Reason != "the replay failed: no such step" {
			t.Errorf("it stands as %+v", info)
		}
		cancel()
		<-done
		if text := log.String(); !strings.Contains(text, "service=translate") || !strings.Contains(text, "faulty") {
			t.Errorf("logged: %s", text)
		}
	})
}
