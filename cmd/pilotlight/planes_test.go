package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/decide"
	"github.com/pilotlight/pilotlight/web"
)

// controlPlane is the real one over policies in memory and a scaler that only
// listens.
type controlPlane struct {
	handler  http.Handler
	store    *agedStore
	services *scalerReports

	mu     sync.Mutex
	before func() error // once, before the next change by the API
}

func newControlPlane() (*controlPlane, error) {
	c := &controlPlane{store: &agedStore{Memory: policies.NewMemory()}, services: &scalerReports{}}
	server, err := web.New(web.Config{Services: c.services, Policies: c.store, Recordings: recorded{}, Shadows: &shadows{}, Room: roomForTwo, Version: "test"})
	if err != nil {
		return nil, err
	}
	c.handler = server.Handler()
	return c, nil
}

// agedStore may have first versions that an earlier version of the program took.
type agedStore struct {
	*policies.Memory
	first atomic.Pointer[string] // their text; nil: as they were saved
}

func (s *agedStore) Versions(ctx context.Context, name string) ([]policies.Version, error) {
	list, err := s.Memory.Versions(ctx, name)
	if first := s.first.Load(); first != nil && len(list) > 0 {
		oldest := &list[len(list)-1]
		oldest.Text, oldest.Policy = *first, nil
	}
	return list, err
}

// roomForTwo is a cluster that can run two replicas of the job "large", and any
// number of others.
func roomForTwo(_ context.Context, p *policies.Policy) (jobs.Room, error) {
	if p.Job != "large" {
		return jobs.Room{}, nil
	}
	return jobs.Room{PerReplica: 4, Device: "nvidia/gpu", GPUs: 8, Nodes: 1, Replicas: 2, Where: "datacenter dc1"}, nil
}

func (c *controlPlane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut || r.Method == http.MethodDelete || strings.HasSuffix(r.URL.Path, "/rollback") {
		c.mu.Lock()
		before := c.before
		c.before = nil
		c.mu.Unlock()
		if before != nil {
			if err := before(); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
		}
	}
	c.handler.ServeHTTP(w, r)
}

func (c *controlPlane) beforeChange(fn func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before = fn
}

// put saves a policy as somebody else.
func (c *controlPlane) put(text, comment string) error {
	ps, err := policies.Parse("", []byte(text))
	if err != nil {
		return err
	}
	ctx := context.Background()
	v, err := c.store.Get(ctx, ps[0].Name)
	if err != nil && !errors.Is(err, policies.ErrNotFound) {
		return err
	}
	_, err = c.store.Put(ctx, ps[0].Name, text, v.Version, "somebody", comment)
	return err
}

func (c *controlPlane) remove(name string) error {
	ctx := context.Background()
	v, err := c.store.Get(ctx, name)
	if err != nil {
		return err
	}
	_, err = c.store.Delete(ctx, name, v.Version, "somebody", "")
	return err
}

func (c *controlPlane) operated() []string {
	c.services.mu.Lock()
	defer c.services.mu.Unlock()
	return c.services.commands
}

// scalerReports are what a scaler has published.
type scalerReports struct {
	mu       sync.Mutex
	commands []string
}

// Statuses are of a service that starts, of one that cannot, and of one that an
// operator has paused.
func (s *scalerReports) Statuses(context.Context) ([]jobs.Status, error) {
	at := time.Now().UTC()
	waking := jobs.Status{Name: "translate", State: jobs.StateWaking, At: at, ETA: new(41.2), QPS: new(0.25), Oldest: new(3.5),
		Demand: jobs.DemandCounts{Held: 3}, PolicyVersion: 2, Reason: "3 requests wait: 0 → 1",
		Replicas: jobs.ReplicaCounts{Wanted: 1, Starting: 1, List: []jobs.Replica{{ID: "a1b2", Node: "gpu-1", Address: "10.0.0.7:21000",
			Phase: jobs.Starting, Slots: 4, Since: time.Date(2026, 9, 7, 8, 0, 0, 0, time.UTC)}}},
		Cold: jobs.ColdStartStats{P50: new(44.0), P90: new(61.5), Last: new(43.0), Count: 7}}
	blocked := jobs.Status{Name: "chat", State: jobs.StateBlocked, At: at, Blocked: new("no free GPU: 2 nodes, 0 of 4 nvidia/gpu free"),
		Replicas: jobs.ReplicaCounts{Wanted: 1, Pending: 1}}
	paused := jobs.Status{Name: "paused", State: jobs.StatePaused, At: at, Paused: new("paused by ann: maintenance"),
		PausedAt: new(time.Date(2026, 9, 7, 8, 0, 0, 0, time.UTC)), Reason: "paused by ann (maintenance): count stays at 1",
		Replicas: jobs.ReplicaCounts{Wanted: 1, Ready: 1}}
	return []jobs.Status{waking, blocked, paused}, nil
}

func (s *scalerReports) ColdStarts(_ context.Context, service string, _ int) ([]jobs.ColdStart, error) {
	if service != "translate" {
		return nil, nil
	}
	return []jobs.ColdStart{{Service: service, Replica: "a0b1", Outcome: jobs.OutcomeAnswered, DurMS: 44_000,
		Phases: []jobs.ColdStartPhase{{Name: jobs.PhasePlace, DurMS: 500}, {Name: jobs.PhaseLoad, DurMS: 42_500}}}}, nil
}

func (s *scalerReports) Decisions(context.Context, string, int) ([]decide.Decision, error) {
	return nil, nil
}

func (s *scalerReports) Timeline(context.Context, string, int) ([]jobs.Point, error) { return nil, nil }

func (s *scalerReports) Changes(ctx context.Context, _ func(topic, service string)) error {
	<-ctx.Done()
	return ctx.Err()
}

func (s *scalerReports) Operate(_ context.Context, service string, cmd jobs.Command) (jobs.Command, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = append(s.commands, fmt.Sprintf("%s %s %d %q", service, cmd.Verb, cmd.Replicas, cmd.Reason))
	return cmd, nil
}

// shadows are drafts whose scaler begins with them once they have been looked at.
type shadows struct {
	mu    sync.Mutex
	draft *jobs.Shadow
	looks int
}

func (s *shadows) SetShadow(_ context.Context, _ string, draft jobs.Shadow) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draft, s.looks = &draft, 0
	return nil
}

func (s *shadows) RemoveShadow(context.Context, string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := s.draft != nil
	s.draft = nil
	return there, nil
}

func (s *shadows) Shadow(context.Context, string) (*jobs.Shadow, *jobs.ShadowStanding, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.looks++; s.draft == nil || s.looks == 1 {
		return s.draft, nil, nil
	}
	return s.draft, &jobs.ShadowStanding{ObservedS: 5400, Wanted: 2, LiveWanted: 1, DiffersS: 600, GPUSeconds: 9000, LiveGPUSeconds: 5400, Decisions: 12}, nil
}

func (s *shadows) ShadowSteps(context.Context, string, int) ([]jobs.ShadowStep, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var steps []jobs.ShadowStep
	for i := range 6 * min(s.looks-1, 2) { // 12 from the third look on
		steps = append(steps, jobs.ShadowStep{At: time.Date(2026, 9, 7, 8, i, 0, 0, time.UTC), Wanted: i, Live: 1})
	}
	return steps, nil
}

func (s *shadows) ShadowDecisions(context.Context, string, int) ([]decide.Decision, error) {
	return nil, nil
}

// dataPlane is a scripted one: the text of a request says what comes of it.
type dataPlane struct {
	held, gone chan struct{} // a request for "for ever" has come; its client has gone
	polled     chan struct{} // GET /health has been answered

	mu   sync.Mutex
	seen []string
}

func newDataPlane() *dataPlane {
	return &dataPlane{held: make(chan struct{}, 1), gone: make(chan struct{}, 1), polled: make(chan struct{}, 100)}
}

func (d *dataPlane) asked() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen
}

func (d *dataPlane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" {
		answerJSON(w, http.StatusOK, "application/json", map[string]any{"status": "healthy", "services": map[string]any{
			"chat":      map[string]any{"state": "zero", "ready_replicas": 0, "held": 0, "eta_s": nil, "reason": nil},
			"translate": map[string]any{"state": "waking", "ready_replicas": 0, "held": 1, "eta_s": 41.3, "reason": nil},
		}})
		select {
		case d.polled <- struct{}{}:
		default:
		}
		return
	}
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	d.seen = append(d.seen, fmt.Sprintf("%s %s %s deadline=%s", r.Method, r.URL.Path, body, r.Header.Get("Pilotlight-Deadline")))
	d.mu.Unlock()
	var asked translation
	if r.URL.Path != "/translate" || json.Unmarshal(body, &asked) != nil {
		http.NotFound(w, r)
		return
	}
	problem := func(status int, members map[string]any) {
		members["status"] = status
		answerJSON(w, status, "application/problem+json", members)
	}
	switch asked.Text {
	case "cold":
		<-d.polled
		<-d.polled // it asks again: what it learned the first time is shown
		answerJSON(w, http.StatusOK, mediaJSON, map[string]string{"translation": "frío"})
	case "for ever":
		d.held <- struct{}{}
		<-r.Context().Done()
		d.gone <- struct{}{}
	case "broken":
		w.Header().Set("Retry-After", "12")
		problem(http.StatusServiceUnavailable, map[string]any{"type": "urn:pilotlight:problem:start-failed", "title": "the model does not start",
			"detail": "the task ended while it was loading", "reason": "CUDA error: out of memory\x1b[2J", "service": "translate", "request_id": "R1"})
	case "odd":
		problem(http.StatusBadRequest, map[string]any{"type": "urn:pilotlight:problem:bad-request", "title": "the request cannot be understood",
			"detail": "target_lang: is unknown", "field": "target_lang", "allowed": "en, es", "request_id": "R2"})
	case "html":
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
	case "empty":
		answerJSON(w, http.StatusOK, mediaJSON, map[string]string{})
	default:
		answerJSON(w, http.StatusOK, mediaJSON, map[string]string{"translation": "¡Hola!"})
	}
}

// recorded is three requests in the present hour.
type recorded struct{}

func (recorded) Recorded(_ context.Context, _ string, from, to time.Time) ([]jobs.RecordedHour, error) {
	h := jobs.RecordedHour{Start: to.Add(-time.Second).UTC().Truncate(time.Hour)}
	h.Arrive(h.Start, 3)
	h.Took(2, 3)
	return []jobs.RecordedHour{h}, nil
}

func (recorded) Covered(_ context.Context, from, to time.Time) (time.Duration, error) {
	return time.Hour, nil
}
