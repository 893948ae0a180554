package scaler

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestAPictureFromBeforeTheScaleCallSparesNoVictim(t *testing.T) {
	called := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	stays := jobs.Allocation{ID: "a", Index: 0, Desired: jobs.DesiredRun, Client: jobs.ClientRunning}
	victim := jobs.Allocation{ID: "b", Index: 1, Desired: jobs.DesiredRun, Client: jobs.ClientRunning}
	r := &replica{alloc: victim, stopAsked: called, phase: jobs.Draining}
	s := &service{
		log: slog.New(slog.NewTextHandler(io.Discard, nil)), policy: policy(nil), asked: 1,
		replicas: map[string]*replica{"a": {alloc: stays, phase: jobs.Ready}, "b": r},
		seen:     jobs.Observation{Count: 2, Allocations: []jobs.Allocation{stays, victim}},
	}
	for _, after := range []time.Duration{0, 500 * time.Millisecond, stopLost} {
		if s.verifyVictims(called.Add(after)); r.stopAsked.IsZero() || s.due {
			t.Fatalf("%v after the call its victim is planned anew: it would get slots, and be stopped with requests in them", after)
		}
	}
	if s.verifyVictims(called.Add(stopLost + time.Millisecond)); !r.stopAsked.IsZero() || !s.due {
		t.Error("a call that got lost leaves its victim without slots for ever")
	}
}

func TestAMeasurementAskedForBeforeTheReplicaWasReadyIsNotOfIt(t *testing.T) {
	ready := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	r := &replica{phase: jobs.Ready, readyAt: ready}
	s := &service{ctx: context.Background(), log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		policy: policy(nil), replicas: map[string]*replica{"a": r}}
	busy := 90.0
	s.take(ready.Add(-time.Millisecond), r, s.policy.GPU, jobs.GPU{Utilization: &busy})
	if !r.gpu.read.IsZero() {
		t.Error("what the process before it measured is taken for its own")
	}
	s.take(ready, r, s.policy.GPU, jobs.GPU{Utilization: &busy})
	if r.gpu.read.IsZero() || *r.gpu.Utilization != busy {
		t.Errorf("a measurement of now is not taken: %+v", r.gpu)
	}
}
