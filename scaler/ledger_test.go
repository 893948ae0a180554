package scaler

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// ledger is a Ledger with one pretend activator: it releases held requests to
// free slots and lets each take its time.
type ledger struct {
	mu       sync.Mutex
	fn       func(string)
	held     []time.Time
	busy     map[string]int
	offers   []jobs.SlotOffer
	work     time.Duration
	firsts   []jobs.FirstAnswer
	answered map[string]bool
	counters jobs.ServiceCounters
	started  time.Time
	down     bool
	epoch    int64          // latest of the offers
	mute     bool           // announcements are lost
	skew     time.Duration  // of the activator's clock against ours
	reads    int            // of the demand
	slow     time.Duration  // that reading the demand takes
	over     int            // most requests ever at once at one replica
	cut      map[string]int // in flight at a replica that is offered no more
	told     []told

	abandoned map[string]int // slots that a dead activator left behind, by replica
	marks     int            // calls of Quarantined
	counts    []count        // what Observed was told
}

// count is what Observed was told, and when the mark was given that it came with.
type count struct {
	at       time.Time
	mark     jobs.SlotMark
	inFlight map[string]int
}

type told struct {
	at     time.Time
	offers []jobs.SlotOffer
}

var errDown = errors.New("redis: connection refused")

func newLedger() *ledger {
	return &ledger{
		busy: map[string]int{}, answered: map[string]bool{}, cut: map[string]int{},
		work: 500 * time.Millisecond, started: time.Now(), fn: func(string) {},
	}
}

// ask holds n requests and announces the demand.
func (l *ledger) ask(n int) {
	l.mu.Lock()
	for range n {
		l.held = append(l.held, time.Now())
		l.counters.Arrivals++
	}
	l.counters.LastDemand = time.Now()
	l.release()
	fn, mute := l.fn, l.mute
	l.mu.Unlock()
	if !mute {
		fn("translate")
	}
}

// release hands slots out; l.mu is held.
func (l *ledger) release() {
	for len(l.held) > 0 {
		var best *jobs.SlotOffer
		for i := range l.offers {
			if o := &l.offers[i]; l.busy[o.ID]+l.abandoned[o.ID] < o.Slots && (best == nil || l.busy[o.ID] < l.busy[best.ID]) {
				best = o
			}
		}
		if best == nil {
			return
		}
		held, id := l.held[0], best.ID
		l.held = l.held[1:]
		l.busy[id]++
		l.over = max(l.over, l.busy[id])
		released := time.Now()
		time.AfterFunc(l.work, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.busy[id]--
			l.counters.Completed++
			l.counters.ServiceSeconds += l.work.Seconds()
			l.counters.LastDemand = time.Now()
			if !l.answered[id] {
				l.answered[id] = true
				l.firsts = append(l.firsts, jobs.FirstAnswer{Replica: id, HeldAt: held, Released: released, FirstByte: time.Now()})
			}
			l.release()
		})
	}
}

func (l *ledger) Offer(_ context.Context, service string, epoch int64, offers []jobs.SlotOffer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return errDown
	}
	if l.epoch > epoch {
		return &jobs.StaleOfferError{Service: service, Epoch: l.epoch}
	}
	l.epoch = epoch
	for _, o := range l.offers {
		if n := l.busy[o.ID]; n > 0 && !slices.ContainsFunc(offers, func(p jobs.SlotOffer) bool { return p.ID == o.ID }) {
			l.cut[o.ID] = n
		}
	}
	l.offers = offers
	l.told = append(l.told, told{time.Now(), offers})
	l.release()
	return nil
}

func (l *ledger) Demand(ctx context.Context, _ string) (jobs.Demand, error) {
	l.mu.Lock()
	slow := l.slow
	l.mu.Unlock()
	if !sleep(ctx, slow) {
		return jobs.Demand{}, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if l.down {
		return jobs.Demand{}, errDown
	}
	d := jobs.Demand{Held: len(l.held), SlotsOut: map[string]int{}, Busy: map[string]int{},
		Quarantined: maps.Clone(l.abandoned), Abandoned: maps.Clone(l.abandoned)}
	if d.Held > 0 {
		d.OldestHold = l.held[0]
	}
	for id, n := range l.busy {
		if n > 0 {
			d.SlotsOut[id], d.Busy[id] = n, n
		}
	}
	return d, nil
}

// asked is how often the demand was read.
func (l *ledger) asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads
}

func (l *ledger) Quarantined(context.Context, string) ([]jobs.Quarantine, jobs.SlotMark, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, 0, errDown
	}
	l.marks++
	return nil, jobs.SlotMark(time.Now().UnixMilli()), nil
}

// Observed takes a count to be of abandoned requests alone.
func (l *ledger) Observed(_ context.Context, _ string, mark jobs.SlotMark, inFlight map[string]int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return errDown
	}
	l.counts = append(l.counts, count{time.Now(), mark, maps.Clone(inFlight)})
	for id, n := range inFlight {
		if n < l.abandoned[id] {
			l.abandoned[id] = n
		}
		if n == 0 {
			delete(l.abandoned, id)
		}
	}
	l.release()
	return nil
}

func (l *ledger) Announced(ctx context.Context, fn func(string)) error {
	l.mu.Lock()
	before := l.fn
	l.fn = func(service string) { before(service); fn(service) }
	l.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (l *ledger) FirstAnswers(context.Context, string) ([]jobs.FirstAnswer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errDown
	}
	firsts := l.firsts
	l.firsts = nil
	return firsts, nil
}

func (l *ledger) Counters(context.Context) ([]jobs.Counters, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errDown
	}
	c := l.counters
	c.Held = len(l.held)
	for _, n := range l.busy {
		c.InFlight += n
	}
	if c.Held+c.InFlight > 0 {
		c.LastDemand = time.Now()
	}
	if !c.LastDemand.IsZero() {
		c.LastDemand = c.LastDemand.Add(l.skew)
	}
	return []jobs.Counters{{
		Activator: "a", Started: l.started, At: time.Now().Add(l.skew),
		Services: map[string]jobs.ServiceCounters{"translate": c},
	}}, nil
}

func (l *ledger) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}

func (l *ledger) tellings() []told {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.told)
}

// inFlightCut tells what was in flight at each replica when it was offered no more.
func (l *ledger) inFlightCut() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.cut)
}

func (l *ledger) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// slots returns the slots of each replica as last offered.
func (l *ledger) slots() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := map[string]int{}
	for _, o := range l.offers {
		m[o.ID] = o.Slots
	}
	return m
}

var _ Ledger = (*ledger)(nil)
