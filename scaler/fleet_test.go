package scaler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// fleet is a Fleet of pretend allocations that behave as Nomad's do: lowest free
// index up, highest down, failed ones replaced after a while. It is also the
// transport to their probes.
type fleet struct {
	mu      sync.Mutex
	ref     jobs.Ref
	spec    bool
	count   int
	allocs  []jobs.Allocation
	made    int
	changed func(jobs.Ref)

	load       time.Duration // from launch until the probe answers
	crash      time.Duration // from launch until the task fails; 0: never
	words      string        // its last words
	reschedule time.Duration // from a failure to the replacement; 0: none
	lost       int           // so many scale calls work, but their answers are lost
	refuse     int           // so many scale calls do nothing and fail
	full       string        // why nothing can be placed
	gpu        string        // body of /metrics; "": 404
	dead       map[string]bool
	launched   []time.Time
	calls      []call
}

type call struct {
	at    time.Time
	count int
}

var errLost = errors.New("connection reset")

func newFleet() *fleet {
	return &fleet{load: time.Second, dead: map[string]bool{}, changed: func(jobs.Ref) {}}
}

func (f *fleet) Ensure(_ context.Context, _ *jobs.Spec, ref jobs.Ref) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ref, f.spec = ref, true
	return nil
}

func (f *fleet) Watch(ctx context.Context, changed func(jobs.Ref)) error {
	f.mu.Lock()
	f.changed = changed
	f.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (f *fleet) Observe(_ context.Context, ref jobs.Ref) (jobs.Observation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.spec {
		return jobs.Observation{}, errors.New("unknown job")
	}
	o := jobs.Observation{Count: f.count, At: time.Now(), Allocations: slices.Clone(f.allocs)}
	if f.full != "" {
		o.Blocked = f.full
	}
	return o, nil
}

func (f *fleet) Scale(_ context.Context, ref jobs.Ref, count int, _ string, _ map[string]string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call{time.Now(), count})
	if f.refuse > 0 {
		f.refuse--
		return errors.New("no leader")
	}
	f.count = count
	f.fill()
	if f.lost > 0 {
		f.lost--
		return errLost
	}
	return nil
}

// fill places and stops allocations; f.mu is held.
func (f *fleet) fill() {
	taken := map[int]bool{}
	var live []*jobs.Allocation
	for i := range f.allocs {
		if a := &f.allocs[i]; a.Desired == jobs.DesiredRun {
			taken[a.Index] = true
			live = append(live, a)
		}
	}
	slices.SortFunc(live, func(a, b *jobs.Allocation) int { return cmp.Compare(a.Index, b.Index) })
	for n := len(live); n > f.count; n-- {
		a := live[n-1]
		a.Desired = jobs.DesiredStop
		id := a.ID
		time.AfterFunc(50*time.Millisecond, func() {
			f.alter(id, func(a *jobs.Allocation) {
				if !a.Terminal() {
					a.Client, a.Finished = jobs.ClientComplete, time.Now()
				}
			})
		})
	}
	for i := 0; len(live) < f.count && f.full == ""; i++ {
		if taken[i] {
			continue
		}
		live = append(live, nil)
		f.place(i)
	}
	f.tell()
}

// tell reports a change beside its cause; f.mu is held.
func (f *fleet) tell() {
	changed, ref := f.changed, f.ref
	go changed(ref)
}

func (f *fleet) place(index int) {
	f.made++
	now := time.Now()
	a := jobs.Allocation{
		ID: fmt.Sprintf("alloc-%d", f.made), Ref: f.ref, Index: index, Node: "node",
		Address: fmt.Sprintf("10.0.0.%d:80", f.made), Desired: jobs.DesiredRun,
		Client: jobs.ClientRunning, Created: now, Started: now.Add(time.Millisecond),
	}
	f.allocs = append(f.allocs, a)
	f.launched = append(f.launched, now)
	if f.crash > 0 {
		words := f.words
		time.AfterFunc(f.crash, func() { f.kill(a.ID, words) })
	}
}

// kill ends an allocation's process for good.
func (f *fleet) kill(id, words string) {
	f.alter(id, func(a *jobs.Allocation) {
		if a.Terminal() {
			return
		}
		a.Client, a.Failure, a.Finished = jobs.ClientFailed, words, time.Now()
		if f.reschedule > 0 {
			time.AfterFunc(f.reschedule, func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				for i := range f.allocs {
					if a := &f.allocs[i]; a.ID == id && a.Desired == jobs.DesiredRun {
						a.Desired = jobs.DesiredStop
						f.place(a.Index)
					}
				}
				f.tell()
			})
		}
	})
}

func (f *fleet) alter(id string, change func(*jobs.Allocation)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.allocs {
		if f.allocs[i].ID == id {
			change(&f.allocs[i])
		}
	}
	f.tell()
}

// RoundTrip answers probes and scrapes for the allocations.
func (f *fleet) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.allocs {
		if a.Address != req.URL.Host {
			continue
		}
		if a.Terminal() || f.dead[a.ID] || time.Since(a.Created) < f.load {
			return nil, syscall.ECONNREFUSED
		}
		status, body := http.StatusOK, ""
		if req.URL.Path == "/metrics" {
			if body = f.gpu; body == "" {
				status = http.StatusNotFound
			}
		}
		return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
	}
	return nil, syscall.ECONNREFUSED
}

// running returns how many allocations have a process.
func (f *fleet) running() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.allocs {
		if !a.Terminal() {
			n++
		}
	}
	return n
}

func (f *fleet) wants() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

func (f *fleet) placements() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made
}

func (f *fleet) scaleCalls() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// counts returns the counts that were asked for, in order.
func (f *fleet) counts() (list []int) {
	for _, c := range f.scaleCalls() {
		list = append(list, c.count)
	}
	return list
}

func (f *fleet) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

var _ Fleet = (*fleet)(nil)

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
	over     int            // most requests ever at once at one replica
	cut      map[string]int // in flight at a replica that is offered no more
	told     []told
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
	fn := l.fn
	l.mu.Unlock()
	fn("translate")
}

// release hands slots out; l.mu is held.
func (l *ledger) release() {
	for len(l.held) > 0 {
		var best *jobs.SlotOffer
		for i := range l.offers {
			if o := &l.offers[i]; l.busy[o.ID] < o.Slots && (best == nil || l.busy[o.ID] < l.busy[best.ID]) {
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

func (l *ledger) Offer(_ context.Context, _ string, offers []jobs.SlotOffer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return errDown
	}
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

func (l *ledger) Demand(context.Context, string) (jobs.Demand, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return jobs.Demand{}, errDown
	}
	d := jobs.Demand{Held: len(l.held), SlotsOut: map[string]int{}, Busy: map[string]int{}}
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

func (l *ledger) Announced(ctx context.Context, fn func(string)) error {
	l.mu.Lock()
	l.fn = fn
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
	return []jobs.Counters{{
		Activator: "a", Started: l.started, At: time.Now(),
		Services: map[string]jobs.ServiceCounters{"translate": c},
	}}, nil
}

func (l *ledger) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}

func (l *ledger) tellings() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.told)
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

// within waits for a condition, in steps short against everything measured.
func within(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
