package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// accepted is a durable request: that was acknowledged, or has been run.
type accepted struct {
	id, key string
	runs    int
	unsent  int             // of the runs: they are no attempts
	attempt int             // of the last run, as it was told
	wrote   map[int]int     // run → parts of its answer that are stored
	live    map[*actor]bool // where it runs
	final   State
}

func (m *model) acceptedAs(id string) *accepted {
	if m.durable[id] == nil {
		m.durable[id] = &accepted{id: id, live: map[*actor]bool{}, wrote: map[int]int{}}
	}
	return m.durable[id]
}

// outcomeOfRun is what its replica does with a request.
type outcomeOfRun int

const (
	answers outcomeOfRun = iota
	writes               // a part of its answer, and goes on
	breaks
	misses // it was never reached
)

// execute is what an activator does with a durable request.
func (m *model) execute(ctx context.Context, a *actor, e *Execution) error {
	a.faults.stand()
	if err := e.Slot.Check(); err != nil {
		return err
	}
	u, run := m.beginRun(a, e)
	defer m.endRun(u)
	e.Begin(http.StatusOK, http.Header{"X-Run": {fmt.Sprint(run)}})
	for {
		select {
		case <-ctx.Done():
			a.faults.stand()
			if errors.Is(context.Cause(ctx), errTakenOver) {
				m.mu.Lock()
				u.left, u.orphanTil = true, e.began.Add(modelTimeout)
				m.mu.Unlock()
			}
			return context.Cause(ctx)
		case o := <-u.execution:
			switch o {
			case breaks:
				e.Suspect()
				return errors.New("the replica broke")
			case misses:
				e.Suspect()
				m.missed(e, run)
				return errors.New("the replica was not reached")
			case answers:
				return e.Finish(ctx, fmt.Append(nil, run, "."))
			}
			if err := e.Write(ctx, fmt.Append(nil, run, ",")); err != nil {
				return err
			}
			m.mu.Lock()
			m.durable[e.Request.ID].wrote[run]++
			m.mu.Unlock()
		}
	}
}

func (m *model) beginRun(a *actor, e *Execution) (u *use, run int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.acceptedAs(e.Request.ID) // its acknowledgement may have been lost
	if string(e.Request.Body) != "body" || e.Request.Path != "/translate" {
		m.fail("%s came as %+v", r.id, e.Request)
	}
	if r.runs++; !m.lost {
		switch {
		case r.runs-r.unsent > modelAttempts || e.Attempt > modelAttempts:
			m.fail("%s was run %d times, and says that it is the %dth attempt", r.id, r.runs, e.Attempt)
		case e.Attempt <= r.attempt:
			m.fail("%s says that it is the %dth attempt, after the %dth", r.id, e.Attempt, r.attempt)
		case r.final != "":
			m.fail("%s is %s, and is run", r.id, r.final)
		}
	}
	r.attempt = e.Attempt
	for other := range r.live {
		if other == a || other.current() && a.current() {
			m.fail("%s runs at %s and %s", r.id, other.Activator(), a.Activator())
		}
	}
	r.live[a] = true
	return m.begin(&use{id: r.id, actor: a, slot: e.Slot, granted: true, execution: make(chan outcomeOfRun, 1)}), r.runs
}

// missed: nothing of the request was sent, unless some of its answer has come already.
// The next run may be the same attempt, or the one after it: the activator may die
// before it has said so.
func (m *model) missed(e *Execution, run int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.durable[e.Request.ID]; r.wrote[run] == 0 {
		e.Unsent()
		r.unsent++
		r.attempt = min(r.attempt, e.Attempt-1)
	}
}

func (m *model) endRun(u *use) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.durable[u.id].live, u.actor)
	if !u.gone && !u.orphan() {
		u.end()
	}
}

// checkDurable: what was accepted is there; a final state stays; an answer is that of
// one run, the last, and the whole of it.
func (m *model) checkDurable(r *accepted) {
	key := prefix("translate") + "ticket:" + r.id
	state := State(m.redis.HGet(key, "state"))
	switch {
	case m.lost:
	case state == "":
		freed := r.key != "" && r.final != "" && r.final != StateSucceeded // nobody can ask for it any more
		if !freed {
			m.fail("%s was accepted and is unknown", r.id)
		}
	case r.final != "" && state != r.final:
		m.fail("%s was %s and is %s", r.id, r.final, state)
	}
	if !state.Final() || r.final != "" {
		return
	}
	r.final = state
	if state == StateFailed && m.redis.HGet(key, "reason") == ReasonAttempts && r.runs == 0 {
		m.fail("%s failed without a try", r.id)
	}
	if state != StateSucceeded || m.lost {
		return
	}
	parts, _ := m.redis.List(prefix("translate") + "answer:" + r.id)
	got := strings.Join(parts, "")
	want := strings.Repeat(fmt.Sprint(r.runs, ","), r.wrote[r.runs]) + fmt.Sprint(r.runs, ".")
	header := fmt.Sprintf(`{"X-Run":["%d"]}`, r.runs)
	if got != want || m.redis.HGet(key, "answer") != header {
		m.fail("%s has the answer %q with %s, want %q with %s", r.id, got, m.redis.HGet(key, "answer"), want, header)
	}
}

// lostRuns: what Redis knew of runs is of an earlier time.
func (m *model) lostRuns() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.durable {
		r.attempt = 0
	}
}

// stated reports whether Redis knows that a slot is in use: it granted it, or has been
// told.
func (m *model) stated(u *use) bool {
	told := u.actor.faults.now().stated
	return m.known[u] || told.After(u.began) && told.After(m.lostAt) || u.granted && u.began.After(m.lostAt)
}

// silenced: whatever Redis has lost of an actor's uses, nobody tells it for as long as
// the actor stands still or is cut off (doc.go: what cannot be excluded).
func (m *model) silenced(a *actor) {
	for _, u := range m.uses {
		u.unknown = u.unknown || u.actor == a && !m.lostAt.IsZero() && !u.began.After(m.lostAt) && !m.stated(u)
	}
}

// crashUses ends what an actor had in flight, as kill -9 does. Its replicas compute on,
// as long as a request may take; of requests that it began since its last statement
// nobody can know.
func (m *model) crashUses(a *actor) {
	now := time.Now()
	for _, u := range m.uses {
		switch {
		case u.actor != a || u.gone || u.left:
		case u.sent.After(now): // half a request is none
			u.end()
		case m.stated(u):
			u.orphanTil = now.Add(modelTimeout)
			if end := u.began.Add(modelTimeout); end.Before(u.orphanTil) {
				u.orphanTil = end
			}
		}
	}
}
