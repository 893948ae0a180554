package activator

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/jobs"
)

// tries is the RoundTripper between a request and the replicas of its service:
// it takes or waits for a slot, sends, and repeats on another replica where that
// is safe. The slot goes back when the answer's body is closed.
type tries struct {
	a         *Activator
	transport *http.Transport
}

// RoundTrip never returns before the last try is decided; an error means that
// no byte of an answer has been received.
func (t *tries) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	c := callOf(ctx)
	var unreached error // of the last try, if it never came to its replica
	for first := true; ; first = false {
		if err := t.a.acquire(ctx, c, req); err != nil {
			if unreached != nil && errors.Is(err, ErrDeadline) {
				err = fmt.Errorf("%w; %w", err, unreached)
			}
			return nil, err
		}
		if !first { // the last try may still be reading its request
			again, u := *req, *req.URL
			again.URL = &u
			req = &again
		}
		c.attempt++
		c.service.inFlight.Add(1)
		req.URL.Scheme, req.URL.Host = "http", c.slot.Address
		c.attach(req)
		c.watch.sent(c.released)
		var resp *http.Response
		s := &sending{slot: c.slot}
		err := c.slot.Check() // before anything of a streamed body is read; gated looks once more
		if err == nil {
			resp, err = t.transport.RoundTrip(req.WithContext(arm(ctx, s)))
		}
		if err == nil {
			c.answered = time.Now()
			c.watch.answered(c.answered)
			t.a.firstAnswer(c)
			resp.Body = c.wrap(ctx, resp.Body)
			return resp, nil
		}
		if unreached = nil; s.never(err) {
			c.attempt-- // what was not sent cannot have been answered: only the deadline bounds it
			unreached = &UpstreamError{Replica: c.slot.Replica, Err: plain(err)}
		}
		again := t.again(ctx, c, unreached != nil)
		t.end(c, s, err)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if c.stream != nil && c.stream.err != nil && c.stream.err != io.EOF {
			return nil, c.stream.err // the client's fault, not the replica's
		}
		if !again {
			return nil, &UpstreamError{Replica: c.slot.Replica, Attempts: c.attempt, Err: plain(err)}
		}
		c.service.metrics.retried(err)
		t.a.log.Info("trying again", "service", c.service.name, "request_id", c.id, "replica", c.slot.Replica, "attempt", c.attempt, "err", plain(err))
		if unreached == nil {
			rest(ctx, c.attempt)
		}
	}
}

// restFor is how long a request rests that two replicas or more have broken off: one
// dies alone, but those that die with their machine, or with the process that owns them,
// take some time until they refuse, and each would cost an attempt.
const restFor = 250 * time.Millisecond

// rest after that many attempts that were broken off, or until ctx ends.
func rest(ctx context.Context, attempts int) {
	if attempts < 2 {
		return
	}
	t := time.NewTimer(restFor)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// again reports whether the request may be sent once more: never after any byte
// of an answer nor past the deadline, only if its body is at hand, and only if it was
// never sent, or may be repeated and was not sent as often as allowed.
func (t *tries) again(ctx context.Context, c *call, neverSent bool) bool {
	if ctx.Err() != nil || time.Now().After(c.deadline) || c.stream != nil && c.stream.touched {
		return false
	}
	return neverSent || c.attempt < c.service.attempts && c.service.repeatable(c.path, c.keyed)
}

// end of a try without an answer.
func (t *tries) end(c *call, s *sending, err error) {
	c.watch.stop()
	now := time.Now()
	if s.suspect(err) {
		c.slot.ReleaseSuspect()
	} else {
		c.slot.Release()
	}
	if s.never(err) {
		c.service.unused(now)
	} else {
		c.service.done(now, now.Sub(c.released), true)
	}
}

// plain strips what net/http puts around an error and what would name addresses
// twice.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// attach gives the request its body for this try.
func (c *call) attach(req *http.Request) {
	switch {
	case c.buffered && len(c.body) > 0:
		req.Body = io.NopCloser(bytes.NewReader(c.body))
		req.ContentLength = int64(len(c.body))
	case c.buffered:
		req.Body, req.ContentLength = http.NoBody, 0
	default:
		req.Body = c.stream
	}
}

// acquire takes a free slot, or holds the request until it gets one.
func (a *Activator) acquire(ctx context.Context, c *call, req *http.Request) error {
	if slot, ok := a.cfg.Queue.Try(c.service.name, c.service.limits); ok {
		c.slot, c.released = slot, time.Now()
		return nil
	}
	if err := a.hopeless(c.service); err != nil {
		return err
	}
	position := 1 // of one that is tried again
	if c.seq == 0 {
		st, _ := a.cfg.Statuses.Status(c.service.name)
		position += a.held(c.service, st)
	}
	if err := a.inTime(c.service, c.deadline, position); err != nil {
		return err
	}
	if !c.buffered { // nothing of it was read yet: read it now, so that it can wait
		if err := c.buffer(req.ContentLength, c.service.policy.Hold.MaxBody); err != nil {
			return err
		}
	}
	// A new ticket for each try: Redis may not have forgotten the last one yet.
	// It keeps its number, and so its place.
	t := &queue.Ticket{ID: rand.Text(), Service: c.service.name, RequestID: c.id, Method: req.Method,
		Path: req.URL.RequestURI(), Header: req.Header, Body: c.body, Deadline: c.deadline, Seq: c.seq}
	hold, cancel := context.WithDeadlineCause(ctx, c.deadline, ErrDeadline)
	c.service.entered.Add(1)
	quiet := func() {}
	if c.out != nil && streams(c.out.asked, c.body) {
		quiet = a.during(hold, c, a.heldHere(c, t))
	}
	slot, wait, err := a.cfg.Queue.Hold(hold, t, c.service.limits)
	c.service.left.Add(1)
	cancel()
	quiet()
	c.seq = t.Seq
	c.service.metrics.held(c.held(wait, time.Now()))
	if err != nil {
		return err
	}
	c.slot, c.released = slot, time.Now()
	return nil
}

// held adds one wait to what the request has waited so far, and returns how long it
// was.
func (c *call) held(wait queue.Wait, now time.Time) time.Duration {
	c.wait = wait
	c.waited += now.Sub(wait.From)
	c.wasCold = c.wasCold || wait.Cold
	c.cold += wait.ColdFor
	return now.Sub(wait.From)
}

// hopeless says why holding a request would be in vain: the launch brake pauses,
// or an operator has paused the service, and no replica is there.
func (a *Activator) hopeless(s *service) error {
	st, ok := a.cfg.Statuses.Status(s.name)
	if !ok || len(a.cfg.Queue.Offers(s.name)) > 0 {
		return nil
	}
	return reasonToFail(st, time.Now())
}

func reasonToFail(st jobs.Status, now time.Time) error {
	if st.Replicas.Ready+st.Replicas.Starting+st.Replicas.Pending > 0 {
		return nil
	}
	if st.State == jobs.StatePaused {
		if slices.ContainsFunc(st.Notices, func(n jobs.Notice) bool { return n.Kind == jobs.NoticeStopped }) {
			return ErrJobStopped
		}
		return ErrPaused
	}
	if st.State == jobs.StateBlocked && st.BlockedUntil != nil && now.Before(*st.BlockedUntil) {
		reason := "replicas die while they start"
		if st.Blocked != nil {
			reason = *st.Blocked
		}
		return &StartFailedError{Reason: reason, Until: *st.BlockedUntil}
	}
	return nil
}

// statusChanged ends the waits of a service that the scaler says are in vain.
func (a *Activator) statusChanged(name string) {
	st, ok := a.cfg.Statuses.Status(name)
	if !ok || len(a.cfg.Queue.Offers(name)) > 0 {
		return
	}
	if err := reasonToFail(st, time.Now()); err != nil {
		a.cfg.Queue.Fail(name, err)
		a.waiting.fail(name, err)
		return
	}
	a.giveUp(name, st)
}

// firstAnswer reports the first answer of a replica, apart from the request's
// own way.
func (a *Activator) firstAnswer(c *call) {
	if _, known := c.service.answered.Load(c.slot.Replica); known {
		return
	}
	if _, known := c.service.answered.LoadOrStore(c.slot.Replica, c.answered); known {
		return
	}
	f := jobs.FirstAnswer{Replica: c.slot.Replica, RequestID: c.id, Released: c.released.UTC(), FirstByte: c.answered.UTC()}
	if c.wait.Held {
		f.HeldAt = c.wait.From.UTC()
	}
	name := c.service.name
	go func() {
		if err := a.cfg.Queue.FirstAnswer(context.Background(), name, f); err != nil {
			a.log.Warn("first answer not reported", "service", name, "replica", f.Replica, "err", err)
		}
	}()
}
