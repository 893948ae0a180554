package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pilotlight/pilotlight/internal/subscribe"
)

// EndedError says that a durable request ended without an answer that can be
// read: it failed before any replica answered, was cancelled, its answer broke
// off, or was too large to be kept.
type EndedError struct{ Entry Entry }

func (e *EndedError) Error() string {
	if e.Entry.TooLarge {
		return ErrTooLarge.Error()
	}
	return fmt.Sprintf("the request %s: %s", e.Entry.State, e.Entry.Reason)
}

// readers of this process, told by Redis when something changes.
type readers struct {
	mu sync.Mutex
	of map[string]map[chan struct{}]bool // by ticket
}

func (r *readers) add(id string) (changed chan struct{}, remove func()) {
	changed = make(chan struct{}, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of[id] == nil {
		r.of[id] = map[chan struct{}]bool{}
	}
	r.of[id][changed] = true
	return changed, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if delete(r.of[id], changed); len(r.of[id]) == 0 {
			delete(r.of, id)
		}
	}
}

// tell the readers of one ticket, or all of them ("").
func (r *readers) tell(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for of, all := range r.of {
		if id == "" || of == id {
			for ch := range all {
				poke(ch)
			}
		}
	}
}

// followAnswers wakes readers, and stops what was cancelled.
func (q *Queue) followAnswers(ctx context.Context) error {
	connected := func() { q.readers.tell("") }
	return subscribe.Follow(ctx, q.cfg.Redis, answersChannel, q.cfg.Logger, connected, func(payload string) {
		name, id, _ := strings.Cut(payload, " ")
		id, cancelled := strings.CutSuffix(id, " cancel")
		q.readers.tell(id)
		if s := q.known(name); cancelled && s != nil {
			s.mu.Lock()
			if e := s.running[id]; e != nil {
				e.cancel(ErrFenced)
			}
			s.mu.Unlock()
		}
	})
}

// lookEvery is how often a reader looks by itself: messages get lost.
const lookEvery = time.Second

// Await returns what is known of a durable request as soon as until says so, and
// at the latest when it is final. It sees every activator's requests. While Redis
// does not answer it waits; the error is then that of ctx. Else ErrUnknownRequest.
func (q *Queue) Await(ctx context.Context, id string, until func(Entry) bool) (Entry, error) {
	changed, remove := q.readers.add(id)
	defer remove()
	for {
		e, err := q.Find(ctx, id)
		if errors.Is(err, ErrUnknownRequest) || err == nil && (e.State.Final() || until(e)) {
			return e, err
		}
		if err := waitFor(ctx, changed); err != nil {
			return e, err
		}
	}
}

func waitFor(ctx context.Context, changed <-chan struct{}) error {
	look := time.NewTimer(lookEvery)
	defer look.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-changed:
	case <-look.C:
	}
	return nil
}

// Answer is a stored answer, read while it is being written. Read returns what is
// stored, waits for more, and io.EOF at its end; *EndedError if it broke off.
type Answer struct {
	Entry  Entry // when the answer was found to have begun
	Status int
	Header http.Header

	q       *Queue
	ctx     context.Context
	id      string
	changed chan struct{}
	remove  func()
	next    int // chunk
	buf     [][]byte
	err     error
}

// Answer waits until the answer of a durable request has begun and returns it, to
// be read until ctx ends; close it. Any number may read it, at any activator, live
// or later. Each look at the request until then is shown to seen; nil: to nobody.
// Errors: *EndedError, ErrUnknownRequest, or the cause of ctx's end.
func (q *Queue) Answer(ctx context.Context, id string, seen func(Entry)) (*Answer, error) {
	a := &Answer{q: q, ctx: ctx, id: id}
	a.changed, a.remove = q.readers.add(id)
	for {
		e, chunks, err := q.read(ctx, id, 0)
		if err == nil && seen != nil {
			seen(e)
		}
		switch {
		case errors.Is(err, ErrUnknownRequest):
			a.remove()
			return nil, err
		case err != nil:
		case e.Unanswered():
			a.remove()
			return nil, &EndedError{e}
		case e.Status != 0:
			a.Entry, a.Status, a.Header = e, e.Status, e.Header
			a.take(e, chunks)
			return a, nil
		}
		if err := waitFor(ctx, a.changed); err != nil {
			a.remove()
			return nil, err
		}
	}
}

// Unanswered reports whether there is no answer to be read, and will be none: Answer
// returns an *EndedError then.
func (e Entry) Unanswered() bool {
	return e.TooLarge || e.State.Final() && e.Status == 0 || ended(e)
}

// ended: final, and what is stored of the answer is not all of it.
func ended(e Entry) bool {
	return e.State == StateCancelled || e.State == StateFailed && e.Reason == ReasonCut
}

func (a *Answer) take(e Entry, chunks [][]byte) {
	a.buf = chunks
	a.next += len(chunks)
	switch {
	case ended(e) || e.TooLarge:
		a.err = &EndedError{e}
	case e.State.Final() && a.next >= e.Chunks:
		a.err = io.EOF
	}
}

func (a *Answer) Read(p []byte) (int, error) {
	for {
		for len(a.buf) > 0 {
			n := copy(p, a.buf[0])
			if a.buf[0] = a.buf[0][n:]; len(a.buf[0]) == 0 {
				a.buf = a.buf[1:]
			}
			if n > 0 {
				return n, nil
			}
		}
		if a.err != nil {
			return 0, a.err
		}
		e, chunks, err := a.q.read(a.ctx, a.id, a.next)
		switch {
		case errors.Is(err, ErrUnknownRequest):
			a.err = err
			continue
		case err == nil:
			if a.take(e, chunks); len(chunks) > 0 || a.err != nil {
				continue
			}
		}
		if err := waitFor(a.ctx, a.changed); err != nil {
			return 0, err
		}
	}
}

// Close ends reading.
func (a *Answer) Close() error {
	a.remove()
	return nil
}
