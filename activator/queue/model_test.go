package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/pilotlight/pilotlight/jobs"
)

// op is one random event. What N, M and D mean depends on Kind.
type op struct {
	Kind string
	N, M int
	D    time.Duration
}

func (o op) String() string { return fmt.Sprintf("%s(%d,%d,%s)", o.Kind, o.N, o.M, o.D) }

var genOp = rapid.Custom(func(t *rapid.T) op {
	return op{
		Kind: rapid.SampledFrom([]string{
			"hold", "hold", "hold", "hold", "release", "release", "release", "try", "try",
			"offer", "suspect", "cancel", "advance", "crash", "away", "back",
		}).Draw(t, "kind"),
		N: rapid.IntRange(0, 20).Draw(t, "n"),
		M: rapid.IntRange(0, 3).Draw(t, "m"),
		D: time.Duration(rapid.IntRange(1, 7000).Draw(t, "ms")) * time.Millisecond,
	}
})

// requestModel is a request as the model sees it.
type requestModel struct {
	id        string
	activator int
	outcome   <-chan held
	cancel    context.CancelCauseFunc
	slot      *Slot
	over      bool
}

// model checks, after every event, what must hold whatever happens:
// never more requests at a replica than it offers slots, tickets released in
// order, and in the end nobody forgotten and nothing left behind.
type model struct {
	*world
	activators []*Queue
	stops      []func()
	crashed    map[int]bool
	requests   []*requestModel
	offered    map[string]int
	disturbed  bool // Redis was away or somebody crashed or cancelled: order is not checked
	next       int
	err        error
}

func (m *model) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf(format, args...)
	}
}

// collect takes outcomes in and checks them.
func (m *model) collect() {
	synctest.Wait()
	for i, r := range m.requests {
		if r.over || r.slot != nil {
			continue
		}
		select {
		case h := <-r.outcome:
			if h.err != nil {
				r.over = true
				if !m.crashed[r.activator] && !errors.Is(h.err, errCancelled) {
					m.fail("%s failed: %v", r.id, h.err)
				}
				continue
			}
			r.slot = h.slot
			for _, earlier := range m.requests[:i] {
				if !m.disturbed && !earlier.over && earlier.slot == nil && !m.crashed[earlier.activator] {
					select {
					case h := <-earlier.outcome: // it has come too, in the same step
						earlier.slot = h.slot
					default:
						m.fail("%s got its slot before %s, which came earlier", r.id, earlier.id)
					}
				}
			}
		default:
		}
	}
}

// atReplicas counts the requests that run at each replica. Those of a crashed
// process are gone with it.
func (m *model) atReplicas() map[string]int {
	n := map[string]int{}
	for _, r := range m.requests {
		if r.slot != nil && !r.over && !m.crashed[r.activator] {
			n[r.slot.Replica]++
		}
	}
	return n
}

var errCancelled = errors.New("cancelled by the test")

func (m *model) do(o op) {
	before := m.atReplicas()
	a := o.N % len(m.activators)
	var running []*requestModel
	for _, r := range m.requests {
		if r.slot != nil && !r.over && !m.crashed[r.activator] {
			running = append(running, r)
		}
	}
	switch o.Kind {
	case "hold", "try":
		if m.crashed[a] {
			return
		}
		m.next++
		r := &requestModel{id: fmt.Sprintf("t%03d", m.next), activator: a}
		if o.Kind == "try" {
			slot, ok := m.activators[a].Try("translate")
			if !ok {
				return
			}
			r.slot = slot
			for _, earlier := range m.requests {
				if !m.disturbed && !earlier.over && earlier.slot == nil && earlier.activator == a {
					m.fail("a new request passed %s, which waits at the same activator", earlier.id)
				}
			}
			m.requests = append(m.requests, r)
			break
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		r.cancel = cancel
		ch := make(chan held, 1)
		r.outcome = ch
		q := m.activators[a]
		go func() {
			slot, wait, err := q.Hold(ctx, ticket(r.id), roomy)
			ch <- held{r.id, slot, wait, err}
		}()
		m.requests = append(m.requests, r)
	case "release", "suspect":
		if len(running) == 0 {
			return
		}
		r := running[o.N%len(running)]
		r.over = true
		if o.Kind == "suspect" {
			r.slot.ReleaseSuspect()
		} else {
			r.slot.Release()
		}
	case "cancel":
		for _, r := range m.requests {
			if r.slot == nil && !r.over && r.cancel != nil {
				m.disturbed = true
				r.cancel(errCancelled)
				break
			}
		}
	case "offer":
		offered := map[string]int{}
		var offers []jobs.SlotOffer
		for i := range o.M {
			slots := (o.N + i) % 4
			id := fmt.Sprintf("r%d", i)
			offered[id] = slots
			offers = append(offers, replicaWith(id, i, slots))
		}
		if m.ledger.Offer(context.Background(), "translate", offers) == nil {
			m.offered = offered
		}
	case "advance":
		// In steps, so that the scaler's own calls go on meanwhile.
		for left := o.D; left > 0; left -= time.Second {
			time.Sleep(min(left, time.Second))
			_, _ = m.ledger.Demand(context.Background(), "translate")
		}
	case "crash":
		if alive := len(m.activators) - len(m.crashed); o.M != 0 || m.crashed[a] || alive < 2 {
			return
		}
		m.disturbed = true
		m.crashed[a] = true
		_ = m.activators[a].cfg.Redis.Close()
		m.stops[a]()
	case "away":
		m.disturbed = true
		m.redis.SetError("LOADING away")
	case "back":
		m.redis.SetError("")
	}
	m.collect()
	for replica, n := range m.atReplicas() {
		// A request that began when more was offered may go on.
		if n > m.offered[replica] && n > before[replica] {
			m.fail("%d requests at %s, which offers %d", n, replica, m.offered[replica])
		}
	}
}

// finish ends the disturbances: everybody who still waits must get a slot, and
// then nothing may be left.
func (m *model) finish() {
	m.redis.SetError("")
	m.do(op{Kind: "advance", D: 12 * time.Second}) // beyond a lease and its grace
	m.offered = map[string]int{"r9": 2}
	for range 3 {
		if err := m.ledger.Offer(context.Background(), "translate", []jobs.SlotOffer{replicaWith("r9", 0, 2)}); err == nil {
			break
		}
	}
	for range len(m.requests) + 5 {
		m.collect()
		for _, r := range m.requests {
			if r.slot != nil && !r.over {
				r.over = true
				if !m.crashed[r.activator] {
					r.slot.Release()
				}
			}
		}
		time.Sleep(2 * time.Second)
	}
	m.collect()
	for _, r := range m.requests {
		if !r.over && !m.crashed[r.activator] {
			m.fail("%s was forgotten", r.id)
		}
	}
	for _, stop := range m.stops {
		stop()
	}
	synctest.Wait()
	_ = m.ledger.Offer(context.Background(), "translate", nil)
	d, err := m.ledger.Demand(context.Background(), "translate")
	if err != nil || d.Held != 0 || len(d.SlotsOut) != 0 || len(d.Deadlines) != 0 {
		m.fail("left behind: %+v %v", d, err)
	}
	for _, key := range m.redis.Keys() {
		if key != "pl:{translate}:ledger" && key != "pl:{translate}:activators" && key != "pl:{translate}:suspects" {
			m.fail("left behind: %s", key)
		}
	}
}

func TestRandomEventsOverThreeActivatorsNeverGiveASlotTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ops := rapid.SliceOfN(genOp, 1, 60).Draw(rt, "ops")
		var err error
		done := 0
		synctest.Test(t, func(t *testing.T) {
			m := &model{world: newWorld(t), crashed: map[int]bool{}, offered: map[string]int{}}
			for i := range 3 {
				q, stop := m.activator(fmt.Sprintf("a%d", i))
				m.activators = append(m.activators, q)
				m.stops = append(m.stops, stop)
			}
			for i, o := range ops {
				if m.do(o); m.err != nil {
					err, done = m.err, i+1
					break
				}
			}
			if err == nil {
				m.finish()
				err, done = m.err, len(ops)
			}
			for _, r := range m.requests {
				if r.cancel != nil {
					r.cancel(errCancelled)
				}
			}
		})
		if err != nil {
			rt.Fatalf("after %v: %v", slices.Clip(ops[:done]), err)
		}
	})
}
