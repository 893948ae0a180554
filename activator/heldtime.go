package activator

import (
	"time"

	"github.com/pilotlight/pilotlight/activator/queue"
)

// heldTime adds up, for the connection that waits for a durable request, how long
// that one stands in the queue: it may go back there after each attempt, and what it
// waits then is as little its replica's time as what it waited at first.
type heldTime struct {
	a     *Activator
	c     *call
	last  time.Time     // of the last look
	held  bool          // it was in the queue then
	cold  time.Duration // queue.ColdTime then
	since time.Duration // c.waited when this wait began
}

// heldFrom is for a request that is being submitted.
func (a *Activator) heldFrom(c *call) *heldTime { return &heldTime{a: a, c: c, last: time.Now()} }

// submitted: if it has no slot yet, it has been held from the beginning.
func (t *heldTime) submitted(e queue.Entry) {
	if t.held = e.State == queue.StateHeld; !t.held {
		return
	}
	total, none := t.a.cfg.Queue.ColdTime(t.c.service.name)
	if t.cold = total; none {
		t.c.wasCold = true
		t.cold -= time.Since(t.last)
	}
	t.so(true)
}

// sees how the request stands. Nil, for who waits for nothing, sees nothing.
func (t *heldTime) sees(e queue.Entry) { t.so(e.State == queue.StateHeld) }

// so it stands: what has passed since the last look counts as it stood then.
func (t *heldTime) so(held bool) {
	if t == nil {
		return
	}
	now := time.Now()
	total, none := t.a.cfg.Queue.ColdTime(t.c.service.name)
	switch {
	case t.held:
		t.c.waited += now.Sub(t.last)
		t.c.cold += total - t.cold
		t.c.wasCold = t.c.wasCold || total > t.cold
		if !held {
			t.c.service.metrics.held(t.c.waited - t.since)
		}
	case held:
		t.since = t.c.waited
		t.c.wasCold = t.c.wasCold || none
	}
	t.last, t.held, t.cold = now, held, total
}
