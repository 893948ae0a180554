package activator

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/internal/redistest"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// awayStore is a Store that cannot be read while it is away.
type awayStore struct {
	policies.Store
	away atomic.Bool
}

func (s *awayStore) List(ctx context.Context) ([]policies.Version, error) {
	if s.away.Load() {
		return nil, errors.New("away")
	}
	return s.Store.List(ctx)
}

// save the policies of a text.
func (s *awayStore) save(t *testing.T, text string) {
	t.Helper()
	parsed, err := policies.Parse("test.hcl", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parsed {
		if _, err := s.Put(t.Context(), p.Name, string(policies.Format(p)), 0, "test", ""); err != nil {
			t.Fatal(err)
		}
	}
}

// starting is an activator in a bubble that has not read the policies, because
// they are away.
func starting(t *testing.T) (*Activator, *awayStore) {
	t.Helper()
	store := &awayStore{Store: policies.NewMemory()}
	store.away.Store(true)
	store.save(t, strings.Replace(translatePolicy, "hold {", "hold {\n    max_wait = \"1s\"", 1))
	_, client := redistest.Redis(t)
	var act *Activator
	q, err := queue.New(queue.Config{Redis: client, Execute: func(ctx context.Context, e *queue.Execution) error { return act.Execute(ctx, e) }})
	if err != nil {
		t.Fatal(err)
	}
	act, err = New(Config{Policies: store, Queue: q, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
		Statuses: &fakeStatuses{now: map[string]jobs.Status{}, changes: make(chan string, 10)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- q.Run(ctx) }()
	go func() { ended <- act.followPolicies(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	return act, store
}

func TestARequestThatComesBeforeThePoliciesAreReadWaitsForThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		act, store := starting(t)
		time.AfterFunc(2*time.Second, func() { store.away.Store(false) })
		for path, want := range map[string]string{
			"/nobody":                               "unknown-service",
			"/v1/models":                            `"gemma"`,
			"/pilotlight/v1/requests/translate.X-1": "request-expired",
		} {
			rec := httptest.NewRecorder()
			act.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
			if !strings.Contains(rec.Body.String(), want) {
				t.Errorf("%s: %d %s, want %s", path, rec.Code, rec.Body, want)
			}
		}
		if !act.Ready() {
			t.Error("not ready, though the policies are read")
		}
	})
}

func TestARequestThatComesWhilePoliciesCannotBeReadIsToldSoInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		act, _ := starting(t)
		begun := time.Now()
		rec := httptest.NewRecorder()
		act.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/translate", strings.NewReader("{}")))
		if rec.Code != http.StatusServiceUnavailable || !strings.Contains(rec.Body.String(), "store-unavailable") || rec.Header().Get("Retry-After") == "" {
			t.Errorf("%d %v %s", rec.Code, rec.Header(), rec.Body)
		}
		if took := time.Since(begun); took != startPatience {
			t.Errorf("told after %v, want %v", took, startPatience)
		}
		if act.Ready() {
			t.Error("ready, though no policy has been read")
		}
	})
}

func TestPoliciesThatCouldNotBeReadAreReadAgainWithoutAnotherChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		act, store := starting(t)
		store.away.Store(false)
		time.Sleep(rereadAfter)
		synctest.Wait()
		if !act.Ready() {
			t.Fatal("not ready")
		}
		store.away.Store(true)
		store.save(t, plainPolicy)
		synctest.Wait()
		if act.routes.Load().services["byhost"] != nil {
			t.Fatal("read while the store was away")
		}
		store.away.Store(false)
		time.Sleep(rereadAfter)
		synctest.Wait()
		if act.routes.Load().services["byhost"] == nil {
			t.Error("the change has been lost")
		}
	})
}

// A Redis that has lost its data has no policies any more, and nothing else says so.
func TestTheLossOfTheLastPolicyIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &awayStore{Store: policies.NewMemory()}
		store.save(t, translatePolicy)
		_, client := redistest.Redis(t)
		q, err := queue.New(queue.Config{Redis: client})
		if err != nil {
			t.Fatal(err)
		}
		var logged strings.Builder
		act, err := New(Config{Policies: store, Queue: q, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.NewTextHandler(&logged, nil)),
			Statuses: &fakeStatuses{now: map[string]jobs.Status{}, changes: make(chan string, 10)}})
		if err != nil {
			t.Fatal(err)
		}
		act.loadRoutes(t.Context())
		if logged.Len() > 0 {
			t.Fatalf("with a policy: %s", &logged)
		}
		if _, err := store.Delete(t.Context(), "translate", 1, "test", ""); err != nil {
			t.Fatal(err)
		}
		act.loadRoutes(t.Context())
		act.loadRoutes(t.Context())
		if n := strings.Count(logged.String(), "no policy is left"); n != 1 {
			t.Errorf("said %d times, want once: %s", n, &logged)
		}
	})
}
