package activator

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pilotlight/pilotlight/policies"
)

// watch cuts a request in its slot when request.first_byte, request.idle or
// request.timeout passes. One timer serves all three: it fires at the earliest
// moment one of them could have passed, and looks again if bytes have come since.
type watch struct {
	limits   policies.Request
	deadline time.Time // of the caller; zero: none
	cancel   context.CancelCauseFunc
	upload   *clientBody              // that is sent as it comes; nil: it is at hand
	client   *http.ResponseController // nil: the answer is stored, not written to a client

	mu       sync.Mutex
	timer    *time.Timer
	released time.Time
	body     bool         // the answer has begun
	last     atomic.Int64 // Unix ns of the last byte
}

func (w *watch) sent(released time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.released, w.body = released, false
	next := w.bounded(min(w.limits.FirstByte, w.limits.Timeout), released)
	if w.timer == nil {
		w.timer = time.AfterFunc(next, w.fire)
	} else {
		w.timer.Reset(next)
	}
}

func (w *watch) answered(now time.Time) {
	w.last.Store(now.UnixNano())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.body = true
	w.timer.Reset(w.bounded(min(w.limits.Idle, w.limits.Timeout-now.Sub(w.released)), now))
}

// bounded cuts a wait to what the caller's deadline leaves of it.
func (w *watch) bounded(d time.Duration, now time.Time) time.Duration {
	if w.deadline.IsZero() {
		return d
	}
	return min(d, w.deadline.Sub(now))
}

// cut ends the request upstream, and whatever is being written to a client that
// does not read: its slot must not wait for it.
func (w *watch) cut(cause error) {
	w.cancel(cause)
	if w.body && w.client != nil {
		_ = w.client.SetWriteDeadline(time.Now())
	}
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watch) fire() {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.deadline.IsZero() && !now.Before(w.deadline) {
		w.cut(ErrDeadline)
		return
	}
	if now.Sub(w.released) >= w.limits.Timeout {
		w.cut(ErrRequestTimeout)
		return
	}
	if !w.body {
		// It counts from the last that the replica was sent of the request.
		silent := now.Sub(w.upload.since(w.released))
		if silent >= w.limits.FirstByte {
			w.cut(ErrFirstByte)
		} else {
			w.timer.Reset(w.bounded(min(w.limits.FirstByte-silent, w.limits.Timeout-now.Sub(w.released)), now))
		}
		return
	}
	quiet := now.Sub(time.Unix(0, w.last.Load()))
	if quiet >= w.limits.Idle {
		w.cut(ErrIdle)
		return
	}
	w.timer.Reset(w.bounded(min(w.limits.Idle-quiet, w.limits.Timeout-now.Sub(w.released)), now))
}

// answerBody gives the slot back when the answer has been read or given up.
type answerBody struct {
	io.ReadCloser
	c    *call
	ctx  context.Context
	once sync.Once
	cut  atomic.Bool // it ended early
}

// wrap keeps what an upgraded connection needs: a body that can be written to.
func (c *call) wrap(ctx context.Context, body io.ReadCloser) io.ReadCloser {
	b := &answerBody{ReadCloser: body, c: c, ctx: ctx}
	c.answer = b
	if rw, ok := body.(io.ReadWriteCloser); ok {
		return &upgradedBody{answerBody: b, w: rw}
	}
	return b
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.c.watch.last.Store(time.Now().UnixNano())
	}
	if err != nil && err != io.EOF {
		b.cut.Store(true)
	}
	return n, err
}

func (b *answerBody) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(func() {
		c := b.c
		c.watch.stop()
		now := time.Now()
		cut := b.cut.Load()
		if cut { // the status was sent already
			c.failure = kindOf(context.Cause(b.ctx)).name
			if b.ctx.Err() == nil {
				c.failure = upstreamFailed.name
			}
		}
		c.service.done(now, now.Sub(c.released), c.status >= http.StatusInternalServerError || cut)
		c.slot.Release()
	})
	return err
}

type upgradedBody struct {
	*answerBody
	w io.Writer
}

func (b *upgradedBody) Write(p []byte) (int, error) {
	b.c.watch.last.Store(time.Now().UnixNano())
	return b.w.Write(p)
}
