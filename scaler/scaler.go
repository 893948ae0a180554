package scaler

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"golang.org/x/sync/errgroup"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/lease"
)

// suspended is how long a session outlives a term that ended only because
// Redis was silent.
const suspended = time.Minute

// Scaler observes, decides and acts for all services while it holds the lease.
type Scaler struct {
	cfg     Config
	metrics *metrics

	mu      sync.Mutex // guards session; held for no longer than a copy
	session *session
}

// New returns a Scaler that has started nothing, or all that is wrong with cfg.
func New(cfg Config) (*Scaler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	m, err := newMetrics(cfg.Registry)
	if err != nil {
		return nil, err
	}
	return &Scaler{cfg: cfg, metrics: m}, nil
}

// Run works until ctx ends and returns nil then. Replicas are left as they are:
// the next scaler adopts them.
func (s *Scaler) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		// A standby watches too: its picture is warm when its turn comes.
		persist(ctx, func() error { return s.cfg.Fleet.Watch(ctx, s.fleetChanged) })
		return nil
	})
	g.Go(func() error {
		defer s.replace(nil)
		return s.cfg.Lease.Run(ctx, func(term context.Context, epoch int64) error {
			return s.lead(ctx, term, epoch)
		}, s.otherLeads)
	})
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// lead works until the term ends. What was observed lives on in the session as
// long as nobody else can have acted since: then it is resumed, not read anew.
func (s *Scaler) lead(ctx, term context.Context, epoch int64) error {
	s.metrics.leader.Set(1)
	defer s.metrics.leader.Set(0)
	current := s.current()
	if current == nil || !current.continues(epoch) {
		s.replace(nil) // the metrics of the last one end with it
		current = startSession(ctx, s.cfg, s.metrics)
		s.replace(current)
	}
	s.cfg.Logger.Info("leading", "epoch", epoch)
	current.resume(term, epoch)
	select {
	case <-term.Done():
	case later := <-current.outranked:
		s.replace(nil)
		s.standDown()
		return &lease.OutrankedError{Epoch: later}
	}
	cause := context.Cause(term)
	expired := errors.Is(cause, lease.ErrExpired)
	current.orderly.Store(ctx.Err() != nil && !expired && !errors.Is(cause, lease.ErrLost))
	current.suspend()
	s.cfg.Logger.Info("not leading any more", "epoch", epoch, "reason", cause)
	if !expired {
		s.replace(nil)
	}
	if errors.Is(cause, lease.ErrLost) {
		s.standDown()
	}
	return nil
}

// otherLeads ends what is kept after a lease that was not renewed in time, for the
// case that nobody else took it.
func (s *Scaler) otherLeads() {
	s.replace(nil)
	s.standDown()
}

// standDown ends the replicas of a fleet that only this process can command, when
// it commands no more: those of a shared one are the next leader's.
func (s *Scaler) standDown() {
	if fleet, private := s.cfg.Fleet.(Private); private {
		fleet.StandDown()
	}
}

func (s *Scaler) current() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}

// replace ends the present session, if any, and waits for it.
func (s *Scaler) replace(next *session) {
	s.mu.Lock()
	last := s.session
	s.session = next
	s.mu.Unlock()
	if last != nil {
		last.end()
	}
}

func (s *Scaler) fleetChanged(ref jobs.Ref) {
	if current := s.current(); current != nil {
		current.fleetChanged(ref)
	}
}

// persist repeats work that should last as long as ctx, with growing pauses.
func persist(ctx context.Context, work func() error) {
	pause := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(2*time.Second),
		backoff.WithMaxElapsedTime(0),
	)
	for ctx.Err() == nil {
		began := time.Now()
		_ = work() // each says what failed where it failed; here it only begins again
		if time.Since(began) > pause.MaxInterval {
			pause.Reset()
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause.NextBackOff()):
		}
	}
}
