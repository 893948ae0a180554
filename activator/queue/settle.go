package queue

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// statement is all that this activator holds of one service, and what it has
// found out about others.
type statement struct {
	Held     map[string][3]int     `json:"held,omitempty"` // replica → owned, busy, most busy since the last statement
	Acks     map[string]int64      `json:"acks,omitempty"` // ticket → epoch of its grant, 0 a connection's
	Withdraw []string              `json:"withdraw,omitempty"`
	Suspect  []string              `json:"suspect,omitempty"`
	Dead     []string              `json:"dead,omitempty"`
	Views    map[string]statedView `json:"views,omitempty"`
	Left     map[string]leftSlot   `json:"left,omitempty"` // by run
	Waiting  int                   `json:"waiting"`
	Leaving  bool                  `json:"leaving,omitempty"` // it says nothing more

	number    int64
	gen       int64
	timeout   time.Duration
	wantLease bool
}

// leftSlot is a slot whose run another activator has taken over, and which its
// engine may have in use for so long.
type leftSlot struct {
	Replica string `json:"replica"`
	MS      int64  `json:"ms"` // from the statement on

	till time.Time
}

// empty: nothing held, nothing waiting, nothing to say.
func (st *statement) empty() bool {
	return len(st.Held) == 0 && len(st.Acks) == 0 && len(st.Withdraw) == 0 && len(st.Left) == 0 && st.Waiting == 0
}

const (
	// quietFor is how long nothing must be in flight before Redis is told so ahead
	// of the next heartbeat: the scaler counts keep-alive from there.
	quietFor = 50 * time.Millisecond
	// raiseAfter is how long more may be in flight than Redis was told: so much a
	// ledger that has to bury this activator does not know.
	raiseAfter = 50 * time.Millisecond
)

// run settles whenever kicked, soon after the last request in flight has ended or
// more are than were told, and once per heartbeat while this activator holds slots
// or tickets of the service.
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
	raise := time.NewTimer(raiseAfter)
	defer raise.Stop()
	raising := false
	for {
		select {
		case <-ctx.Done():
			s.q.runsOn.Wait() // they give their requests back
			s.goodbye(context.WithoutCancel(ctx))
			return nil
		case <-s.quiet:
			quiet.Reset(quietFor)
			continue
		case <-s.raise:
			if !raising {
				raising = true
				raise.Reset(raiseAfter)
			}
			continue
		case <-raise.C:
			if raising = false; !s.usesMoreThanTold() {
				continue
			}
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
		if next > 0 {
			timer.Reset(next)
		} else {
			timer.Stop()
		}
	}
}

func (s *service) usesMoreThanTold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.replicas, func(r *replica) bool { return r.busy > r.told })
}

// settleAll settles until there is nothing left to give back or to number; it
// returns when to do it again though nothing happens, 0: not at all.
func (s *service) settleAll(ctx context.Context) (next time.Duration, err error) {
	for {
		st := s.state()
		again, err := s.settle(ctx, st)
		if err != nil {
			return 0, err
		}
		if err := s.askAgain(ctx); err != nil {
			return 0, err
		}
		if !again {
			return s.next(!st.empty()), nil
		}
	}
}

// askAgain numbers the waiters that Redis does not know, in order. Of many at
// once it settles in between: a lease is shorter than that may take. Whoever it does
// not come to, because a call failed, is left for the next time.
func (s *service) askAgain(ctx context.Context) error {
	since := time.Now()
	for _, w := range s.unnumbered() {
		if !s.begin(w) {
			continue
		}
		if err := s.ask(ctx, w); err != nil {
			return err
		}
		if time.Since(since) > s.q.cfg.Heartbeat {
			s.kick()
			return nil
		}
	}
	return nil
}

// state composes the statement. Where somebody waits, or a replica drains, only
// the busy slots are kept: saying less than before is how slots go back.
func (s *service) state() *statement {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	s.stating = true
	st := &statement{number: s.number, gen: s.gen, timeout: s.longest.left(time.Now()), Waiting: len(s.waiters), Held: map[string][3]int{}}
	idle := true
	for _, r := range s.replicas {
		if s.contended || !r.offered || r.owned > r.Slots {
			r.owned = max(r.busy, min(r.owned, s.keepable(r)))
		}
		idle = idle && r.busy == 0
	}
	for _, r := range s.replicas {
		if r.peak = max(r.peak, r.busy); idle {
			r.peak = 0
		}
		if r.owned > 0 {
			st.Held[r.ID] = [3]int{r.owned, r.busy, r.peak}
		}
		r.peak = r.busy
	}
	st.Acks = maps.Clone(s.acks)
	st.Withdraw, st.Suspect, st.Dead = keys(s.withdraw), keys(s.suspect), keys(s.dead)
	for run, l := range s.left {
		if st.Left == nil {
			st.Left = map[string]leftSlot{}
		}
		l.MS = max(time.Until(l.till).Milliseconds(), 0)
		st.Left[run] = l
	}
	if len(s.views) > 0 {
		st.Views = s.views
		s.views = map[string]statedView{} // a view that is lost is asked for again
	}
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
	sent := time.Now()
	reply, err := s.call(ctx, st)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stating = false
	if err != nil {
		s.awayLocked("settle", err)
		return false, err
	}
	s.gen = max(s.gen, number(reply[1]))
	if reply[0] == "stale" {
		s.number += 1000 // a former statement of this incarnation overtook it, or its number was lost
		return true, nil
	}
	for id, epoch := range st.Acks {
		if s.acks[id] == epoch {
			delete(s.acks, id)
		}
	}
	for _, id := range st.Withdraw {
		delete(s.withdraw, id)
	}
	for _, id := range st.Suspect {
		delete(s.suspect, id)
	}
	for _, id := range st.Dead {
		delete(s.dead, id)
	}
	for run := range st.Left {
		delete(s.left, run)
	}
	if !within(sent, time.Now(), s.q.cfg.term()) {
		return true, nil // this process stood still since: what the answer gives may be others' by now
	}
	s.renewLocked(sent)
	s.recallLocked(number(reply[2]), reply[3])
	s.contended = number(reply[4]) > 0
	s.durable = number(reply[5])
	s.due = time.Duration(number(reply[6])) * time.Millisecond
	s.applyLocked(reply[7:], st, sent)

	for _, r := range s.replicas { // is there more to give back?
		if r.owned > r.busy && r.owned > s.keepable(r) {
			return true, nil
		}
	}
	return len(s.acks) > 0 || len(s.withdraw) > 0, nil
}

// renewLocked notes that Redis has heard of all that we hold by a call that was
// sent then. After a silence of a lease it may have forgotten our tickets, and the
// answer that said so may have been lost.
func (s *service) renewLocked(sent time.Time) {
	if !s.renewed.IsZero() && !within(s.renewed, sent, s.q.cfg.term()) {
		s.forgottenLocked()
	}
	if sent.After(s.renewed) {
		s.renewed = sent
	}
	s.heard = time.Now()
	s.outage, s.frozen = time.Time{}, false
	if s.away {
		s.away = false
		s.q.cfg.Logger.Info("slot ledger is back", "service", s.name)
	}
}

// recallLocked finds out whether the ledger has forgotten our tickets: it took us
// for dead, or lost its last writes.
func (s *service) recallLocked(known int64, life any) {
	forgot := known == 0 || known == 1 && s.stated
	if l, _ := life.(string); l != s.life {
		forgot, s.life = true, l
	}
	s.stated = known != 3
	if forgot {
		s.forgottenLocked()
	}
}

// forgottenLocked has every ticket asked for again, at its place, and claims what
// runs here.
func (s *service) forgottenLocked() {
	s.forgotten++
	for _, w := range s.waiters {
		w.numbered = false
	}
	for _, e := range s.running {
		s.q.asking.Go(e.claim)
	}
}

func (s *service) call(ctx context.Context, st *statement) ([]any, error) {
	body, err := json.Marshal(st)
	if err != nil {
		return nil, err
	}
	q := s.q
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	lease := 0
	if st.wantLease {
		lease = 1
	}
	args := argsOf(s.name, &q.cfg, st.gen, q.cfg.Activator,
		st.number, lease, st.timeout.Milliseconds(), q.runs(), q.cfg.Address,
		q.cfg.Suspicion.Milliseconds(), q.cfg.silent().Milliseconds(), body)
	return run(ctx, settleScript, q.cfg.Redis, s.name, args)
}

// awayLocked notes that Redis does not answer.
func (s *service) awayLocked(doing string, err error) {
	now := time.Now()
	if !s.away {
		s.away, s.awaySince = true, now
		if !errors.Is(err, context.Canceled) {
			s.q.cfg.Logger.Warn("slot ledger is away; going on with the slots held", "service", s.name, "doing", doing, "err", err)
		}
	}
	if s.awayFor(now) {
		s.handOffLocked(now)
	}
	s.kick()
}

// unnumbered returns the waiters that Redis does not know, in order.
func (s *service) unnumbered() []*waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*waiter
	for e := s.order.Front(); e != nil; e = e.Next() {
		if w := e.Value.(*waiter); s.mayAskLocked(w) {
			out = append(out, w)
		}
	}
	return out
}

// begin to ask for a waiter; false: there is nothing to ask.
func (s *service) begin(w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ask := s.mayAskLocked(w)
	w.asking = w.asking || ask
	return ask
}

// mayAskLocked reports whether Redis is to be asked for a waiter. What it is yet to be
// told of an earlier wait of the same ticket comes first: else it would answer with the
// grant of that one, or forget the ticket that it has just got.
func (s *service) mayAskLocked(w *waiter) bool {
	return s.waiters[w.ticket.ID] == w && !w.numbered && !w.asking && !s.tellsLocked(w.ticket.ID)
}

// tellsLocked reports whether a grant of the ticket is to be acknowledged, or the ticket
// to be withdrawn.
func (s *service) tellsLocked(ticket string) bool {
	_, acks := s.acks[ticket]
	return acks || s.withdraw[ticket]
}

// next settlement: a heartbeat while there is anything to say, and as soon as
// somebody silent is dead whose tickets may be this activator's to run.
func (s *service) next(said bool) time.Duration {
	active := said || s.holdsAnything()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.due > 0 && s.due < s.q.cfg.Heartbeat && (active || s.durable > 0 && s.q.runs() == 1) {
		return s.due
	}
	if active {
		return s.q.cfg.Heartbeat
	}
	return 0
}

// holdsAnything: slots, tickets, or something left to say; or others' durable
// tickets wait that this activator may have to run.
func (s *service) holdsAnything() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.replicas {
		if r.owned > 0 {
			return true
		}
	}
	return len(s.waiters) > 0 || len(s.acks) > 0 || len(s.withdraw) > 0 || len(s.left) > 0 || len(s.running) > 0 ||
		s.contended && s.q.runs() == 1
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
		st.Leaving = true
		_, _ = s.call(ctx, st)
	}
}
