package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/pilotlight/pilotlight/internal/subscribe"
	"github.com/pilotlight/pilotlight/jobs"
)

// Config of a Queue.
type Config struct {
	Redis     redis.UniversalClient
	Activator string        // one incarnation: unique per process; default random
	Lease     time.Duration // an activator silent for longer is dead; default 4.5 s
	Heartbeat time.Duration // statements at least this often while active; default 1 s
	Suspicion time.Duration // how long a replica that failed gets no slot; default 1 s
	Timeout   time.Duration // of one script call; default 2 s
	Logger    *slog.Logger

	// WaitReplicas is how many replicas of Redis must have a durable request before
	// Submit returns; else it is ErrStoreUnavailable. Default 0.
	WaitReplicas int
	// Address at which peers reach Ask's counterpart, host:port; "" if they cannot.
	Address string
	// Ask tells the activator at address what this one sees, and returns what that
	// one answered with its Meet; ErrGone if nobody listens there any more. It has
	// a deadline in its ctx. Default nil: peers are not asked, and every silence of
	// Redis is taken for an outage of everybody.
	Ask func(ctx context.Context, address string, mine View) (theirs View, err error)
	// Execute runs a durable request in its slot; see Execution. Default nil: this
	// activator takes no durable requests.
	Execute func(ctx context.Context, e *Execution) error
}

// Defaults fills what is not set.
func (c *Config) Defaults() {
	if c.Activator == "" {
		c.Activator = rand.Text()[:12]
	}
	if c.Lease == 0 {
		c.Lease = 4500 * time.Millisecond
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
	if strings.ContainsAny(c.Activator, "|~ ") {
		return fmt.Errorf("queue: activator id %q must not contain '|', '~' or a space", c.Activator)
	}
	if strings.ContainsAny(c.Address, "| ") {
		return fmt.Errorf("queue: address %q must be host:port", c.Address)
	}
	if c.WaitReplicas < 0 {
		return fmt.Errorf("queue: WaitReplicas is %d; allowed: 0 and above", c.WaitReplicas)
	}
	return nil
}

// term is how long an activator trusts its own lease: less than Redis does, by
// what clocks may differ in speed.
func (c *Config) term() time.Duration { return c.Lease - c.Lease/10 }

// silent is how long after its last statement an activator is asked for by its
// peers: one heartbeat was missed.
func (c *Config) silent() time.Duration { return c.Heartbeat + c.Heartbeat/2 }

// Queue is an activator's side of the protocol.
type Queue struct {
	cfg Config

	mu       sync.RWMutex
	services map[string]*service
	start    chan *service
	stopped  chan struct{}
	stopOnce sync.Once
	asking   sync.WaitGroup // calls under way
	runsOn   sync.WaitGroup // executions under way
	runCtx   context.Context
	endRuns  context.CancelCauseFunc
	peers    peers
	readers  readers
	listed   sync.Map // service → when it was last listed as one with durable tickets
}

// New returns a Queue; Run must be running for anybody to be released.
func New(cfg Config) (*Queue, error) {
	cfg.Defaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	q := &Queue{
		cfg:      cfg,
		services: map[string]*service{},
		start:    make(chan *service, 1),
		stopped:  make(chan struct{}),
		peers:    peers{known: map[string]string{}, asked: map[string]time.Time{}, dead: map[string]time.Time{}},
		readers:  readers{of: map[string]map[chan struct{}]bool{}},
	}
	q.runCtx, q.endRuns = context.WithCancelCause(context.Background())
	return q, nil
}

// Activator returns this activator's id.
func (q *Queue) Activator() string { return q.cfg.Activator }

// Run settles with Redis until ctx ends; then durable requests under way are
// handed to others, and Redis is told once more that nothing is held, so that
// slots need not wait for their lease to end.
func (q *Queue) Run(ctx context.Context) error {
	defer q.asking.Wait()
	defer q.runsOn.Wait()
	defer q.Stop()
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { q.endRuns(ErrStopped) })()
	g.Go(func() error { return q.listen(ctx) })
	g.Go(func() error { return q.followAnswers(ctx) })
	g.Go(func() error { return q.watchPeers(ctx) })
	g.Go(func() error { return q.watchDurable(ctx) })
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

// Stop makes every Hold return ErrStopped: those that wait, and new ones; durable
// requests that wait are left to others. Requests that have a slot go on.
func (q *Queue) Stop() { q.stopOnce.Do(func() { close(q.stopped) }) }

// runs reports whether this activator takes durable requests to execute.
func (q *Queue) runs() int {
	select {
	case <-q.stopped:
		return 0
	default:
	}
	if q.cfg.Execute == nil {
		return 0
	}
	return 1
}

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
		s.dead = q.peers.lately() // under q.mu: whoever is found dead later finds s
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
	connected := func() { // again: anything may have changed
		for _, s := range q.all() {
			s.kick()
		}
	}
	return subscribe.Follow(ctx, q.cfg.Redis, slotsChannel, q.cfg.Logger, connected, func(payload string) {
		kind, name, _ := strings.Cut(payload, " ")
		if kind == "d" && q.runs() == 1 {
			q.service(name).kick() // perhaps nobody else can run it
		} else if s := q.known(name); s != nil {
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
