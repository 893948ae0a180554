package activator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/activator/translate"
)

// Execute is queue.Config.Execute: it sends a durable request to the replica of
// its slot and stores what comes back, each part before anybody is shown it. An
// error sends the request back to its place in the queue.
func (a *Activator) Execute(ctx context.Context, e *queue.Execution) error {
	c := &call{a: a, id: e.Request.RequestID, path: pathOf(e.Request.Path), slot: e.Slot, attempt: e.Attempt,
		replica: e.Slot.Replica, body: e.Request.Body, buffered: true, arrived: time.Now(), deadline: e.Request.Deadline}
	c.released = c.arrived
	rt, err := a.routesSoon(ctx)
	if err != nil {
		return err
	}
	if c.service = rt.services[e.Request.Service]; c.service == nil {
		return a.store(ctx, e, c, fmt.Errorf("%w: its policy was removed while the request waited", ErrUnknownService))
	}
	out, decode, err := a.upstream(ctx, e, c)
	if err != nil {
		return a.store(ctx, e, c, err)
	}
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.watch = &watch{limits: c.service.policy.Request, cancel: cancel}
	defer c.watch.stop()
	c.service.inFlight.Add(1)
	failed, sent := true, true
	defer func() {
		if now := time.Now(); sent {
			c.service.done(now, now.Sub(c.released), failed)
		} else {
			c.service.unused(now)
		}
	}()
	c.watch.sent(c.released)
	s := &sending{slot: e.Slot}
	resp, err := a.tries.transport.RoundTrip(out.WithContext(arm(run, s)))
	if sent = err == nil || !s.never(err); err == nil {
		c.answered = time.Now()
		c.watch.answered(c.answered)
		a.firstDurable(c, e.Request.ID)
		body := &answerBody{ReadCloser: resp.Body, c: c, ctx: run}
		err = a.keep(ctx, e, c, resp, body, decode)
		_ = resp.Body.Close()
		failed = err != nil || resp.StatusCode >= http.StatusInternalServerError
	}
	if err == nil || errors.Is(err, queue.ErrFenced) {
		return err
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return cause // cancelled, taken over, or this activator ends
	}
	if cause := context.Cause(run); cause != nil {
		if errors.Is(cause, context.DeadlineExceeded) {
			cause = ErrRequestTimeout
		}
		return a.store(ctx, e, c, cause)
	}
	return a.tried(ctx, e, c, s, err)
}

// tried ends an attempt that the replica did not answer: it is made again where
// that is safe, else its failure is the answer.
func (a *Activator) tried(ctx context.Context, e *queue.Execution, c *call, s *sending, err error) error {
	if s.suspect(err) {
		e.Suspect()
	}
	if s.never(err) {
		e.Unsent()
	} else if e.Attempt >= e.Request.Attempts {
		return a.store(ctx, e, c, &UpstreamError{Replica: c.replica, Attempts: e.Attempt, Err: plain(err)})
	}
	c.service.metrics.retried(err)
	if !s.never(err) {
		rest(ctx, e.Attempt) // in a slot that nobody else should have now
	}
	return plain(err)
}

// store a failure as the request's answer, in the words of its path; its key is
// free again. A run that is past request.timeout still has to be stored.
func (a *Activator) store(ctx context.Context, e *queue.Execution, c *call, err error) error {
	k := kindOf(err)
	contentType, document := a.problemOf(c, k, err).document(c.path)
	body, merr := json.Marshal(document)
	if merr != nil {
		return merr
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeFailure)
	defer cancel()
	return e.Fail(ctx, k.name, k.status, http.Header{"Content-Type": {contentType}, "Cache-Control": {"no-store"}}, append(body, '\n'))
}

// storeFailure is how long it is tried to store a failure.
const storeFailure = 10 * time.Second

// decoder turns a replica's whole answer into the caller's.
type decoder func(status int, header http.Header, body []byte) (int, []byte, error)

// upstream builds the replica's request; decode is nil if its answer is the
// caller's as it is.
func (a *Activator) upstream(ctx context.Context, e *queue.Execution, c *call) (*http.Request, decoder, error) {
	u, err := url.ParseRequestURI(e.Request.Path)
	if err != nil {
		return nil, nil, &BadRequestError{Field: "path", Message: "not a path"}
	}
	if p := c.service.policy.Route; p.StripPrefix {
		u.Path, u.RawPath = stripPrefix(u.Path, p.PathPrefixes), ""
	}
	method, header := e.Request.Method, e.Request.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	var decode decoder
	if c.service.adapter != nil && c.path == "/translate" {
		c.adapter = c.service.adapter
		req, err := c.parse() // the policy may have changed since it was accepted
		if err != nil {
			return nil, nil, err
		}
		decode = func(status int, h http.Header, body []byte) (int, []byte, error) {
			status, body, err := c.adapter.Decode(req, status, h, body)
			if err == nil && status < 400 {
				a.metrics.translated(req)
			}
			return status, body, err
		}
		if c.adapter.Name() == translate.BackendPassthrough {
			header.Set("Content-Type", "application/json")
			decode = nil
		} else {
			method, u.Path, header, c.body = c.adapter.Encode(req)
			u.RawQuery = ""
		}
	}
	host := header.Get("Host")
	header.Del("Host")
	header.Set("X-Request-Id", c.id)
	out := (&http.Request{Method: method, URL: u, Host: host, Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	out.URL.Scheme, out.URL.Host = "http", e.Slot.Address
	c.attach(out)
	return out, decode, nil
}

// keep stores the answer as it comes.
func (a *Activator) keep(ctx context.Context, e *queue.Execution, c *call, resp *http.Response, body io.Reader, decode decoder) error {
	c.status = resp.StatusCode
	limit := e.Request.MaxSize
	if decode != nil {
		limit = maxAnswer
	}
	if resp.ContentLength > limit && resp.Request.Method != http.MethodHead {
		return a.store(ctx, e, c, &UpstreamError{Replica: c.replica, Attempts: e.Attempt, Err: queue.ErrTooLarge})
	}
	if decode != nil {
		whole, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
		if err != nil {
			return err
		}
		if len(whole) > maxAnswer {
			return a.store(ctx, e, c, &UpstreamError{Replica: c.replica, Attempts: e.Attempt, Err: queue.ErrTooLarge})
		}
		status, whole, err := decode(resp.StatusCode, resp.Header, whole)
		if err != nil {
			return a.store(ctx, e, c, err)
		}
		e.Begin(status, http.Header{"Content-Type": {"application/json"}})
		return large(e.Finish(ctx, whole))
	}
	e.Begin(resp.StatusCode, keptHeader(resp.Header))
	buf := make([]byte, 32<<10)
	for {
		n, err := body.Read(buf)
		if errors.Is(err, io.EOF) {
			return large(e.Finish(ctx, buf[:n]))
		}
		if n > 0 {
			if err := e.Write(ctx, buf[:n]); errors.Is(err, queue.ErrTooLarge) {
				return a.store(ctx, e, c, &UpstreamError{Replica: c.replica, Attempts: e.Attempt, Err: err})
			} else if err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// large: an answer whose last part was too much has ended all the same.
func large(err error) error {
	if errors.Is(err, queue.ErrTooLarge) {
		return nil
	}
	return err
}

// keptHeader is what is stored of an answer's header: not what belongs to the
// connection, nor what is a secret of one client.
func keptHeader(h http.Header) http.Header {
	h = h.Clone()
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Trailer", "Transfer-Encoding", "Upgrade", "Set-Cookie"} {
		h.Del(name)
	}
	return h
}

func pathOf(target string) string {
	if u, err := url.ParseRequestURI(target); err == nil {
		return u.Path
	}
	return target
}

// firstDurable reports a replica's first answer if it was to a durable request;
// when that one began to wait stands in its ticket.
func (a *Activator) firstDurable(c *call, id string) {
	if _, known := c.service.answered.Load(c.slot.Replica); known {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeFailure)
	defer cancel()
	if e, err := a.cfg.Queue.Find(ctx, id); err == nil {
		c.wait.Held, c.wait.From = true, e.At
	}
	a.firstAnswer(c)
}
