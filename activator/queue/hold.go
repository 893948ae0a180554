package queue

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// Hold waits until the request has a slot, its ctx ends (the cause is the
// error), Fail is called for the service, or the activator stops. The ticket is
// written to Redis at once; while Redis is away it waits in this process, within
// the same limits, and is numbered when Redis is back.
func (q *Queue) Hold(ctx context.Context, t *Ticket, limits Limits) (*Slot, Wait, error) {
	s := q.service(t.Service)
	w := &waiter{ticket: t, limits: limits, asking: true, outcome: make(chan outcome, 1)}
	w.wait = Wait{Held: true, From: time.Now()}
	s.mu.Lock()
	s.lastUse = w.wait.From
	if t.Seq == 0 && (len(s.waiters) >= limits.Requests || s.heldBytes+int64(len(t.Body)) > limits.Bytes) {
		err := &FullError{Service: s.name, Held: len(s.waiters), Bytes: s.heldBytes}
		s.mu.Unlock()
		return nil, w.wait, err
	}
	w.wait.Cold = !s.readyLocked()
	s.waiters[t.ID] = w
	w.place = s.order.PushBack(w)
	s.heldBytes += int64(len(t.Body))
	away := s.away
	s.mu.Unlock()

	select {
	case <-q.stopped:
		s.abandon(w)
		return nil, w.wait, ErrStopped
	default:
	}
	if away {
		s.mu.Lock()
		w.asking = false
		s.handOffLocked()
		s.mu.Unlock()
		s.kick()
	} else {
		q.asking.Go(func() { _ = s.ask(ctx, w) }) // while Redis is away the settler asks again
	}
	var o outcome
	select {
	case o = <-w.outcome:
	case <-ctx.Done():
		s.abandon(w)
		return nil, s.waitOf(w), context.Cause(ctx)
	case <-q.stopped:
		s.abandon(w)
		return nil, s.waitOf(w), ErrStopped
	}
	return o.slot, s.waitOf(w), o.err
}

func (s *service) waitOf(w *waiter) Wait {
	s.mu.Lock()
	defer s.mu.Unlock()
	return w.wait
}

// Fail ends every wait for the service with err: nothing will come.
func (q *Queue) Fail(name string, err error) {
	s := q.known(name)
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.order.Len() > 0 {
		w := s.order.Front().Value.(*waiter)
		s.withdraw[w.ticket.ID] = true
		s.endLocked(w, outcome{err: err})
	}
	s.kick()
}

// abandon withdraws a waiter, and gives its slot back if one has come meanwhile.
func (s *service) abandon(w *waiter) {
	s.mu.Lock()
	if s.waiters[w.ticket.ID] == w {
		s.withdraw[w.ticket.ID] = true
		s.endLocked(w, outcome{})
	}
	s.mu.Unlock()
	s.kick()
	if o := <-w.outcome; o.slot != nil {
		o.slot.Release()
	}
}

// ask writes the ticket to Redis; the answer may be its slot already. The call
// outlives its caller, whose ticket must not stay behind unseen.
func (s *service) ask(ctx context.Context, w *waiter) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.q.cfg.Timeout)
	defer cancel()
	t := w.ticket
	args := []any{
		ticketPrefix(s.name), s.name, s.q.cfg.Lease.Milliseconds(),
		s.q.cfg.Activator, t.ID, t.Deadline.UnixMilli(), len(t.Body),
		w.limits.Requests, w.limits.Bytes, t.Seq,
		"request_id", t.RequestID, "method", t.Method, "path", t.Path, "header", storedHeader(t.Header), "body", t.Body,
	}
	reply, err := holdScript.Run(ctx, s.q.cfg.Redis, keysOf(s.name), args...).Slice()

	s.mu.Lock()
	defer s.mu.Unlock()
	w.asking = false
	if err != nil {
		s.awayLocked("hold", err)
		return err
	}
	if s.waiters[t.ID] != w { // ended meanwhile; its withdrawal may have come too early
		s.withdraw[t.ID] = true
		s.kick()
		return nil
	}
	w.numbered = true
	w.wait.Cold = number(reply[1]) == 0
	if t.Seq == 0 {
		t.Seq = number(reply[2])
	}
	switch reply[0] {
	case "full":
		w.numbered = false
		s.endLocked(w, outcome{err: &FullError{Service: s.name, Held: int(number(reply[2])), Bytes: number(reply[3])}})
	case "granted":
		var offer jobs.SlotOffer
		if err := json.Unmarshal([]byte(reply[4].(string)), &offer); err != nil {
			w.numbered = false
			return err
		}
		s.offerLocked(offer)
		s.acceptLocked(t.ID, offer.ID)
		s.kick()
	default:
		s.contended = true
		s.kick()
	}
	return nil
}

// storedHeader is the request's header as JSON, without what must not be
// written down.
func storedHeader(h http.Header) []byte {
	h = h.Clone()
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie"} {
		h.Del(name)
	}
	b, err := json.Marshal(h)
	if err != nil {
		return []byte("{}")
	}
	return b
}

func number(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}
