package activator

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/activator/translate"
)

// call is one request on its way.
type call struct {
	a        *Activator
	id       string
	path     string
	stripped string // path at the replica, if the policy strips the prefix
	service  *service
	adapter  translate.Adapter // nil: forward as it is
	keyed    bool
	prefer   preference
	fetched  bool   // an earlier request's result: whatever it is, it is no failure of this one
	replica  string // that answered a durable request

	reserved int64    // bytes of account
	account  *account // of buffered bytes: the service's, or of those not routed yet
	body     []byte   // if buffered
	buffered bool
	stream   *clientBody // if not

	arrived  time.Time
	deadline time.Time // of the hold
	bounded  bool      // the caller gave a deadline: it bounds the whole request
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
	answer   *answerBody // of the try that was answered
	out      *heartbeat  // while it is forwarded as it is

	status  int
	failure string // problem name, "" if a replica answered
}

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// prepare routes and admits the request: service, deadline, body. Nothing of it
// wakes anything.
func (a *Activator) prepare(w http.ResponseWriter, r *http.Request, c *call) error {
	if err := cleanPath(r.URL.Path); err != nil {
		return &BadRequestError{Field: "path", Message: err.Error()}
	}
	rt, err := a.routesSoon(r.Context())
	if err != nil {
		return err
	}
	s, byModel := rt.find(r)
	if byModel {
		if r.Method != http.MethodPost {
			return &BadRequestError{Field: "method", Message: "use POST"}
		}
		c.deadline = c.arrived.Add(rt.maxWait)
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
	if p := s.policy.Route; p.StripPrefix {
		c.stripped = stripPrefix(r.URL.Path, p.PathPrefixes)
		if private(c.stripped) || reserved(c.stripped) {
			return fmt.Errorf("%w: no policy routes %s %s", ErrUnknownService, r.Method, clip(r.URL.Path, 200))
		}
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
	plainUpgrade(r.Header)
	if r.Header.Get("Upgrade") == "" { // what is upgraded cannot be stored
		key := r.Header.Get("Idempotency-Key")
		if err := checkKey(key); err != nil {
			return err
		}
		var err error
		if c.prefer, err = preferenceOf(r.Header); err != nil {
			return err
		}
		c.keyed = key != ""
	}
	c.deadline = c.arrived.Add(p.Hold.MaxWait)
	if v := r.Header.Get("Pilotlight-Deadline"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 {
			return &BadRequestError{Field: "Pilotlight-Deadline", Message: fmt.Sprintf("%q is not a duration above 0, such as 90s", clip(v, 40))}
		}
		longest := p.Hold.MaxWait
		if c.prefer.async {
			longest = p.Hold.AsyncMaxWait
		}
		if d < longest {
			c.deadline, c.bounded = c.arrived.Add(d), true
		}
	}
	if r.ContentLength > p.Hold.MaxBody || int64(len(c.body)) > p.Hold.MaxBody {
		return &http.MaxBytesError{Limit: p.Hold.MaxBody}
	}
	body := c.a.newClientBody(w, r, p.Hold.MaxBody)
	switch {
	case c.buffered:
	case r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0:
		c.buffered = true
	case r.ContentLength > 0 && r.ContentLength <= smallBody:
		return c.readBody(w, r, p.Hold.MaxBody)
	default:
		c.stream = body
	}
	return nil
}

// head writes what we tell of every request that reached a service.
func (c *call) head(h http.Header) {
	h["X-Request-Id"] = []string{c.id}
	if c.service == nil {
		return
	}
	h["Pilotlight-Cold-Start"] = yesNo[c.wasCold]
	switch {
	case c.slot != nil:
		h["Pilotlight-Replica"] = []string{c.slot.Replica}
	case c.replica != "":
		h["Pilotlight-Replica"] = []string{c.replica}
	}
	h["Server-Timing"] = []string{c.timing()}
}

var yesNo = map[bool][]string{true: {"true"}, false: {"false"}}

// longest that an answer is waited for. What is read again after its service's policy
// was removed is there, or will never be.
func (c *call) longest() time.Duration {
	if c.service == nil {
		return longestPoll
	}
	return c.service.policy.Hold.MaxWait + time.Duration(c.service.attempts)*c.service.policy.Request.Timeout
}

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
	c.release()
	if c.service == nil {
		a.metrics.unrouted(c)
		return
	}
	c.service.metrics.finish(c, time.Now())
}
