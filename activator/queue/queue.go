package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/pilotlight/pilotlight/jobs"
)

// Config of a Queue.
type Config struct {
	Redis     redis.UniversalClient
	Activator string        // unique per process; default random
	Lease     time.Duration // an activator silent for longer is dead; default 5 s
	Heartbeat time.Duration // statements at least this often while active; default 1 s
	Suspicion time.Duration // how long a replica that failed gets no slot; default 1 s
	Timeout   time.Duration // of one script call; default 2 s
	Logger    *slog.Logger
}

// Defaults fills what is not set.
func (c *Config) Defaults() {
	if c.Activator == "" {
		c.Activator = rand.Text()[:12]
	}
	if c.Lease == 0 {
		c.Lease = 5 * time.Second
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = time.Second
	}
	if c.Suspicion == 0 {
		c.Suspicion = time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Validate says what is missing.
func (c *Config) Validate() error {
	if c.Redis == nil {
		return errors.New("queue: Redis is required")
	}
	if strings.ContainsAny(c.Activator, "| ") {
		return fmt.Errorf("queue: activator id %q must not contain '|' or a space", c.Activator)
	}
	return nil
}

// Errors of Hold, beside the cause of its context.
var (
	// ErrStopped: this activator is shutting down; the ticket was withdrawn.
	ErrStopped = errors.New("the activator is shutting down")
)

// FullError says that a bound on held requests is reached; nothing was held.
type FullError struct {
	Service string
	Held    int   // tickets waiting
	Bytes   int64 // of their bodies
}

func (e *FullError) Error() string {
	return fmt.Sprintf("the hold of %s is full: %d requests, %d bytes wait", e.Service, e.Held, e.Bytes)
}

// Limits of the hold of one service, from its policy.
type Limits struct {
	Requests int
	Bytes    int64
}

// Ticket of one request. ID is its identity for ever; Seq, once given by Redis,
// is its place, which it keeps when it is held again for a retry.
type Ticket struct {
	ID        string
	Service   string
	RequestID string
	Method    string
	Path      string
	Header    http.Header // Authorization and Cookie are never written to Redis
	Body      []byte
	Deadline  time.Time
	Seq       int64
}

// Wait tells how a request came to its slot.
type Wait struct {
	Held     bool      // it had to wait for Redis to hand it a slot
	Cold     bool      // no replica was ready when it arrived
	From     time.Time // when it began to wait
	ColdTill time.Time // when a replica with slots was first seen, if Cold
}

// Slot is the right to have one request in flight at one replica. Release it
// exactly once; further calls do nothing.
type Slot struct {
	Replica string
	Address string // host:port
	Index   int

	service *service
	once    sync.Once
}

// Release gives the slot back.
func (s *Slot) Release() { s.once.Do(func() { s.service.release(s.Replica, false) }) }

// ReleaseSuspect gives the slot back and keeps everybody off its replica for a
// moment: it refused or broke a connection.
func (s *Slot) ReleaseSuspect() { s.once.Do(func() { s.service.release(s.Replica, true) }) }

// Queue is an activator's side of the protocol.
type Queue struct {
	cfg Config

	mu       sync.RWMutex
	services map[string]*service
	start    chan *service
	stopped  chan struct{}
	stopOnce sync.Once
	asking   sync.WaitGroup // hold calls under way
}

// New returns a Queue; Run must be running for anybody to be released.
func New(cfg Config) (*Queue, error) {
	cfg.Defaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Queue{
		cfg:      cfg,
		services: map[string]*service{},
		start:    make(chan *service, 1),
		stopped:  make(chan struct{}),
	}, nil
}

// Activator returns this activator's id.
func (q *Queue) Activator() string { return q.cfg.Activator }

// Run settles with Redis until ctx ends, then states once more that it holds
// nothing, so that its slots need not wait for their lease to end.
func (q *Queue) Run(ctx context.Context) error {
	defer q.asking.Wait()
	defer q.Stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return q.listen(ctx) })
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case s := <-q.start:
				g.Go(func() error { return s.run(ctx) })
			}
		}
	})
	return g.Wait()
}

// Stop makes every Hold return ErrStopped: those that wait, and new ones.
// Requests that have a slot go on.
func (q *Queue) Stop() { q.stopOnce.Do(func() { close(q.stopped) }) }

// service returns the local state of a service, made at its first request.
func (q *Queue) service(name string) *service {
	q.mu.RLock()
	s := q.services[name]
	q.mu.RUnlock()
	if s != nil {
		return s
	}
	q.mu.Lock()
	if s = q.services[name]; s == nil {
		s = newService(q, name)
		q.services[name] = s
		q.mu.Unlock()
		select {
		case q.start <- s:
		case <-q.stopped:
		}
		return s
	}
	q.mu.Unlock()
	return s
}

func (q *Queue) known(name string) *service {
	q.mu.RLock()
	defer q.mu.RUnlock()
	return q.services[name]
}

func (q *Queue) all() []*service {
	q.mu.RLock()
	defer q.mu.RUnlock()
	out := make([]*service, 0, len(q.services))
	for _, s := range q.services {
		out = append(out, s)
	}
	return out
}

// listen hastens settling when somebody else changed something. What it misses
// while disconnected is found by the next heartbeat.
func (q *Queue) listen(ctx context.Context) error {
	return subscribe(ctx, q.cfg.Redis, slotsChannel, q.cfg.Logger, func(payload string) {
		if payload == "" { // connected again: anything may have changed
			for _, s := range q.all() {
				s.kick()
			}
			return
		}
		kind, name, _ := strings.Cut(payload, " ")
		if s := q.known(name); s != nil {
			if kind == "w" {
				s.othersWait()
			}
			s.kick()
		}
	})
}

// Offers returns the replicas of a service with slots, as last heard.
func (q *Queue) Offers(service string) []jobs.SlotOffer {
	if s := q.known(service); s != nil {
		return s.offersNow()
	}
	return nil
}
