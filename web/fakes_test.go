package web

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// fakeServices answers what it is given, and remembers commands.
type fakeServices struct {
	mu        sync.Mutex
	statuses  []jobs.Status
	starts    []jobs.ColdStart // newest first
	decided   []decide.Decision
	points    map[string][]jobs.Point
	commands  map[string][]jobs.Command
	err       error
	announced chan change
}

func newFakeServices() *fakeServices {
	return &fakeServices{points: map[string][]jobs.Point{}, commands: map[string][]jobs.Command{}, announced: make(chan change, 64)}
}

func (f *fakeServices) set(change func(f *fakeServices)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeServices) Statuses(context.Context) ([]jobs.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.statuses), f.err
}

func (f *fakeServices) ColdStarts(_ context.Context, service string, limit int) ([]jobs.ColdStart, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return firstOf(f.starts, limit, func(c jobs.ColdStart) bool { return service == "" || c.Service == service }), f.err
}

func (f *fakeServices) Decisions(_ context.Context, service string, limit int) ([]decide.Decision, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return firstOf(f.decided, limit, func(d decide.Decision) bool { return service == "" || d.Service == service }), f.err
}

func (f *fakeServices) Timeline(_ context.Context, service string, limit int) ([]jobs.Point, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.points[service]
	return slices.Clone(list[max(0, len(list)-limit):]), f.err
}

func (f *fakeServices) Changes(ctx context.Context, fn func(topic, service string)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-f.announced:
			fn(c.topic, c.service)
		}
	}
}

func (f *fakeServices) Operate(_ context.Context, service string, cmd jobs.Command) (jobs.Command, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cmd.At = time.Now().UTC()
	f.commands[service] = append(f.commands[service], cmd)
	return cmd, f.err
}

func firstOf[T any](list []T, limit int, keep func(T) bool) []T {
	var out []T
	for _, v := range list {
		if keep(v) && len(out) < limit {
			out = append(out, v)
		}
	}
	return out
}

const translateText = `# English and Spanish.
policy "translate" {
  job = "translate-apertium"

  route {
    path_prefixes = ["/translate"]
  }
  translate {
    backend = "apertium"
  }
  replicas {
    max         = 3
    concurrency = 2
  }
  to_zero {
    after = "30s"
  }
}
`

func ptr[T any](v T) *T { return &v }

// newTestServer has one policy, translate, of version 1.
func newTestServer(t *testing.T, change ...func(*Config)) (*Server, *fakeServices, policies.Store) {
	t.Helper()
	services, store := newFakeServices(), policies.NewMemory()
	if _, err := store.Put(t.Context(), "translate", translateText, 0, "ada", "first"); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Services: services, Policies: store, Specs: []string{"translate-apertium"}, DataURL: "http://127.0.0.1:8080", Version: "test"}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, services, store
}

// readyStatus of a service with one replica.
func readyStatus(name string, at time.Time) jobs.Status {
	return jobs.Status{
		Name: name, State: jobs.StateReady, PolicyVersion: 1, At: at, Reason: "2 in flight need 1 replica",
		Replicas: jobs.ReplicaCounts{Wanted: 1, Ready: 1, List: []jobs.Replica{{
			ID: "0f0e0d0c-aaaa-bbbb-cccc-000000000001", Region: "local", Node: "gpu-1", Address: "127.0.0.1:20001", Phase: jobs.Ready,
			Since: at.Add(-time.Minute), Launched: at.Add(-2 * time.Minute), Slots: 8, InFlight: 2, GPUUtilizationPercent: ptr(63.0), GPUMemoryUsedBytes: ptr(54e9)}}},
		Demand: jobs.DemandCounts{InFlight: 2}, QPS: ptr(1.5), Latency: jobs.Quantiles{P50: ptr(420.0), P95: ptr(1234.0), P99: ptr(2000.0)},
		GPU: ptr(63.0), Cold: jobs.ColdStartStats{P50: ptr(94.0), P90: ptr(120.0), Last: ptr(88.0), Count: 7},
	}
}

func coldStart(service, id string, at time.Time, ms ...float64) jobs.ColdStart {
	names := []string{jobs.PhaseDecide, jobs.PhasePlace, jobs.PhasePull, jobs.PhaseStart, jobs.PhaseLoad, jobs.PhaseReady, jobs.PhaseFirstByte}
	c := jobs.ColdStart{ID: id, Service: service, Replica: "0f0e0d0c-aaaa-bbbb-cccc-" + id, Region: "local", Reason: "3 held", StartedAt: at, RequestsWaiting: 3, Outcome: jobs.OutcomeAnswered}
	for i, d := range ms {
		c.Phases = append(c.Phases, jobs.ColdStartPhase{Name: names[i], StartMS: c.DurMS, DurMS: d})
		c.DurMS += d
	}
	return c
}
