package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

// Why a term ended; the cause of the led context.
var (
	// ErrLost says that Redis names another holder, or none.
	ErrLost = errors.New("another process holds the lease")
	// ErrExpired says that the lease could not be renewed in time. Nobody else
	// need have taken it.
	ErrExpired = errors.New("lease not renewed in time")
)

// OutrankedError is what a leader returns that has met a later epoch than its
// own. Either it is stale, and will not get the lease; or the count of terms was
// lost with a part of Redis' data, and the next term is begun above that epoch.
type OutrankedError struct{ Epoch int64 }

func (e *OutrankedError) Error() string {
	return fmt.Sprintf("a later epoch has been: %d", e.Epoch)
}

// Timing of a lease. A takeover after a kill takes at most TTL + Retry.
const (
	TTL      = 2 * time.Second        // of the key in Redis
	Renew    = 500 * time.Millisecond // between renewals
	Retry    = 250 * time.Millisecond // between attempts of a standby
	margin   = 200 * time.Millisecond // the leader stops this long before TTL
	patience = 500 * time.Millisecond // for the call that releases
)

var (
	// acquire takes a free lease, or starts a new term of one that the caller
	// already holds: an answer that was lost must not lock its asker out.
	acquire = redis.NewScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if tonumber(redis.call('GET', KEYS[2]) or '0') < tonumber(ARGV[3]) then
  redis.call('SET', KEYS[2], ARGV[3])
end
return redis.call('INCR', KEYS[2])`)

	renew = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`)

	release = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`)
)

// Lease is one process's claim to lead under a name.
type Lease struct {
	client redis.UniversalClient
	keys   []string
	id     string
	log    *slog.Logger
}

// New returns a claim under name ("scaler"). It does nothing until Run.
func New(client redis.UniversalClient, name string, log *slog.Logger) *Lease {
	tag := "pl:{lease:" + name + "}:"
	return &Lease{
		client: client,
		keys:   []string{tag + "holder", tag + "epoch"},
		id:     rand.Text(),
		log:    log,
	}
}

// Run waits for the lease and calls lead with a context that ends, with cause
// ErrLost or ErrExpired, before anybody else can hold it; then waits again.
// epoch is larger in every term than in all before. While it waits it calls other
// whenever it finds that somebody else holds the lease. Run returns nil when ctx
// ends, after lead has returned and the lease was given back, and lead's error
// if that is neither nil nor an *OutrankedError, after which it waits again.
func (l *Lease) Run(ctx context.Context, lead func(ctx context.Context, epoch int64) error, other func()) error {
	said, least := false, int64(0)
	for ctx.Err() == nil {
		sent := time.Now()
		epoch, err := acquire.Run(ctx, l.client, l.keys, l.id, TTL.Milliseconds(), least).Int64()
		switch {
		case err == nil && epoch > 0:
			said = false
			err := l.term(ctx, sent, epoch, lead)
			var outranked *OutrankedError
			if errors.As(err, &outranked) {
				l.log.Warn("will lead again only in a later epoch", "epoch", epoch, "err", err)
				least = outranked.Epoch
			} else if err != nil {
				return err
			}
			continue
		case err != nil && ctx.Err() == nil && !said:
			said = true // once, not four times a second
			l.log.Warn("cannot ask for the lease", "err", err)
		case err == nil:
			said = false
			other()
		}
		select {
		case <-ctx.Done():
		case <-time.After(Retry):
		}
	}
	return nil
}

// term leads from a lease acquired by a call sent at that time.
func (l *Lease) term(ctx context.Context, sent time.Time, epoch int64, lead func(context.Context, int64) error) error {
	led, end := context.WithCancelCause(ctx)
	defer end(nil)
	// A timer of its own ends the term: a renewal may hang for longer.
	expiry := time.AfterFunc(time.Until(sent.Add(TTL-margin)), func() { end(ErrExpired) })
	defer expiry.Stop()

	done := make(chan error, 1)
	go func() { done <- lead(led, epoch) }()
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		l.keep(led, expiry, end)
	}()

	err := <-done
	end(nil)
	<-renewed
	if cause := context.Cause(led); !errors.Is(cause, ErrLost) && !errors.Is(cause, ErrExpired) {
		l.release(ctx)
	}
	if err != nil {
		return fmt.Errorf("lead in term %d: %w", epoch, err)
	}
	return nil
}

// keep renews until the term ends.
func (l *Lease) keep(led context.Context, expiry *time.Timer, end context.CancelCauseFunc) {
	tick := time.NewTicker(Renew)
	defer tick.Stop()
	for {
		select {
		case <-led.Done():
			return
		case <-tick.C:
		}
		sent := time.Now()
		held, err := renew.Run(led, l.client, l.keys[:1], l.id, TTL.Milliseconds()).Int64()
		switch {
		case led.Err() != nil:
			return
		case err != nil:
			l.log.Warn("cannot renew the lease", "err", err)
		case held == 0:
			end(ErrLost)
			return
		case time.Now().Before(sent.Add(TTL-margin)) && expiry.Stop():
			// Stop tells that it had not fired: the term is still on.
			expiry.Reset(time.Until(sent.Add(TTL - margin)))
		}
	}
}

// release gives the lease back so that a standby need not wait for its end.
func (l *Lease) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := release.Run(ctx, l.client, l.keys[:1], l.id).Err(); err != nil {
		l.log.Debug("cannot release the lease; it ends by itself", "err", err)
	}
}
