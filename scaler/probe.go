package scaler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// When a ready replica stops being one.
const (
	lostAfter    = 5                      // failed probes in a row
	refusedAfter = 2                      // refused connections in a row: nobody listens any more
	refusedAgain = 100 * time.Millisecond // how soon a refused probe is repeated
)

// prober asks one replica again and again whether it can answer.
type prober struct {
	client  *http.Client
	url     string
	timeout time.Duration // of one probe
	timing  ProbeTiming
	early   bool // the process starts at this moment: the first probe waits, too
}

// outcome of probing, reported when it changes.
type outcome struct {
	answers bool
	at      time.Time
	why     string // why not
}

// run probes until ctx ends: fast until the replica answers, slowly while it
// does, and fast again once it has stopped answering.
func (p *prober) run(ctx context.Context, report func(outcome)) {
	for ctx.Err() == nil {
		if !p.untilReady(ctx, report) {
			return
		}
		p.whileReady(ctx, report)
	}
}

// untilReady reports each new reason for not answering, and then the answer. It
// returns false if ctx ended before.
//
// The pause grows by a fixed share, so it is always that share of the time
// waited so far: a replica is found ready at most 2.5 % late.
func (p *prober) untilReady(ctx context.Context, report func(outcome)) bool {
	pause := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(p.timing.First),
		backoff.WithMultiplier(1.025),
		backoff.WithRandomizationFactor(0),
		backoff.WithMaxInterval(p.timing.Cap),
		backoff.WithMaxElapsedTime(0),
	)
	said := ""
	if p.early {
		p.early = false
		if !sleep(ctx, p.timing.First) {
			return false
		}
	}
	for {
		err := p.ask(ctx)
		if ctx.Err() != nil {
			return false
		}
		if err == nil {
			report(outcome{answers: true, at: time.Now()})
			return true
		}
		if why := err.Error(); why != said {
			said = why
			report(outcome{at: time.Now(), why: why})
		}
		if !sleep(ctx, pause.NextBackOff()) {
			return false
		}
	}
}

// sleep waits for d and reports whether ctx is still alive then.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// whileReady returns once the replica has stopped answering, after reporting it.
func (p *prober) whileReady(ctx context.Context, report func(outcome)) {
	failed, refused, pause := 0, 0, p.timing.Ready
	for {
		if !sleep(ctx, pause) {
			return
		}
		pause = p.timing.Ready
		err := p.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failed, refused = 0, 0
			continue
		case errors.Is(err, syscall.ECONNREFUSED):
			refused++
			pause = min(pause, refusedAgain)
		default:
			refused = 0
		}
		failed++
		if failed >= lostAfter || refused >= refusedAfter {
			report(outcome{at: time.Now(), why: err.Error()})
			return
		}
	}
}

// ask sends one probe; a nil error is a good answer. Errors are short and say
// the same as long as the cause is the same.
func (p *prober) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "pilotlight-probe")
	res, err := p.client.Do(req)
	if err != nil {
		var timeout net.Error
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return syscall.ECONNREFUSED
		case errors.As(err, &timeout) && timeout.Timeout():
			return fmt.Errorf("no answer within %v", p.timeout)
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			return errors.New("connection closed without an answer")
		}
		return err
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, 4<<10)) // lets the connection be used again
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}
