package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/pilotlight/pilotlight/jobs"
)

// statement is all that this activator holds of one service.
type statement struct {
	Held     map[string][2]int `json:"held,omitempty"` // replica → owned, busy
	Acks     []string          `json:"acks,omitempty"`
	Withdraw []string          `json:"withdraw,omitempty"`
	Suspect  []string          `json:"suspect,omitempty"`
	Waiting  int               `json:"waiting"`

	number    int64
	wantLease bool
}

// empty: nothing held, nothing waiting, nothing to say.
func (st *statement) empty() bool {
	return len(st.Held) == 0 && len(st.Acks) == 0 && len(st.Withdraw) == 0 && st.Waiting == 0
}

// quietFor is how long nothing must be in flight before Redis is told so ahead of
// the next heartbeat: the scaler counts keep-alive from there.
const quietFor = 50 * time.Millisecond

// run settles whenever kicked, soon after the last request in flight has ended,
// and once per heartbeat while this activator holds slots or tickets of the
// service.
func (s *service) run(ctx context.Context) error {
	retry := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(20*time.Millisecond),
		backoff.WithMaxInterval(time.Second),
		backoff.WithMaxElapsedTime(0))
	timer := time.NewTimer(0)
	defer timer.Stop()
	// Steady traffic pushes the quiet timer on for ever: it must never delay a
	// heartbeat, so it is one of its own.
	quiet := time.NewTimer(quietFor)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			s.goodbye(context.WithoutCancel(ctx))
			return nil
		case <-s.quiet:
			quiet.Reset(quietFor)
			continue
		case <-quiet.C:
		case <-s.wake:
		case <-timer.C:
		}
		next, err := s.settleAll(ctx)
		if err != nil {
			timer.Reset(retry.NextBackOff())
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			s.kick()
			continue
		}
		retry.Reset()
		if next {
			timer.Reset(s.q.cfg.Heartbeat)
		} else {
			timer.Stop()
		}
	}
}

// settleAll settles until there is nothing left to give back or to number; it
// reports whether heartbeats have to go on.
func (s *service) settleAll(ctx context.Context) (active bool, err error) {
	for {
		st := s.state()
		again, err := s.settle(ctx, st)
		if err != nil {
			return true, err
		}
		for _, w := range s.unnumbered() {
			if err := s.ask(ctx, w); err != nil {
				return true, err
			}
		}
		if !again {
			return !st.empty() || s.holdsAnything(), nil
		}
	}
}

// state composes the statement. Where somebody waits, or a replica drains, only
// the busy slots are kept: saying less than before is how slots go back.
func (s *service) state() *statement {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	st := &statement{number: s.number, Waiting: len(s.waiters), Held: map[string][2]int{}}
	for _, r := range s.replicas {
		if s.contended || !r.offered || r.owned > r.Slots {
			r.owned = max(r.busy, min(r.owned, s.keepable(r)))
		}
		if r.owned > 0 {
			st.Held[r.ID] = [2]int{r.owned, r.busy}
		}
	}
	st.Acks, st.Withdraw, st.Suspect = keys(s.acks), keys(s.withdraw), keys(s.suspect)
	st.wantLease = !s.contended && time.Since(s.lastUse) < time.Minute
	return st
}

func (s *service) keepable(r *replica) int {
	if s.contended || !r.offered {
		return 0
	}
	return r.Slots
}

func keys(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// settle tells Redis the statement and takes its answer.
func (s *service) settle(ctx context.Context, st *statement) (again bool, err error) {
	reply, err := s.call(ctx, st)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.awayLocked("settle", err)
		return false, err
	}
	s.settled = time.Now()
	if s.away {
		s.away = false
		s.q.cfg.Logger.Info("slot ledger is back", "service", s.name)
	}
	for _, id := range st.Acks {
		delete(s.acks, id)
	}
	for _, id := range st.Withdraw {
		delete(s.withdraw, id)
	}
	for _, id := range st.Suspect {
		delete(s.suspect, id)
	}
	if reply[0] == "stale" {
		return true, nil
	}
	s.contended = number(reply[1]) > 0
	s.applyLocked(reply[2:])

	for _, r := range s.replicas { // is there more to give back?
		if r.owned > r.busy && r.owned > s.keepable(r) {
			return true, nil
		}
	}
	return len(s.acks) > 0 || len(s.withdraw) > 0, nil
}

func (s *service) call(ctx context.Context, st *statement) ([]any, error) {
	body, err := json.Marshal(st)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.q.cfg.Timeout)
	defer cancel()
	lease := 0
	if st.wantLease {
		lease = 1
	}
	return settleScript.Run(ctx, s.q.cfg.Redis, keysOf(s.name),
		ticketPrefix(s.name), s.name, s.q.cfg.Lease.Milliseconds(),
		s.q.cfg.Activator, st.number, lease, body, s.q.cfg.Suspicion.Milliseconds()).Slice()
}

// applyLocked reads the rest of a settle answer: offers first, because grants
// and leases speak of them.
func (s *service) applyLocked(items []any) {
	for _, r := range s.replicas {
		r.offered = false
	}
	for i := 0; i+2 < len(items); i += 3 {
		if items[i] == "o" {
			var offer jobs.SlotOffer
			if err := json.Unmarshal([]byte(items[i+2].(string)), &offer); err == nil {
				s.offerLocked(offer)
			}
		}
	}
	for i := 0; i+2 < len(items); i += 3 {
		id, _ := items[i+1].(string)
		switch items[i] {
		case "r": // less than was stated: the rest went to others while we were silent
			if r := s.find(id); r != nil {
				r.owned = max(r.busy, min(r.owned, int(number(items[i+2]))))
			}
		case "l":
			if r := s.find(id); r != nil {
				r.owned += int(number(items[i+2]))
			}
		case "g":
			replica, _ := items[i+2].(string)
			s.acceptLocked(id, replica)
		}
	}
	s.replicas = slices.DeleteFunc(s.replicas, func(r *replica) bool { return !r.offered && r.busy == 0 })
}

// offerLocked notes a replica that has slots, or drains (Slots 0).
func (s *service) offerLocked(offer jobs.SlotOffer) {
	r := s.find(offer.ID)
	if r == nil {
		r = &replica{}
		s.replicas = append(s.replicas, r)
	}
	if r.SlotOffer != offer {
		r.SlotOffer, r.suspectTo = offer, time.Time{}
		slices.SortFunc(s.replicas, func(a, b *replica) int {
			return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.ID, b.ID))
		})
	}
	r.offered = true
	if offer.Slots > 0 {
		now := time.Now()
		for e := s.order.Front(); e != nil; e = e.Next() {
			if w := e.Value.(*waiter); w.wait.Cold && w.wait.ColdTill.IsZero() {
				w.wait.ColdTill = now
			}
		}
	}
}

// acceptLocked takes a grant of Redis: the slot is ours, its ticket has left
// the queue. A grant for somebody who has gone is acknowledged without owning
// the slot, which frees it.
func (s *service) acceptLocked(ticket, replicaID string) {
	w := s.waiters[ticket]
	if w == nil {
		s.acks[ticket] = true
		return
	}
	r := s.find(replicaID)
	if r == nil || !r.offered { // gone since: asking again takes the grant back, and the old place
		w.numbered = false
		return
	}
	s.acks[ticket] = true
	r.owned++
	r.busy++
	if w.wait.Cold && w.wait.ColdTill.IsZero() {
		w.wait.ColdTill = time.Now()
	}
	s.endLocked(w, outcome{slot: s.slotLocked(r)})
}

// awayLocked notes that Redis does not answer.
func (s *service) awayLocked(doing string, err error) {
	if !s.away {
		s.away = true
		s.q.cfg.Logger.Warn("slot ledger is away; going on with the slots held", "service", s.name, "doing", doing, "err", err)
	}
	s.handOffLocked()
	s.kick()
}

// unnumbered returns the waiters that Redis does not know, in order.
func (s *service) unnumbered() []*waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*waiter
	for e := s.order.Front(); e != nil; e = e.Next() {
		if w := e.Value.(*waiter); !w.numbered && !w.asking {
			w.asking = true
			out = append(out, w)
		}
	}
	return out
}

func (s *service) holdsAnything() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.replicas {
		if r.owned > 0 {
			return true
		}
	}
	return len(s.waiters) > 0 || len(s.acks) > 0 || len(s.withdraw) > 0
}

// goodbye gives everything back before the process ends, within the call
// timeout.
func (s *service) goodbye(ctx context.Context) {
	s.mu.Lock()
	for _, r := range s.replicas {
		r.owned = r.busy
	}
	s.contended = true
	s.mu.Unlock()
	if st := s.state(); st.number > 1 || !st.empty() {
		_, _ = s.call(ctx, st)
	}
}
