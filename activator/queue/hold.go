package queue

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/jobs"
)

// Hold waits until the request has a slot, its ctx ends (the cause is the
// error), Fail is called for the service, or the activator stops. The ticket is
// written to Redis at once; while Redis is away it waits in this process, within
// the same limits, and is numbered when Redis is back. The ticket goes with this
// process: see Submit for those that do not.
func (q *Queue) Hold(ctx context.Context, t *Ticket, limits Limits) (*Slot, Wait, error) {
	limits.Defaults()
	s := q.service(t.Service)
	w := &waiter{ticket: t, limits: limits, bytes: sizeOf(t.Path, t.Header, t.Body), asking: true, outcome: make(chan outcome, 1)}
	w.wait = Wait{Held: true, From: time.Now()}
	s.mu.Lock()
	s.lastUse = w.wait.From
	s.longest.hear(limits.Timeout, w.wait.From)
	if t.Seq == 0 && (len(s.waiters) >= limits.Requests || s.heldBytes+w.bytes > limits.Bytes) {
		err := &FullError{Service: s.name, Held: len(s.waiters), Bytes: s.heldBytes}
		s.mu.Unlock()
		return nil, w.wait, err
	}
	w.begins(s)
	s.waiters[t.ID] = w
	w.place = s.order.PushBack(w)
	s.heldBytes += w.bytes
	later := s.away || s.tellsLocked(t.ID) // the settler asks
	s.mu.Unlock()

	select {
	case <-q.stopped:
		s.abandon(w)
		return nil, w.wait, ErrStopped
	default:
	}
	if later {
		s.mu.Lock()
		w.asking = false
		if now := time.Now(); s.awayFor(now) {
			s.handOffLocked(now)
		}
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

// Place is where the ticket of a connection stands in the queue of all activators,
// from 1; 0 if it is not there: it has a slot, or has gone.
func (q *Queue) Place(ctx context.Context, service, ticket string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	rank, err := q.cfg.Redis.ZRank(ctx, queueKey(service), ticket).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return 0, nil
	case err != nil:
		return 0, unavailable(err)
	}
	return int(rank) + 1, nil
}

// Fail ends every wait for the service with err: nothing will come.
func (q *Queue) Fail(name string, err error) { q.FailBefore(name, time.Time{}, err) }

// FailBefore ends with err the waits for the service whose deadline is before
// earliest, the first moment at which an answer can be had: they would wait in
// vain. The zero time ends all. It returns how many there were.
func (q *Queue) FailBefore(name string, earliest time.Time, err error) (ended int) {
	s := q.known(name)
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.order.Front(); e != nil; {
		w := e.Value.(*waiter)
		e = e.Next()
		if earliest.IsZero() || w.ticket.Deadline.Before(earliest) {
			s.withdraw[w.ticket.ID] = true
			s.endLocked(w, outcome{err: err})
			ended++
		}
	}
	if ended > 0 {
		s.kick()
	}
	return ended
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
	t, q := w.ticket, s.q
	s.mu.Lock()
	gen, timeout, forgotten := s.gen, s.longest.left(time.Now()), s.forgotten
	s.mu.Unlock()
	args := argsOf(s.name, &q.cfg, gen, q.cfg.Activator,
		t.ID, t.Deadline.UnixMilli(), w.bytes, w.limits.Requests, w.limits.Bytes, level(t.Priority), t.Seq,
		timeout.Milliseconds(), q.runs(), q.cfg.Address)
	// What is to be sent stays in this process: its connection does, too.
	args = append(args, "request_id", t.RequestID, "timeout", w.limits.Timeout.Milliseconds())
	sent := time.Now()
	reply, err := run(ctx, holdScript, q.cfg.Redis, s.name, args)

	s.mu.Lock()
	defer s.mu.Unlock()
	w.asking = false
	if errors.Is(err, ErrStoreFull) {
		if s.waiters[t.ID] == w && t.Seq == 0 {
			s.endLocked(w, outcome{err: err})
		}
		return nil // what has its place already waits for room
	}
	if err != nil {
		s.awayLocked("hold", err)
		return err
	}
	s.gen = max(s.gen, number(reply[1]))
	if now := s.waiters[t.ID]; now != w { // ended meanwhile; its withdrawal may have come too early
		if now == nil { // else the ticket is held again, and is that one's
			s.withdraw[t.ID] = true
			s.kick()
		}
		return nil
	}
	if !within(sent, time.Now(), q.cfg.term()) { // this process stood still since: ask again
		s.kick()
		return nil
	}
	s.heard = time.Now()
	if number(reply[2]) == 2 && within(s.renewed, sent, q.cfg.term()) { // our statement stands, so our lease goes on
		s.renewLocked(sent) // one that has ended only a statement renews: what it answers may be less than we own
	}
	if ready := number(reply[3]) > 0; t.Seq == 0 {
		w.heardReady(s, ready)
	} else {
		s.heardReadyLocked(ready)
	}
	if s.forgotten != forgotten && reply[0] != "full" { // since it was asked: this may be what the ledger knew before
		t.Seq = max(t.Seq, number(reply[4]))
		s.kick()
		return nil
	}
	w.numbered = true
	switch reply[0] {
	case "full":
		w.numbered = false
		s.endLocked(w, outcome{err: &FullError{Service: s.name, Held: int(number(reply[4])), Bytes: number(reply[5])}})
		return nil
	case "granted":
		t.Seq = max(t.Seq, number(reply[4]))
		var offer jobs.SlotOffer
		if err := json.Unmarshal([]byte(reply[6].(string)), &offer); err != nil {
			w.numbered = false
			return err
		}
		s.offerLocked(offer)
		s.acceptLocked(t.ID, offer.ID, sent)
	default:
		t.Seq = max(t.Seq, number(reply[4]))
		s.contended = true
	}
	s.kick()
	return nil
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
