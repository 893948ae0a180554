package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/internal/redisdb"
	"github.com/pilotlight/pilotlight/jobs"
)

// The load of the hold benchmark.
const (
	heldAtOnce    = 50_000
	heldEach      = 5_000 // at each of several activators
	heldNodes     = 3
	heldSlots     = 64                   // of a replica
	heldAnswer    = 5 * time.Millisecond // that it takes to answer
	heldAtReady   = 500                  // when a replica answers its probe
	readyRounds   = 10
	goneRounds    = 5
	silentRounds  = 3
	yardstickRuns = 20_000
)

const holdMethod = `one redis-server with an append-only file (fsync each second), activators as processes of their own, and
a replica that answers after 5 ms, in the measuring process. 50,000 clients send a POST with a 200-byte body to one
activator; they are connections inside its process, because a process may open fewer files than that. Memory is the
growth of the resident process per held request, after a collection of garbage, and of Redis' used_memory less the
body. Then a replica of 64 slots is offered. Order is that of the tickets in Redis against that in which the replica
was asked: a request may be late or early by what is under way at once. The yardstick is a script that returns 1, called as
often at once, in the same minute; CPU is user and system of a whole process, which a busy machine changes less than
times. Then 3 activators hold 5,000 each and are offered 3 such replicas; 500 held
requests are offered a replica of 500 slots, 10 times; and the activator that runs a keyed request is killed, or
stopped, so that its address refuses, or does not answer.`

// Hold measures held requests: what they cost, how fast they are released, and
// what becomes of those of an activator that dies. It takes about two minutes.
func Hold(ctx context.Context, cfg Config) (result Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	h := &hold{cfg: cfg, replica: &heldReplica{}}
	defer func() { err = errors.Join(err, h.stop()) }()
	if err := h.start(ctx); errors.Is(err, redisdb.ErrNoServer) {
		return Result{Name: "hold", Skipped: err.Error()}, nil
	} else if err != nil {
		return Result{}, err
	}
	h.result = Result{Name: "hold", Method: oneLine(holdMethod)}
	for _, measure := range []func(context.Context) error{h.atOnce, h.several, h.atReady, h.adoption} {
		if err := measure(ctx); err != nil {
			return Result{}, err
		}
	}
	return h.result, nil
}

// hold is everything around the activators under measurement.
type hold struct {
	cfg     Config
	result  Result
	dir     string
	redis   redis.UniversalClient
	url     string
	ledger  *queue.Ledger
	replica *heldReplica
	nodes   []*heldNode
	next    int // number of the next request
	ends    []func() error
}

func (h *hold) start(ctx context.Context) (err error) {
	if h.dir, err = os.MkdirTemp("", "pilotlight-bench-"); err != nil {
		return err
	}
	h.ends = append(h.ends, func() error { return os.RemoveAll(h.dir) })
	server, err := redisdb.NewServer(h.dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ready, ended := make(chan redis.UniversalClient, 1), make(chan error, 1)
	go func() { ended <- server.Run(run, func(c redis.UniversalClient) { ready <- c }) }()
	select {
	case h.redis = <-ready:
	case err := <-ended:
		cancel()
		return err
	}
	h.ends = append(h.ends, func() error { cancel(); return <-ended })
	h.url = "unix://" + h.redis.(*redis.Client).Options().Addr
	h.ledger = queue.NewLedger(h.redis, nil)
	return h.replica.start(h)
}

func (h *hold) stop() error {
	var errs []error
	for _, n := range h.nodes {
		errs = append(errs, n.stop())
	}
	for _, end := range slices.Backward(h.ends) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// heldNode is an activator in a process of its own.
type heldNode struct {
	*child
	address string
}

func (h *hold) node(ctx context.Context) (*heldNode, error) {
	c, err := startChild(ctx, h.cfg.Binary, nil, "bench", "part", PartHold, "--redis", h.url)
	if err != nil {
		return nil, err
	}
	n := &heldNode{child: c}
	h.nodes = append(h.nodes, n)
	n.address, err = c.field(ctx, "listening")
	return n, err
}

// end ends all activators.
func (h *hold) end() error {
	var errs []error
	for _, n := range h.nodes {
		errs = append(errs, n.stop())
	}
	h.nodes = nil
	return errors.Join(errs...)
}

// do sends a command and returns the state after it.
func (n *heldNode) do(ctx context.Context, command string) (heldState, error) {
	if _, err := fmt.Fprintln(n.in, command); err != nil {
		return heldState{}, err
	}
	var line string
	select {
	case line = <-n.lines:
	case <-ctx.Done():
		return heldState{}, ctx.Err()
	}
	var s heldState
	if err := json.Unmarshal([]byte(line), &s); err != nil {
		return heldState{}, fmt.Errorf("state %q: %w; its last words:\n%s", line, err, n.errors)
	}
	return s, nil
}

// hold has the node hold n more requests, and waits until Redis has them all.
func (h *hold) hold(ctx context.Context, n *heldNode, count, total int) error {
	first := h.next
	h.next += count
	if _, err := n.do(ctx, fmt.Sprintf("hold %d %d", first, count)); err != nil {
		return err
	}
	return every(ctx, 2*time.Millisecond, func() (bool, error) {
		d, err := h.redis.ZCard(ctx, queue.KeyOfQueue(heldService)).Result()
		return int(d) >= total, err
	})
}

// answered waits until the node has had so many answers since the start.
func (n *heldNode) answered(ctx context.Context, want int) (s heldState, err error) {
	err = every(ctx, 5*time.Millisecond, func() (bool, error) {
		s, err = n.do(ctx, "state")
		return s.Answered >= want, err
	})
	if err == nil && s.Wrong > 0 {
		err = fmt.Errorf("%d of %d answers were not 200", s.Wrong, s.Answered)
	}
	return s, err
}

// every asks again and again until ok, an error, or the end of ctx.
func every(ctx context.Context, pause time.Duration, ok func() (bool, error)) error {
	look := time.NewTicker(pause)
	defer look.Stop()
	for {
		if done, err := ok(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
}

// offer so many replicas with so many slots each, all of them the one there is.
func (h *hold) offer(ctx context.Context, replicas, slots int) error {
	offers := []jobs.SlotOffer{}
	for i := range replicas {
		offers = append(offers, jobs.SlotOffer{ID: "r" + strconv.Itoa(h.next) + "-" + strconv.Itoa(i), Index: i, Address: h.replica.address, Slots: slots})
	}
	return h.ledger.Offer(ctx, heldService, 1, offers)
}

// heldReplica answers soon, and notes who came when.
type heldReplica struct {
	address string

	mu     sync.Mutex
	ids    []string
	at     []time.Time
	now    int
	most   int
	parked chan struct{} // requests wait until it is closed; nil: they do not
}

func (r *heldReplica) start(h *hold) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.address = l.Addr().String()
	srv := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }()
	h.ends = append(h.ends, srv.Close)
	return nil
}

func (r *heldReplica) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	at := time.Now()
	r.mu.Lock()
	r.ids, r.at = append(r.ids, req.Header.Get("X-Request-Id")), append(r.at, at)
	r.now++
	r.most = max(r.most, r.now)
	parked := r.parked
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.now--
		r.mu.Unlock()
	}()
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return
	}
	soon := time.After(heldAnswer)
	if parked != nil {
		soon = nil
	}
	select {
	case <-soon:
	case <-parked:
	case <-req.Context().Done():
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, upstreamAnswer)
}

// reset forgets who came.
func (r *heldReplica) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids, r.at, r.most = nil, nil, r.now
}

// came is who came, when, and how many at most at once.
func (r *heldReplica) came() (ids []string, at []time.Time, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ids), slices.Clone(r.at), r.most
}

// serverState is what Redis says of itself since it started.
type serverState struct {
	memory int64   // bytes in use
	calls  int64   // of scripts
	cpu    float64 // us, user and system
}

func (h *hold) server(ctx context.Context) (s serverState, err error) {
	text, err := h.redis.Info(ctx, "memory", "commandstats", "cpu").Result()
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "used_memory":
			s.memory, err = strconv.ParseInt(value, 10, 64)
		case "cmdstat_evalsha":
			_, err = fmt.Sscanf(value, "calls=%d,", &s.calls)
		case "used_cpu_user", "used_cpu_sys":
			var seconds float64
			seconds, err = strconv.ParseFloat(value, 64)
			s.cpu += seconds * 1e6
		}
		if err != nil {
			return s, fmt.Errorf("what Redis says of itself, %q: %w", line, err)
		}
	}
	return s, nil
}
