package activator

import (
	"context"
	"sync"
	"time"
)

// waiting are the connections that wait for a durable request to be run, or to
// hear of one. The queue ends the waits of other connections itself; these it does
// not know.
type waiting struct {
	mu sync.Mutex
	of map[string]map[*context.CancelCauseFunc]time.Time // by service: until when they wait
	// stopped is why every wait ends, also one that begins later; nil: none has to.
	stopped error
}

func (ws *waiting) add(ctx context.Context, service string, deadline time.Time) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.of == nil {
		ws.of = map[string]map[*context.CancelCauseFunc]time.Time{}
	}
	if ws.of[service] == nil {
		ws.of[service] = map[*context.CancelCauseFunc]time.Time{}
	}
	ws.of[service][&cancel] = deadline
	if ws.stopped != nil {
		cancel(ws.stopped)
	}
	return ctx, func() {
		cancel(nil)
		ws.mu.Lock()
		defer ws.mu.Unlock()
		if delete(ws.of[service], &cancel); len(ws.of[service]) == 0 {
			delete(ws.of, service)
		}
	}
}

// watching are waits that nothing but stop ends: of those who only hear of a
// request, or whose request has been accepted already.
func (ws *waiting) watching(ctx context.Context) (context.Context, func()) {
	return ws.add(ctx, "", time.Time{}) // no service is called so
}

// fail ends the waits for a service with err.
func (ws *waiting) fail(service string, err error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for cancel := range ws.of[service] {
		(*cancel)(err)
	}
}

// failBefore ends with err the waits for a service that last until before earliest.
// It returns how many there were.
func (ws *waiting) failBefore(service string, earliest time.Time, err error) (ended int) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for cancel, deadline := range ws.of[service] {
		if deadline.Before(earliest) {
			(*cancel)(err)
			ended++
		}
	}
	return ended
}

// stop ends all waits with err, and all that begin later.
func (ws *waiting) stop(err error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.stopped = err
	for _, all := range ws.of {
		for cancel := range all {
			(*cancel)(err)
		}
	}
}
