package activator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/activator/translate"
)

// kind of a problem: its stable name, status and title. This is the one table.
type kind struct {
	name   string
	status int
	title  string
}

var (
	unknownService  = kind{"unknown-service", http.StatusNotFound, "no policy routes this request"}
	badRequest      = kind{"bad-request", http.StatusBadRequest, "the request cannot be understood"}
	bodyTooLarge    = kind{"body-too-large", http.StatusRequestEntityTooLarge, "the body is larger than the policy allows"}
	headerTooLarge  = kind{"header-too-large", http.StatusRequestHeaderFieldsTooLarge, "the header is larger than is taken"}
	keyReused       = kind{"key-reused", http.StatusUnprocessableEntity, "the idempotency key was used for another request"}
	unknownRequest  = kind{"unknown-request", http.StatusNotFound, "there is no such request"}
	expired         = kind{"request-expired", http.StatusGone, "the request and its answer are not kept any more"}
	cancelled       = kind{"request-cancelled", http.StatusConflict, "the request was cancelled"}
	queueFull       = kind{"queue-full", http.StatusTooManyRequests, "too many requests are waiting"}
	startFailed     = kind{"start-failed", http.StatusServiceUnavailable, "the model does not start"}
	storeAway       = kind{"store-unavailable", http.StatusServiceUnavailable, "the store cannot take the request"}
	paused          = kind{"paused", http.StatusServiceUnavailable, "the service is paused by an operator"}
	jobStopped      = kind{"paused", http.StatusServiceUnavailable, "the job is stopped in Nomad"}
	shuttingDown    = kind{"shutting-down", http.StatusServiceUnavailable, "this activator is shutting down"}
	deadlinePassed  = kind{"deadline-passed", http.StatusGatewayTimeout, "the deadline passed"}
	upstreamFailed  = kind{"upstream-failed", http.StatusBadGateway, "the replica failed"}
	clientGone      = kind{"client-gone", 499, "the client has gone"} // nobody reads it
	upstreamTimeout = kind{"upstream-timeout", http.StatusGatewayTimeout, "the replica took too long"}
)

// Errors of the data path that callers see; kindOf gives each its status.
var (
	// ErrUnknownService: no policy routes the request; nothing was woken.
	ErrUnknownService = errors.New("unknown service")
	// ErrNotReady: this activator has not read the policies yet.
	ErrNotReady = errors.New("policies have not been read yet")
	// ErrDeadline: the caller's deadline passed, or hold.max_wait while held.
	ErrDeadline = errors.New("the deadline passed")
	// ErrRequestTimeout: request.timeout passed in the slot.
	ErrRequestTimeout = errors.New("request.timeout passed")
	// ErrFirstByte: request.first_byte passed without an answer.
	ErrFirstByte = errors.New("request.first_byte passed without an answer")
	// ErrIdle: request.idle passed between two bytes of the answer.
	ErrIdle = errors.New("request.idle passed between two bytes of the answer")
	// ErrPaused: an operator has paused the service and nothing of it is ready.
	ErrPaused = errors.New("the service is paused by an operator")
	// ErrJobStopped: somebody stopped or purged the job in Nomad itself.
	ErrJobStopped = errors.New("the job is stopped in Nomad")
	// ErrCancelled: a durable request was cancelled while somebody waited for it.
	ErrCancelled = errors.New("the request was cancelled")
	// ErrExpired: result.keep has passed since the request's final state.
	ErrExpired  = errors.New("result.keep has passed")
	errClient   = errors.New("the client has gone")
	errBrokeOff = errors.New("its answer broke off")
)

// BadRequestError is the caller's fault.
type BadRequestError struct {
	Field   string // header, body field or "path"
	Message string
}

func (e *BadRequestError) Error() string { return e.Field + ": " + e.Message }

// StartFailedError says that replicas of the service die while they start.
type StartFailedError struct {
	Reason string    // the task's own last words
	Until  time.Time // when the next start is tried
}

func (e *StartFailedError) Error() string { return e.Reason }

// UpstreamError is a replica that failed before it answered, or (Attempts 0) that no
// request could be sent to.
type UpstreamError struct {
	Replica  string
	Attempts int
	Err      error
}

func (e *UpstreamError) Error() string {
	if e.Attempts == 0 {
		return fmt.Sprintf("replica %s was not reached: %v", e.Replica, e.Err)
	}
	return fmt.Sprintf("after %d of the allowed attempts, the last one at replica %s: %v", e.Attempts, e.Replica, e.Err)
}

func (e *UpstreamError) Unwrap() error { return e.Err }

// kindOf maps every error of the data path to its problem.
func kindOf(err error) kind {
	switch {
	case errors.Is(err, ErrUnknownService):
		return unknownService
	case errors.Is(err, ErrNotReady), errors.Is(err, queue.ErrStoreFull), errors.Is(err, queue.ErrStoreUnavailable):
		return storeAway
	case is[*BadRequestError](err), is[*translate.FieldError](err):
		return badRequest
	case is[*http.MaxBytesError](err):
		return bodyTooLarge
	case is[*HeaderError](err):
		return headerTooLarge
	case errors.Is(err, queue.ErrKeyReused):
		return keyReused
	case errors.Is(err, queue.ErrUnknownRequest):
		return unknownRequest
	case errors.Is(err, ErrExpired):
		return expired
	case errors.Is(err, ErrCancelled):
		return cancelled
	case is[*queue.FullError](err), is[*queue.KeptError](err):
		return queueFull
	case is[*StartFailedError](err):
		return startFailed
	case errors.Is(err, ErrPaused):
		return paused
	case errors.Is(err, ErrJobStopped):
		return jobStopped
	case errors.Is(err, queue.ErrStopped):
		return shuttingDown
	case errors.Is(err, ErrDeadline):
		return deadlinePassed
	case errors.Is(err, ErrRequestTimeout), errors.Is(err, ErrFirstByte), errors.Is(err, ErrIdle):
		return upstreamTimeout
	case errors.Is(err, errClient), errors.Is(err, context.Canceled):
		return clientGone
	}
	return upstreamFailed // *UpstreamError, *translate.AnswerError and whatever a replica does
}

func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

const mediaProblem = "application/problem+json"

// problem is RFC 9457's document.
type problem struct {
	Type       string   `json:"type"`
	Title      string   `json:"title"`
	Status     int      `json:"status"`
	Detail     string   `json:"detail"`
	Service    string   `json:"service,omitempty"`
	RequestID  string   `json:"request_id"`
	RetryAfter *int     `json:"retry_after_s,omitempty"`
	ETA        *float64 `json:"eta_s,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	Field      string   `json:"field,omitempty"`
	Allowed    string   `json:"allowed,omitempty"`
}

// fail answers with the problem of err, unless the client has gone.
func (a *Activator) fail(w http.ResponseWriter, r *http.Request, c *call, err error) {
	k := kindOf(err)
	c.status, c.failure = k.status, k.name
	if k.status == 499 {
		panic(http.ErrAbortHandler) // nobody reads an answer, and none may look like success
	}
	p := a.problemOf(c, k, err)
	if c.out != nil && c.out.committed {
		c.head(c.out.late)
		event, err := json.Marshal(openAIError(p))
		if err == nil {
			_, _ = fmt.Fprintf(c.out, "data: %s\n\n", event)
		}
		return
	}
	if p.RetryAfter != nil {
		w.Header().Set("Retry-After", strconv.Itoa(*p.RetryAfter))
	}
	c.head(w.Header())
	if c.attempt == 0 { // nothing of a replica is in the headers yet
		w.Header().Del("Content-Length")
	}
	contentType, document := p.document(r.URL.Path)
	writeJSON(w, contentType, k.status, document)
}

// problemOf an error, with what is known of the service's near future.
func (a *Activator) problemOf(c *call, k kind, err error) *problem {
	name := ""
	if c.service != nil {
		name = c.service.name
	}
	p := problem{Type: "urn:pilotlight:problem:" + k.name, Title: k.title, Status: k.status,
		Detail: err.Error(), Service: name, RequestID: c.id}
	var field *translate.FieldError
	var bad *BadRequestError
	var failed *StartFailedError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &field):
		p.Field, p.Detail, p.Allowed = field.Field, field.Error(), field.Allowed
	case errors.As(err, &bad):
		p.Field = bad.Field
	case errors.As(err, &failed):
		p.Reason = failed.Reason
	case errors.As(err, &large):
		p.Detail = fmt.Sprintf("the body is larger than hold.max_body, %d bytes", large.Limit)
	}
	a.tell(&p, c, k, failed)
	return &p
}

// document is the problem as callers of a path read it.
func (p *problem) document(path string) (contentType string, v any) {
	if within(path, "/v1") {
		return "application/json", openAIError(p)
	}
	return mediaProblem, p
}

// openAIError is the envelope that OpenAI's clients read.
func openAIError(p *problem) any {
	typ := "server_error"
	switch {
	case p.Status == http.StatusTooManyRequests:
		typ = "rate_limit_error"
	case p.Status < 500:
		typ = "invalid_request_error"
	}
	var param any
	if p.Field != "" {
		param = p.Field
	}
	return map[string]any{"error": map[string]any{
		"message": p.sentence(), "type": typ, "param": param,
		"code": strings.ReplaceAll(p.Type, "urn:pilotlight:problem:", ""), "request_id": p.RequestID,
	}}
}

// sentence is all that OpenAI's clients show of a problem.
func (p *problem) sentence() string {
	s := p.Title
	for _, more := range []string{p.Detail, p.Reason} {
		if more != "" && !strings.Contains(s, more) {
			s += ": " + more
		}
	}
	if p.ETA != nil && !strings.Contains(s, "expected in about") {
		s += fmt.Sprintf("; a slot is expected in about %.0f s", math.Ceil(*p.ETA))
	}
	return s
}

func writeJSON(w http.ResponseWriter, contentType string, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{}`)
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// retryUnknown is what Retry-After says where nothing is known, and retryPaused
// while nobody can know when an operator changes their mind.
const (
	retrySoon    = 1 * time.Second
	retryUnknown = 10 * time.Second
	retryPaused  = time.Minute
)

// tell fills Retry-After, ETA and reason from what is known: the rest of the
// launch brake's pause, and how long a request would wait that came now (forecast).
func (a *Activator) tell(p *problem, c *call, k kind, failed *StartFailedError) {
	if c.service == nil {
		if k.status == http.StatusServiceUnavailable {
			p.retryAfter(retrySoon, retrySoon)
		}
		return
	}
	refused := k.status == http.StatusTooManyRequests || k.status == http.StatusServiceUnavailable
	if !refused && k != deadlinePassed || k == deadlinePassed && c.fetched { // asked again, it is the same
		return
	}
	most := c.service.policy.Hold.MaxWait
	st, known := a.cfg.Statuses.Status(c.service.name)
	if known && p.Reason == "" && st.Blocked != nil {
		p.Reason = *st.Blocked
	}
	switch {
	case failed != nil:
		p.retryAfter(time.Until(failed.Until), most)
		return
	case k == paused, k == jobStopped:
		wait := retryPaused
		if st.PinnedUntil != nil {
			wait = time.Until(*st.PinnedUntil)
		}
		p.retryAfter(wait, most)
		return
	case k == shuttingDown, k == storeAway:
		p.retryAfter(retrySoon, most)
		return
	}
	if p.ETA = a.newcomer(c.service); p.ETA != nil {
		p.retryAfter(time.Duration(*p.ETA*float64(time.Second)), most)
	} else if refused {
		p.retryAfter(retryUnknown, most)
	}
}

// retryAfter is told in whole seconds, at least one and no more than requests of
// the service are held for.
func (p *problem) retryAfter(wait, most time.Duration) {
	s := int(math.Ceil(min(max(wait, time.Second), max(most, time.Second)).Seconds()))
	p.RetryAfter = &s
}
