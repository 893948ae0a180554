package scaler

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/internal/redistest"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/history"
)

// house is everything around one scaler in a bubble.
type house struct {
	t        *testing.T
	fleet    *fleet
	ledger   *ledger
	policies *shelf
	history  *history.History
	written  *written
	redis    *miniredis.Miniredis
	client   redis.UniversalClient
	specs    func(string) (*jobs.Spec, bool)
	log      io.Writer
	lease    Lease
	runs     Fleet             // what the scaler runs replicas on; nil: fleet
	through  http.RoundTripper // of probes, scrapes and queries; nil: the fleet
	asks     *url.URL          // Prometheus
	tick     time.Duration     // 0: the default
	stop     func()
}

// play runs story in a bubble with a house whose one service is "translate".
func play(t *testing.T, p *policies.Policy, story func(t *testing.T, h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server, client := redistest.Redis(t)
		h := &house{
			t: t, fleet: newFleet(), ledger: newLedger(), policies: &shelf{},
			history: history.New(client), written: &written{}, redis: server, client: client, specs: known1, log: io.Discard,
		}
		if testing.Verbose() {
			h.log = t.Output()
		}
		h.policies.put(p)
		h.start()
		story(t, h)
		h.stop()
	})
}

func known1(job string) (*jobs.Spec, bool) {
	return &jobs.Spec{ID: job, Type: "service", Groups: []jobs.Group{{Name: "server", Tasks: []jobs.Task{{Name: "model"}}}}}, true
}

// written is what the scaler has written, in order.
type written struct {
	mu   sync.Mutex
	list []writing
}

type writing struct {
	at time.Time
	history.Entry
}

// since returns what was begun to be written at or after that moment.
func (w *written) since(at time.Time) []writing {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.list, func(e writing) bool { return !e.at.Before(at) })
	if i < 0 {
		return nil
	}
	return slices.Clone(w.list[i:])
}

// notedHistory notes what is written.
type notedHistory struct {
	*history.History
	written *written
}

func (n notedHistory) Write(ctx context.Context, e history.Entry) error {
	n.written.mu.Lock()
	n.written.list = append(n.written.list, writing{time.Now(), e})
	n.written.mu.Unlock()
	return n.History.Write(ctx, e)
}

// start runs a new scaler; stop ends it and waits.
func (h *house) start() {
	through := h.through
	if through == nil {
		through = h.fleet
	}
	var runs Fleet = h.fleet
	if h.runs != nil {
		runs = h.runs
	}
	s, err := New(Config{
		Fleet: runs, Ledger: h.ledger, Policies: h.policies, Specs: h.specs, History: notedHistory{h.history, h.written},
		Logger: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Client: &http.Client{Transport: through},
		Lease:  h.lease, Prometheus: h.asks, Tick: h.tick,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			h.t.Errorf("Run: %v", err)
		}
	}()
	h.stop = sync.OnceFunc(func() { cancel(); <-done })
	pass(1100 * time.Millisecond) // past the first tick
}

// status is what was published last.
func (h *house) status() jobs.Status {
	h.t.Helper()
	list, err := h.history.Statuses(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, s := range list {
		if s.Name == "translate" {
			return s
		}
	}
	return jobs.Status{}
}

// policy returns a policy of one slot per replica, up to three replicas.
func policy(change func(p *policies.Policy)) *policies.Policy {
	p := policies.New("translate")
	p.Job = "translate"
	p.Route.PathPrefixes = []string{"/translate"}
	p.Replicas = policies.Replicas{Max: 3, Concurrency: 2}
	p.ToZero = policies.ToZero{Mode: "after", After: time.Minute, AtLeast: 30 * time.Second, AtMost: 30 * time.Minute}
	p.Probe.Max = time.Minute
	if change != nil {
		change(p)
	}
	return p
}

// shelf is a policy store without text.
type shelf struct {
	mu       sync.Mutex
	list     []policies.Version
	version  int
	watchers []func()
}

func (s *shelf) put(p *policies.Policy) {
	s.mu.Lock()
	s.version++
	s.list = slices.DeleteFunc(s.list, func(v policies.Version) bool { return v.Name == p.Name })
	s.list = append(s.list, policies.Version{Name: p.Name, Version: s.version, Policy: p})
	watchers := s.watchers
	s.mu.Unlock()
	for _, fn := range watchers {
		fn()
	}
}

func (s *shelf) remove(name string) {
	s.mu.Lock()
	s.list = slices.DeleteFunc(s.list, func(v policies.Version) bool { return v.Name == name })
	watchers := s.watchers
	s.mu.Unlock()
	for _, fn := range watchers {
		fn()
	}
}

// spoil makes the policy one that cannot be read here.
func (s *shelf) spoil(name string) {
	s.mu.Lock()
	s.version++
	s.list = slices.DeleteFunc(s.list, func(v policies.Version) bool { return v.Name == name })
	s.list = append(s.list, policies.Version{Name: name, Version: s.version})
	watchers := s.watchers
	s.mu.Unlock()
	for _, fn := range watchers {
		fn()
	}
}

func (s *shelf) List(context.Context) ([]policies.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var readable, not []policies.Version
	for _, v := range s.list {
		if v.Policy == nil {
			not = append(not, v)
		} else {
			readable = append(readable, v)
		}
	}
	if len(not) > 0 {
		return readable, &policies.UnreadableError{Versions: not, Err: errors.New("from a later version of the program")}
	}
	return readable, nil
}

func (s *shelf) Watch(ctx context.Context, changed func()) error {
	s.mu.Lock()
	s.watchers = append(s.watchers, changed)
	s.mu.Unlock()
	changed()
	<-ctx.Done()
	return nil
}

func (s *shelf) Get(context.Context, string) (policies.Version, error) {
	return policies.Version{}, policies.ErrNotFound
}

func (s *shelf) Put(context.Context, string, string, int, string, string) (policies.Version, error) {
	return policies.Version{}, policies.ErrNotFound
}

func (s *shelf) Delete(context.Context, string, int, string, string) (policies.Version, error) {
	return policies.Version{}, policies.ErrNotFound
}

func (s *shelf) Versions(context.Context, string) ([]policies.Version, error) { return nil, nil }

// pass lets d go by. All that happens until then happens before it returns, so
// that a test may read what the others wrote.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// within waits for a condition, in steps short against everything measured.
func within(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	synctest.Wait()
	for end := time.Now().Add(limit); !condition(); pass(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
