package activator

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
)

// newProxy is the standard reverse proxy with tries as its transport: bodies
// stream both ways, event streams are flushed as they come, upgrades pass.
func (a *Activator) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport:  a.tries,
		BufferPool: newCopyBuffers(),
		ErrorLog:   slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		Rewrite: func(pr *httputil.ProxyRequest) {
			c := callOf(pr.In.Context())
			pr.Out.Host = pr.In.Host
			pr.SetXForwarded()
			pr.Out.Header["X-Request-Id"] = []string{c.id}
			pr.Out.Header.Del("Expect") // the body is at hand, or has begun
			if c.stripped != "" {
				pr.Out.URL.Path, pr.Out.URL.RawPath = c.stripped, ""
			}
		},
		ModifyResponse: func(resp *http.Response) error {
			c := callOf(resp.Request.Context())
			c.status = resp.StatusCode
			c.head(resp.Header)
			if c.out.committed {
				return asEvent(c, resp)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			a.fail(w, r, callOf(r.Context()), err)
		},
	}
}

// forward sends the request as it is.
func (a *Activator) forward(w http.ResponseWriter, r *http.Request, c *call) {
	ctx, cancel := c.begin(w, r)
	defer cancel(nil)
	r = r.WithContext(ctx)
	r.Body = http.NoBody // the tries give it its body
	c.out = &heartbeat{ResponseWriter: w, asked: r.Header}
	defer c.out.end()
	defer a.tellBreak(ctx, r, c)
	// The proxy closes an upgraded connection from a goroutine of its own, after it
	// has returned: what the call's end counts must be there by then.
	defer func() {
		if c.answer != nil {
			_ = c.answer.Close()
		}
	}()
	a.proxy.ServeHTTP(c.out, r)
}

// tellBreak ends a stream that had heartbeats, and whose answer broke off between two
// events, with an event that says so. Any other answer that breaks off can only be
// told by breaking the connection, as the proxy does.
func (a *Activator) tellBreak(ctx context.Context, r *http.Request, c *call) {
	p := recover()
	if p == nil {
		return
	}
	if p != http.ErrAbortHandler || !c.out.between() || c.failure == clientGone.name {
		panic(p)
	}
	err := context.Cause(ctx)
	if err == nil {
		err = &UpstreamError{Replica: c.slot.Replica, Attempts: c.attempt, Err: errBrokeOff}
	}
	a.fail(c.out, r, c, err)
}

// begin makes the context in which the request runs upstream: it ends with the
// client, and with the limits of the policy.
func (c *call) begin(w http.ResponseWriter, r *http.Request) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), callKey{}, c))
	c.watch = &watch{limits: c.service.policy.Request, cancel: cancel, upload: c.stream, client: http.NewResponseController(w)}
	if c.bounded {
		c.watch.deadline = c.deadline
	}
	return ctx, cancel
}

// stripPrefix takes the longest of the prefixes off a path.
func stripPrefix(path string, prefixes []string) string {
	best := ""
	for _, p := range prefixes {
		if p = strings.TrimSuffix(p, "/"); within(path, p) && len(p) > len(best) {
			best = p
		}
	}
	return "/" + strings.TrimLeft(strings.TrimPrefix(path, best), "/")
}

// copyBuffers are shared by all answers being copied.
type copyBuffers struct{ pool sync.Pool }

func newCopyBuffers() *copyBuffers {
	return &copyBuffers{sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}}
}

func (p *copyBuffers) Get() []byte  { return *p.pool.Get().(*[]byte) }
func (p *copyBuffers) Put(b []byte) { p.pool.Put(&b) }
