package activator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/policies"
)

// requestsPath is where callers find durable requests again.
const requestsPath = "/pilotlight/v1/requests"

// longestPoll bounds ?wait=: proxies on the way give up on what is silent for longer.
const longestPoll = 60 * time.Second

// requestState is a durable request as its caller sees it.
type requestState struct {
	ID       string   `json:"id"`
	State    string   `json:"state"` // held, running, succeeded, failed, cancelled
	Phase    string   `json:"phase,omitempty"`
	ETA      *float64 `json:"eta_s,omitempty"`
	Position int      `json:"position,omitempty"` // in the queue, from 1
	Status   int      `json:"status,omitempty"`   // of the answer, once final
	Reason   string   `json:"reason,omitempty"`   // of a final state that is not succeeded
}

func (a *Activator) stateOf(e queue.Entry) requestState {
	s := requestState{ID: e.ID, State: string(e.State), Reason: e.Reason}
	if e.State.Final() {
		s.Status = StatusOf(e)
		return s
	}
	if e.State != queue.StateHeld {
		s.State = string(queue.StateRunning)
	}
	s.Position = e.Position
	s.Phase, s.ETA = a.forecast(e)
	return s
}

// StatusOf a request that is final: the one of its result, also where that is no
// replica's answer.
func StatusOf(e queue.Entry) int {
	if e.Unanswered() {
		return kindOf(ended(&queue.EndedError{Entry: e})).status
	}
	return e.Status
}

// accept answers a request whose caller prefers not to wait, or not for long.
func (a *Activator) accept(w http.ResponseWriter, r *http.Request, c *call, e queue.Entry, held *heldTime) error {
	w.Header().Set("Preference-Applied", c.prefer.applied)
	if c.prefer.wait > 0 {
		now, err := a.await(r.Context(), e.ID, min(c.prefer.wait, c.service.policy.Hold.MaxWait),
			func(now queue.Entry) bool {
				held.sees(now)
				return now.Status != 0
			})
		held.so(now.State == queue.StateHeld)
		switch {
		case err == nil:
			now.Joined = true // whatever becomes of this connection, the request was accepted
			return a.replay(w, r, c, now, held, func() {})
		case !errors.Is(err, errWaited):
			return err
		case now.ID != "":
			e = now
		}
	}
	c.status = http.StatusAccepted
	c.head(w.Header())
	w.Header().Set("Location", requestsPath+"/"+e.ID)
	writeJSON(w, "application/json", http.StatusAccepted, a.stateOf(e))
	return nil
}

// serveRequests answers GET and DELETE of a durable request, of its events and of
// its result. Nothing of it wakes anything.
func (a *Activator) serveRequests(w http.ResponseWriter, r *http.Request, c *call) error {
	id, what, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, requestsPath), "/"), "/")
	deletes := what == "" && r.Method == http.MethodDelete
	if r.Method != http.MethodGet && !deletes {
		return &BadRequestError{Field: "method", Message: "use GET, or DELETE of the request itself"}
	}
	e, err := a.lookUp(r.Context(), id, c)
	if err != nil {
		return err
	}
	switch {
	case deletes:
		if e, err = a.cfg.Queue.Cancel(r.Context(), id); err != nil {
			return err
		}
		return a.tellState(w, c, e)
	case what == "":
		wait, err := pollFor(r)
		if err != nil {
			return err
		}
		return a.poll(w, r, c, e, wait)
	case what == "events":
		return a.events(w, r, c, e)
	case what == "result":
		if !e.State.Final() && e.Status == 0 {
			return a.tellState(w, c, e)
		}
		c.fetched = true
		return a.replay(w, r, c, e, nil, func() {})
	}
	return fmt.Errorf("%w: there is no %q of a request; use events or result", queue.ErrUnknownRequest, clip(what, 40))
}

// lookUp finds a request and its service; that one is nil if its policy was removed
// since: what was accepted and stored is still its caller's. One that was kept for as
// long as its policy says has expired; one of another tenant is as unknown as one that
// never was.
func (a *Activator) lookUp(ctx context.Context, id string, c *call) (queue.Entry, error) {
	rt, err := a.routesSoon(ctx)
	if err != nil {
		return queue.Entry{}, err
	}
	name, at, ok := madeAt(id)
	if !ok {
		return queue.Entry{}, fmt.Errorf("%w: %s", queue.ErrUnknownRequest, clip(id, 100))
	}
	s := rt.services[name]
	e, err := a.cfg.Queue.Find(ctx, id)
	switch {
	case errors.Is(err, queue.ErrUnknownRequest) && s == nil:
		return e, fmt.Errorf("%w: %s", queue.ErrUnknownRequest, clip(id, 100))
	case errors.Is(err, queue.ErrUnknownRequest) && time.Since(at) > s.policy.Result.Keep:
		return e, fmt.Errorf("%w: %s", ErrExpired, s.policy.Result.Keep)
	case err != nil:
		return e, err
	case e.Tenant != "": // no caller has a tenant yet
		return e, queue.ErrUnknownRequest
	}
	c.service, c.id = s, e.RequestID
	return e, nil
}

// pollFor reads ?wait=, in seconds.
func pollFor(r *http.Request) (time.Duration, error) {
	v := r.URL.Query().Get("wait")
	if v == "" {
		return 0, nil
	}
	seconds, err := strconv.Atoi(v)
	if err != nil || seconds < 0 {
		return 0, &BadRequestError{Field: "wait", Message: fmt.Sprintf("%q is not a number of seconds; at most %.0f are waited", clip(v, 40), longestPoll.Seconds())}
	}
	return min(time.Duration(min(seconds, 86400))*time.Second, longestPoll), nil
}

// poll answers as soon as the request is final, and at the latest after wait.
func (a *Activator) poll(w http.ResponseWriter, r *http.Request, c *call, e queue.Entry, wait time.Duration) error {
	if wait > 0 && !e.State.Final() {
		now, err := a.await(r.Context(), e.ID, wait, func(queue.Entry) bool { return false })
		switch {
		case err == nil, errors.Is(err, errWaited) && now.ID != "":
			e = now
		case !errors.Is(err, errWaited):
			return err
		}
	}
	return a.tellState(w, c, e)
}

// errWaited ends a wait after which the caller is told how far its request has come.
var errWaited = errors.New("it was waited for long enough")

// await is the queue's Await for so long at most, and not while this activator
// shuts down: the request goes on elsewhere, and its caller asks there. The error is
// then errWaited.
func (a *Activator) await(ctx context.Context, id string, most time.Duration, until func(queue.Entry) bool) (queue.Entry, error) {
	ctx, done := a.waiting.watching(ctx)
	defer done()
	limited, cancel := context.WithTimeoutCause(ctx, most, errWaited)
	defer cancel()
	e, err := a.cfg.Queue.Await(limited, id, until)
	if errors.Is(err, queue.ErrStopped) {
		err = errWaited
	}
	return e, err
}

func (a *Activator) tellState(w http.ResponseWriter, c *call, e queue.Entry) error {
	c.status = http.StatusAccepted
	if e.State.Final() {
		c.status = http.StatusOK
	}
	w.Header().Set("X-Request-Id", c.id)
	writeJSON(w, "application/json", c.status, a.stateOf(e))
	return nil
}

// events streams each change of a request until it is final. An unchanged one is
// told again at each heartbeat: its ETA has changed.
func (a *Activator) events(w http.ResponseWriter, r *http.Request, c *call, e queue.Entry) error {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Request-Id", c.id)
	conn := http.NewResponseController(w)
	send := func(event string, v any) error {
		data, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, data); err != nil {
			return errClient
		}
		return conn.Flush()
	}
	ctx, done := a.waiting.watching(r.Context())
	defer done()
	for {
		s := a.stateOf(e)
		if e.State.Final() {
			_ = send("done", s)
			return nil
		}
		if send("phase", s) != nil {
			return nil // nobody reads any more
		}
		next, err := a.changed(ctx, c.service, e)
		if err != nil {
			return nil // the stream has begun: its end without "done" is all that can be told
		}
		e = next
	}
}

// changed waits until a request is seen to be another, for one heartbeat at most.
func (a *Activator) changed(ctx context.Context, s *service, e queue.Entry) (queue.Entry, error) {
	policy := policies.New(e.Service) // its own was removed
	if s != nil {
		policy = s.policy
	}
	beat, cancel := context.WithTimeout(ctx, policy.Hold.Heartbeat)
	defer cancel()
	next, err := a.cfg.Queue.Await(beat, e.ID, func(now queue.Entry) bool {
		return now.State != e.State || now.Position != e.Position
	})
	switch {
	case err == nil:
		return next, nil
	case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
		return e, err
	case next.ID == "": // the store does not answer: what is known is told again
		return e, nil
	}
	return next, nil
}
