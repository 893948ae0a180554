package activator

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/pilotlight/pilotlight/activator/front"
	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// Statuses is what the activator reads of the scaler's published state: why a
// service does not start, and how long it may take.
type Statuses interface {
	// Status returns the last published status, from memory.
	Status(service string) (jobs.Status, bool)
	// Watch calls changed with each service whose status has changed; it blocks
	// until ctx ends.
	Watch(ctx context.Context, changed func(service string)) error
}

// Config of an Activator.
type Config struct {
	Policies   policies.Store
	Queue      *queue.Queue
	Statuses   Statuses
	Registerer prometheus.Registerer
	Logger     *slog.Logger
	// Publish is how often counters go to Redis; default 1 s.
	Publish time.Duration
	// ClientPace is how fast a client has to send its body; default
	// front.DefaultPace: it may pause for 15 s in all, beyond what its bytes take at
	// 240 bytes per second.
	ClientPace front.Pace
	// MaxBuffered bounds the bytes of bodies in memory, over all services; default
	// 1 GiB.
	MaxBuffered int64
	// MaxConnsPerReplica bounds idle connections kept to one replica; default 256.
	MaxConnsPerReplica int
}

// Defaults fills what is not set.
func (c *Config) Defaults() {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Publish == 0 {
		c.Publish = time.Second
	}
	if c.ClientPace == (front.Pace{}) {
		c.ClientPace = front.DefaultPace
	}
	if c.MaxBuffered == 0 {
		c.MaxBuffered = 1 << 30
	}
	if c.MaxConnsPerReplica == 0 {
		c.MaxConnsPerReplica = 256
	}
}

// Validate says what is missing.
func (c *Config) Validate() error {
	var errs []error
	if c.Policies == nil {
		errs = append(errs, errors.New("activator: Policies is required"))
	}
	if c.Queue == nil {
		errs = append(errs, errors.New("activator: Queue is required"))
	}
	if c.Statuses == nil {
		errs = append(errs, errors.New("activator: Statuses is required"))
	}
	if c.Registerer == nil {
		errs = append(errs, errors.New("activator: Registerer is required"))
	}
	return errors.Join(errs...)
}

// Activator answers the data plane.
type Activator struct {
	cfg     Config
	log     *slog.Logger
	started time.Time
	metrics *metrics
	routes  atomic.Pointer[routes] // nil until policies have been read
	known   chan struct{}          // closed then
	proxy   *httputil.ReverseProxy
	tries   *tries
	waiting waiting
	// unrouted counts bytes of bodies read before their service is known, buffered
	// those of all bodies in memory.
	unrouted account
	buffered atomic.Int64
	// fellIdle is told when the last request in flight of a service ends.
	fellIdle chan struct{}
}

// New returns an Activator; Run must be running for it to know any service.
func New(cfg Config) (*Activator, error) {
	cfg.Defaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	a := &Activator{cfg: cfg, log: cfg.Logger, started: time.Now(), fellIdle: make(chan struct{}, 1), known: make(chan struct{})}
	a.unrouted.whole = &a.buffered
	a.metrics = newMetrics(cfg.Registerer)
	a.tries = &tries{a: a, transport: &http.Transport{
		DialContext:           gate(&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}, a.metrics.late),
		MaxIdleConns:          0,
		MaxIdleConnsPerHost:   cfg.MaxConnsPerReplica,
		IdleConnTimeout:       4 * time.Second, // below what engines keep: uvicorn closes after 5 s
		DisableCompression:    true,
		ForceAttemptHTTP2:     false,
		WriteBufferSize:       8 << 10,
		ReadBufferSize:        8 << 10,
		ExpectContinueTimeout: time.Second,
		// Of a replica's answer; the default is 10 MiB.
		MaxResponseHeaderBytes: 256 << 10,
	}}
	a.proxy = a.newProxy()
	return a, nil
}

// Run keeps routes current, publishes counters and ends waits that the scaler
// says are in vain, until ctx ends.
func (a *Activator) Run(ctx context.Context) error {
	defer a.tries.transport.CloseIdleConnections()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.followPolicies(ctx) })
	g.Go(func() error { return a.publish(ctx) })
	g.Go(func() error { return a.cfg.Statuses.Watch(ctx, a.statusChanged) })
	return g.Wait()
}

// Ready reports whether policies have been read.
func (a *Activator) Ready() bool { return a.routes.Load() != nil }

// StopHolding ends every wait with 503 shutting-down; requests in flight go on.
func (a *Activator) StopHolding() {
	a.cfg.Queue.Stop()
	a.waiting.stop(queue.ErrStopped)
}

// ServeHTTP answers one request of the data plane.
func (a *Activator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{a: a, id: requestID(r), path: r.URL.Path, arrived: time.Now()}
	if err := checkHeader(r.Header); err != nil {
		a.fail(w, r, c, err)
		return
	}
	if a.serveOwn(w, r, c) {
		return
	}
	defer a.finish(c) // also when the proxy aborts the connection by panicking
	err := a.prepare(w, r, c)
	if err == nil {
		switch {
		case c.keyed || c.prefer.async:
			err = a.durable(w, r, c)
		case c.adapter != nil:
			c.service.arrivals.Add(1)
			err = a.translate(w, r, c)
		default:
			c.service.arrivals.Add(1)
			a.forward(w, r, c)
		}
	}
	if err != nil {
		a.fail(w, r, c, err)
	}
}

// requestID is the caller's if it is short and plain, else a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if id == "" || len(id) > 128 {
		return rand.Text()
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return rand.Text()
		}
	}
	return id
}
