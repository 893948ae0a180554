package nomaddouble

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"
)

// Server is the double. It is an http.Handler; Run makes its cluster work.
type Server struct {
	cfg    Config
	delays Delays
	log    *slog.Logger
	mux    *http.ServeMux

	mu      sync.Mutex
	index   uint64            // of the last raft entry
	tables  map[string]uint64 // index of each table's last change
	entries []entry           // what the event stream replays
	moved   chan struct{}     // closed at the next raft entry
	jobs    map[jobKey]*job
	evals   []*evaluation
	allocs  []*allocation
	nodes   []*node
	running *running
	queue   []func(context.Context) // work from before Run
	faults  faults
	calls   []Call

	deployments []*deployment
	startups    map[jobKey]Startup
	tokens      map[string]Rights // nil: there is no access control
}

type jobKey struct{ namespace, id string }

// running is the part of the Server that lives as long as Run.
type running struct {
	ctx context.Context
	wg  sync.WaitGroup
}

// Call is one request that the double has had.
type Call struct {
	Method string
	Path   string
	Query  url.Values
	Body   []byte
}

// New returns a double whose cluster does not work yet.
func New(cfg Config) *Server {
	if len(cfg.Nodes) == 0 {
		cfg.Nodes = []Node{{Name: "node-1"}}
	}
	if cfg.Dir == "" {
		cfg.Dir = os.TempDir()
	}
	if cfg.MaxKillTimeout == 0 {
		cfg.MaxKillTimeout = 30 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg:    cfg,
		delays: cfg.Delays.over(DefaultDelays()),
		log:    cfg.Logger,
		index:  1,
		tables: make(map[string]uint64),
		moved:  newMoved(),
		jobs:   make(map[jobKey]*job),

		startups: make(map[jobKey]Startup),
	}
	for _, n := range cfg.Nodes {
		n := newNode(n)
		s.nodes = append(s.nodes, n)
		s.write([]string{tableNodes}, func(index uint64) []event {
			n.create, n.modify = index, index
			n.note("Cluster", "Node registered", index)
			return []event{nodeEvent("NodeRegistration", n)}
		})
	}
	s.faults.cut = newMoved()
	s.mux = s.routes()
	return s
}

// Run is the life of the cluster: scheduler, clients, processes. It blocks
// until ctx ends and everything it started has ended.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.running != nil {
		s.mu.Unlock()
		return errors.New("nomaddouble: Run runs already")
	}
	r := &running{ctx: ctx}
	s.running = r
	for _, work := range s.queue {
		s.spawn(work)
	}
	s.queue = nil
	s.mu.Unlock()

	<-ctx.Done()
	s.mu.Lock()
	s.running = nil
	s.mu.Unlock()
	r.wg.Wait()
	return nil
}

// spawn lets Run do work, now or as soon as it runs. s.mu is held.
func (s *Server) spawn(work func(context.Context)) {
	if r := s.running; r != nil {
		r.wg.Go(func() { work(r.ctx) })
		return
	}
	s.queue = append(s.queue, work)
}

// ServeHTTP answers like an agent.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	if err != nil {
		return // the client has gone
	}
	s.mu.Lock()
	s.calls = append(s.calls, Call{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Body: body})
	rights := s.rights(r)
	s.mu.Unlock()
	ctx := context.WithValue(r.Context(), bodyKey{}, body)
	ctx = context.WithValue(ctx, rightsKey{}, rights)
	r = r.WithContext(ctx)
	s.faulty(w, r, func(w http.ResponseWriter) {
		if s.permits(w, r) {
			s.mux.ServeHTTP(w, r)
		}
	})
}

// rightsKey finds what the request's token may do.
type rightsKey struct{}

// bodyKey finds the request's body, read once.
type bodyKey struct{}

func body(r *http.Request) []byte {
	b, _ := r.Context().Value(bodyKey{}).([]byte)
	return b
}

// decode reads the body of a request into v, or refuses it.
func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.Unmarshal(body(r), v); err != nil {
		refuse(w, 400, "%v", err)
		return false
	}
	return true
}

// Calls returns the requests so far whose method and path are as given; "" is
// any.
func (s *Server) Calls(method, path string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var calls []Call
	for _, c := range s.calls {
		if (method == "" || c.Method == method) && (path == "" || c.Path == path) {
			calls = append(calls, c)
		}
	}
	return calls
}

// answer writes v as JSON with the index of what was read.
func answer(w http.ResponseWriter, index uint64, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Nomad-Index", fmt.Sprint(max(index, 1)))
	h.Set("X-Nomad-KnownLeader", "true")
	h.Set("X-Nomad-LastContact", "0")
	_ = json.NewEncoder(w).Encode(v) // an error means that the client has gone
}

// answerPlain writes v as JSON without an index, as what no server's state is
// behind.
func answerPlain(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // an error means that the client has gone
}

// refuse writes an error as Nomad does: text without a newline.
func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, format, args...)
}

// CollectGarbage forgets the allocations and evaluations that are over, without
// any event, as Nomad does.
func (s *Server) CollectGarbage() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allocs = slices.DeleteFunc(s.allocs, func(a *allocation) bool { return a.gone && a.Desired == "stop" })
	s.deployments = slices.DeleteFunc(s.deployments, func(d *deployment) bool { return !d.active() })
	s.evals = slices.DeleteFunc(s.evals, func(e *evaluation) bool {
		return e.Status == "complete" || e.Status == "canceled" || e.Status == "failed"
	})
	s.write([]string{tableAllocs, tableEvals}, func(uint64) []event { return nil })
}
