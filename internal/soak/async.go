package soak

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// async requests are submitted, found again at any activator until they are final,
// and their results read.
func (l *load) async(ctx context.Context, a *ask) {
	if !l.submit(ctx, a) {
		return
	}
	if a.deletes {
		sleep(ctx, a.activity, time.Second)
		l.cancel(ctx, a)
	}
	l.follow(ctx, a)
	if a.State != "succeeded" {
		return
	}
	result := func(ctx context.Context) {
		l.reread(ctx, a, func(activator int) (Call, []byte) {
			c, body, _ := l.house.exchange(ctx, activator, message{what: "result", method: http.MethodGet, path: requestsPath + a.Ticket + "/result"})
			c.judge(a.Request, a.body, body)
			return c, body
		})
	}
	result(ctx)
	result(ctx)
	l.later(result)
}

// submit until it is accepted, if it has a key; else once. It reports whether
// there is something to follow.
func (l *load) submit(ctx context.Context, a *ask) bool {
	hangUp := a.hangUp
	for time.Now().Before(l.settle) && ctx.Err() == nil {
		c, _, head := l.post(ctx, a, "POST", a.anywhere(), hangUp)
		l.note(a.Request, c)
		hangUp = 0
		if c.Status == http.StatusAccepted && c.Err == "" {
			a.Accepted, a.Ticket = c.Until, ticketOf(head)
			return true
		}
		if !passing(c) || !a.Keyed {
			return false // answered at once (Prefer: wait), refused, or not known to anybody
		}
		sleep(ctx, a.activity, 400*time.Millisecond)
	}
	return false
}

func (l *load) cancel(ctx context.Context, a *ask) {
	for time.Now().Before(l.settle) && ctx.Err() == nil {
		c, _, _ := l.house.exchange(ctx, a.anywhere(), message{what: "DELETE", method: http.MethodDelete, path: requestsPath + a.Ticket})
		l.note(a.Request, c)
		if !passing(c) {
			return
		}
		sleep(ctx, a.activity, 400*time.Millisecond)
	}
}

// follow until the state is final.
func (l *load) follow(ctx context.Context, a *ask) {
	for time.Now().Before(l.settle) && ctx.Err() == nil {
		c, body, _ := l.house.exchange(ctx, a.anywhere(), message{what: "state", method: http.MethodGet, path: requestsPath + a.Ticket + "?wait=5"})
		var state struct{ State, Reason string }
		if c.Err == "" && c.Status < 300 {
			if err := json.Unmarshal(body, &state); err != nil {
				c.Wrong = err.Error()
			}
		}
		l.note(a.Request, c)
		switch {
		case c.Status == http.StatusOK && c.Err == "":
			a.State, a.Reason = state.State, state.Reason
			return
		case c.Status == http.StatusNotFound, c.Status == http.StatusGone:
			return // Audit says what that means
		case passing(c):
			sleep(ctx, a.activity, 400*time.Millisecond)
		}
	}
}
