package activator

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/activator/translate"
)

// durable answers a request with an Idempotency-Key, or one that asks with Prefer
// not to be waited for: it is submitted to the queue, run by whichever activator
// gets its slot, and its answer is read from the store.
//
// A keyed request goes on when its client leaves, because the key is the promise
// to come back for the answer; it ends when it is cancelled, or when the deadline
// passes that its caller gave, after which the answer is of no use to anybody.
func (a *Activator) durable(w http.ResponseWriter, r *http.Request, c *call) error {
	req, err := a.toSubmit(r, c)
	if err != nil {
		return err
	}
	held := a.heldFrom(c)
	e, err := a.cfg.Queue.Submit(r.Context(), req, c.service.limits)
	if err != nil {
		return err
	}
	if !e.Joined {
		c.service.arrivals.Add(1)
	}
	async, streaming := req.Async, streams(r.Header, c.body)
	req = nil // the store has it: while its answer is awaited it is in memory no more
	c.letGo()
	held.submitted(e)
	if async {
		return a.accept(w, r, c, e, held)
	}
	c.out = &heartbeat{ResponseWriter: w, asked: r.Header}
	defer c.out.end()
	quiet := func() {}
	if streaming {
		quiet = a.during(r.Context(), c, a.heldInStore(e))
		defer quiet()
	}
	e, err = a.untilRun(r.Context(), c, e, held)
	if err == nil {
		err = a.replay(c.out, r, c, e, held, quiet)
	}
	if err != nil {
		quiet()
		a.fail(c.out, r, c, err)
	}
	return nil
}

// toSubmit is the request as it is stored: whole, checked, and without what
// belongs to one connection only.
func (a *Activator) toSubmit(r *http.Request, c *call) (*queue.Request, error) {
	if !c.buffered {
		if err := c.buffer(r.ContentLength, c.service.policy.Hold.MaxBody); err != nil {
			return nil, err
		}
	}
	if c.adapter != nil {
		if _, err := c.parse(); err != nil {
			return nil, err
		}
	}
	p := c.service.policy
	req := &queue.Request{ID: newRequestID(c.service.name, c.arrived), Service: c.service.name,
		Key: r.Header.Get("Idempotency-Key"), Async: c.prefer.async, RequestID: c.id, Method: r.Method,
		Path: r.URL.RequestURI(), Header: storedHeader(r), Body: c.body, Deadline: c.deadline,
		Attempts: 1, Keep: p.Result.Keep, MaxSize: p.Result.MaxSize}
	if c.service.repeatable(c.path, c.keyed) {
		req.Attempts = c.service.attempts
	}
	if !c.prefer.async {
		return req, nil
	}
	if !c.bounded {
		req.Deadline = c.arrived.Add(p.Hold.AsyncMaxWait)
	}
	if err := a.hopeless(c.service); err != nil || !c.bounded {
		return req, err
	}
	st, _ := a.cfg.Statuses.Status(c.service.name)
	return req, a.inTime(c.service, c.deadline, a.held(c.service, st)+1)
}

// storedHeader is the request's header as the replica gets it, whoever sends it.
// Accept-Encoding is left out: who reads the answer later may not decode it.
func storedHeader(r *http.Request) http.Header {
	pr := &httputil.ProxyRequest{In: r, Out: &http.Request{Header: r.Header.Clone()}}
	h := pr.Out.Header
	for _, names := range h["Connection"] {
		for name := range strings.SplitSeq(names, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range notStored {
		h.Del(name)
	}
	pr.SetXForwarded()
	h.Set("Host", r.Host) // net/http keeps it apart; a stored request has but a header
	return h
}

// notStored belongs to a connection, or to us.
var notStored = []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Expect", "Content-Length", "Accept-Encoding", "Prefer",
	"Pilotlight-Deadline", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded"}

// untilRun waits until a submitted request has left the queue.
func (a *Activator) untilRun(ctx context.Context, c *call, e queue.Entry, held *heldTime) (queue.Entry, error) {
	if e.State != queue.StateHeld {
		return e, nil
	}
	ctx, done := a.waiting.add(ctx, c.service.name, c.deadline)
	defer done()
	err := a.hopeless(c.service)
	if err == nil {
		err = a.inTime(c.service, c.deadline, e.Position)
	}
	if err != nil {
		a.withdraw(c, e)
		return e, err
	}
	limited, cancel := context.WithDeadlineCause(ctx, c.deadline, ErrDeadline)
	defer cancel()
	now, err := a.cfg.Queue.Await(limited, e.ID, func(e queue.Entry) bool {
		held.sees(e)
		return e.State != queue.StateHeld
	})
	held.so(err == nil && now.State == queue.StateHeld)
	now.Joined = e.Joined
	var failed *StartFailedError
	if errors.Is(err, ErrDeadline) || errors.Is(err, ErrPaused) || errors.Is(err, ErrJobStopped) || errors.As(err, &failed) {
		a.withdraw(c, e)
	}
	return now, err
}

// withdraw ends a request that is of no use any more, unless it was there before
// this caller, or somebody else has joined it; its key is free again.
func (a *Activator) withdraw(c *call, e queue.Entry) {
	if e.Joined {
		return
	}
	if err := a.cfg.Queue.Withdraw(context.Background(), e.ID); err != nil {
		a.log.Warn("a request that nobody waits for could not be withdrawn", "service", c.service.name,
			"ticket", e.ID, "request_id", c.id, "err", err)
	}
}

// replay writes the stored answer of a request to a client, as it is or as it
// comes. What it is held meanwhile is added to held; begun is called when it begins.
func (a *Activator) replay(w http.ResponseWriter, r *http.Request, c *call, e queue.Entry, held *heldTime, begun func()) error {
	last, cause := time.Now().Add(c.longest()), ErrRequestTimeout
	if c.bounded {
		last, cause = c.deadline, ErrDeadline
	}
	ctx, cancel := context.WithDeadlineCause(r.Context(), last, cause)
	defer cancel()
	answer, err := a.cfg.Queue.Answer(ctx, e.ID, held.sees)
	held.so(false)
	if err != nil {
		if errors.Is(err, ErrDeadline) && !c.fetched {
			a.withdraw(c, e)
		}
		return ended(err)
	}
	defer func() { _ = answer.Close() }()
	begun()
	late := c.out != nil && c.out.committed
	resp := &http.Response{StatusCode: answer.Status, Header: answer.Header, Body: io.NopCloser(answer)}
	if late {
		if err := asEvent(c, resp); err != nil {
			return ended(err)
		}
	}
	c.answered, c.status = time.Now(), answer.Status
	c.replica, c.attempt = answer.Entry.Replica, answer.Entry.Attempts
	h := w.Header()
	for name, values := range answer.Header {
		h[name] = values
	}
	if c.fetched {
		h.Del("Content-Length") // it may be of an answer to HEAD, which this is not
	} else if answer.Entry.State == queue.StateFailed {
		c.failure = cmp.Or(answer.Entry.Reason, upstreamFailed.name)
	}
	c.head(h)
	w.WriteHeader(answer.Status)
	if err := copyAnswer(w, resp.Body); err != nil {
		c.failure = kindOf(ended(err)).name
		if errors.Is(err, ErrDeadline) && !c.fetched {
			a.withdraw(c, e)
		}
		if late && c.out.between() {
			return ended(err) // as an event
		}
		panic(http.ErrAbortHandler) // the status was sent: only a broken connection can tell
	}
	return nil
}

// copyAnswer flushes each part as it comes. It holds no slot: how slowly a client may
// read is for the pace of its connection to say, and not for request.idle, which is
// the replica's.
func copyAnswer(w http.ResponseWriter, answer io.Reader) error {
	conn := http.NewResponseController(w)
	buf := make([]byte, 32<<10)
	for {
		n, err := answer.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return errClient
			}
			_ = conn.Flush()
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
	}
}

// ended turns a final state without an answer into the error that its caller
// gets.
func ended(err error) error {
	var end *queue.EndedError
	if !errors.As(err, &end) {
		return err
	}
	e := end.Entry
	switch {
	case e.TooLarge:
		return &UpstreamError{Replica: e.Replica, Attempts: e.Attempts, Err: queue.ErrTooLarge}
	case e.State == queue.StateCancelled:
		return ErrCancelled
	case e.Reason == queue.ReasonDeadline:
		return ErrDeadline
	case e.Reason == queue.ReasonUnreadable:
		return &UpstreamError{Replica: e.Replica, Attempts: e.Attempts, Err: errors.New("what Redis has of it cannot be read")}
	case e.Reason == queue.ReasonCut:
		return &UpstreamError{Replica: e.Replica, Attempts: e.Attempts, Err: errBrokeOff}
	}
	return &UpstreamError{Replica: e.Replica, Attempts: e.Attempts, Err: errors.New("no replica answered")}
}

// newRequestID cannot be guessed; it ends with the time of the request, so that
// one that has expired is told from one that never was.
func newRequestID(service string, at time.Time) string {
	return queue.NewID(service) + "-" + strconv.FormatInt(at.Unix(), 36)
}

// madeAt reads the service and the time back from a request's id.
func madeAt(id string) (service string, at time.Time, ok bool) {
	dot, dash := strings.LastIndexByte(id, '.'), strings.LastIndexByte(id, '-')
	if dot < 0 || dash < dot {
		return "", time.Time{}, false
	}
	unix, err := strconv.ParseInt(id[dash+1:], 36, 64)
	return id[:dot], time.Unix(unix, 0), err == nil && unix > 0
}

// checkKey refuses keys that would be a burden.
func checkKey(key string) error {
	if len(key) > 255 || slices.ContainsFunc([]byte(key), func(b byte) bool { return b < ' ' || b > '~' }) {
		return &BadRequestError{Field: "Idempotency-Key", Message: "use at most 255 printable ASCII characters, such as a UUID"}
	}
	return nil
}

// parse reads and checks the body of POST /translate.
func (c *call) parse() (translate.Request, error) {
	req, err := translate.Parse(c.body, translate.Limits{})
	if err != nil {
		return req, err
	}
	return c.adapter.Validate(req)
}
