package activator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/activator/translate"
)

// smallBody is read into memory before a request is tried, so that it can be
// repeated; a larger one streams while a slot is free, and is read whole only if
// the request has to be held.
const smallBody = 64 << 10

// call is one request on its way.
type call struct {
	a       *Activator
	id      string
	path    string
	service *service
	adapter translate.Adapter // nil: forward as it is
	keyed   bool

	body     []byte // if buffered
	buffered bool
	stream   *streamedBody // if not

	arrived  time.Time
	deadline time.Time // of the hold
	wait     queue.Wait
	waited   time.Duration // all waits together
	cold     time.Duration // of waited, until the first replica was there
	wasCold  bool
	released time.Time // when the last attempt got its slot
	answered time.Time // when its response headers came
	attempt  int
	seq      int64 // place in the queue, once held
	slot     *queue.Slot
	watch    *watch

	status  int
	failure string // problem name, "" if a replica answered
}

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// streamedBody remembers whether anything of it was read: if not, the request
// was never sent.
type streamedBody struct {
	io.Reader
	touched bool
}

func (b *streamedBody) Read(p []byte) (int, error) { b.touched = true; return b.Reader.Read(p) }
func (b *streamedBody) Close() error               { return nil }

// prepare routes and admits the request: service, deadline, body. Nothing of it
// wakes anything.
func (a *Activator) prepare(w http.ResponseWriter, r *http.Request, c *call) error {
	if err := cleanPath(r.URL.Path); err != nil {
		return &BadRequestError{Field: "path", Message: err.Error()}
	}
	rt := a.routes.Load()
	if rt == nil {
		return fmt.Errorf("%w: policies have not been read yet", ErrUnknownService)
	}
	s, byModel := rt.find(r)
	if byModel {
		if r.Method != http.MethodPost {
			return &BadRequestError{Field: "method", Message: "use POST"}
		}
		if err := c.readBody(w, r, rt.maxBody); err != nil {
			return err
		}
		model, err := modelOf(c.body)
		if err != nil {
			return err
		}
		if s = rt.models[model]; s == nil {
			return fmt.Errorf("%w: no policy routes model %q; GET /v1/models lists those that are", ErrUnknownService, clip(model, 100))
		}
	}
	if s == nil {
		return fmt.Errorf("%w: no policy routes %s %s", ErrUnknownService, r.Method, clip(r.URL.Path, 200))
	}
	c.service = s
	if err := c.admit(w, r); err != nil {
		return err
	}
	if s.adapter != nil && r.URL.Path == "/translate" {
		c.adapter = s.adapter
		if r.Method != http.MethodPost {
			return &BadRequestError{Field: "method", Message: "use POST"}
		}
		return c.readBody(w, r, s.policy.Hold.MaxBody)
	}
	return nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// admit checks what the caller asks of us, and reads or prepares the body.
func (c *call) admit(w http.ResponseWriter, r *http.Request) error {
	p := c.service.policy
	c.keyed = r.Header.Get("Idempotency-Key") != ""
	c.deadline = c.arrived.Add(p.Hold.MaxWait)
	if v := r.Header.Get("Pilotlight-Deadline"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 {
			return &BadRequestError{Field: "Pilotlight-Deadline", Message: fmt.Sprintf("%q is not a duration above 0, such as 90s", clip(v, 40))}
		}
		if t := c.arrived.Add(d); t.Before(c.deadline) {
			c.deadline = t
		}
	}
	if r.ContentLength > p.Hold.MaxBody || int64(len(c.body)) > p.Hold.MaxBody {
		return &http.MaxBytesError{Limit: p.Hold.MaxBody}
	}
	switch {
	case c.buffered:
	case r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0:
		c.buffered = true
	case r.ContentLength > 0 && r.ContentLength <= smallBody:
		return c.readBody(w, r, p.Hold.MaxBody)
	default:
		c.stream = &streamedBody{Reader: http.MaxBytesReader(w, r.Body, p.Hold.MaxBody)}
	}
	return nil
}

// readBody reads the whole body into memory.
func (c *call) readBody(w http.ResponseWriter, r *http.Request, limit int64) error {
	if c.buffered {
		return nil
	}
	if r.ContentLength > limit {
		return &http.MaxBytesError{Limit: limit}
	}
	var src io.Reader = http.MaxBytesReader(w, r.Body, limit)
	if c.stream != nil {
		src = c.stream.Reader
	}
	body, err := readAll(src, r.ContentLength)
	if err != nil {
		if is[*http.MaxBytesError](err) {
			return err
		}
		return errors.Join(errClient, err)
	}
	c.body, c.buffered, c.stream = body, true, nil
	return nil
}

func readAll(r io.Reader, size int64) ([]byte, error) {
	if size >= 0 && size <= smallBody {
		b := make([]byte, size)
		_, err := io.ReadFull(r, b)
		return b, err
	}
	var b bytes.Buffer
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

// modelOf reads the "model" of an OpenAI body.
func modelOf(body []byte) (string, error) {
	var b struct {
		Model *string `json:"model"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return "", &BadRequestError{Field: "body", Message: "not JSON with a text as \"model\": " + err.Error()}
	}
	if b.Model == nil || *b.Model == "" {
		return "", &BadRequestError{Field: "model", Message: "required: which model the request is for; GET /v1/models lists them"}
	}
	return *b.Model, nil
}

// head writes what we tell of every request that reached a service.
func (c *call) head(h http.Header) {
	if c.service == nil {
		return
	}
	h["Pilotlight-Cold-Start"] = yesNo[c.wasCold]
	if c.slot != nil {
		h["Pilotlight-Replica"] = []string{c.slot.Replica}
	}
	h["Server-Timing"] = []string{c.timing()}
}

var yesNo = map[bool][]string{true: {"true"}, false: {"false"}}

// timing: the three parts add up to the time from arrival to the answer's first
// byte. cold is the wait until a replica was there, hold the rest of the wait,
// upstream all else: the replica's own time and what forwarding cost.
func (c *call) timing() string {
	end := c.answered
	if end.IsZero() {
		end = time.Now()
	}
	b := make([]byte, 0, 64)
	b = append(b, "hold;dur="...)
	b = appendMS(b, c.waited-c.cold)
	b = append(b, ", cold;dur="...)
	b = appendMS(b, c.cold)
	b = append(b, ", upstream;dur="...)
	b = appendMS(b, end.Sub(c.arrived)-c.waited)
	return string(b)
}

func appendMS(b []byte, d time.Duration) []byte {
	return strconv.AppendFloat(b, float64(max(d, 0).Microseconds())/1000, 'f', -1, 64)
}

// finish counts the request.
func (a *Activator) finish(c *call) {
	if c.service == nil {
		a.metrics.unrouted(c)
		return
	}
	c.service.metrics.finish(c, time.Now())
}
