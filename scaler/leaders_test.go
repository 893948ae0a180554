package scaler

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/history"
	"github.com/pilotlight/pilotlight/scaler/lease"
)

// leader is a scaler that believes that it leads, in an epoch of its own and
// whatever others believe: a process that was stopped, or whose clock was.
type leader struct {
	fleet *way
	stop  func()

	mu        sync.Mutex
	outranked []int64
}

// Run is a Lease that never ends by itself.
func (l *leader) run(epoch int64) leaseFunc {
	return func(ctx context.Context, lead func(context.Context, int64) error, _ func()) error {
		err := lead(ctx, epoch)
		var outranked *lease.OutrankedError
		if errors.As(err, &outranked) {
			l.mu.Lock()
			l.outranked = append(l.outranked, outranked.Epoch)
			l.mu.Unlock()
			<-ctx.Done()
			return nil
		}
		return err
	}
}

type leaseFunc func(ctx context.Context, lead func(context.Context, int64) error, other func()) error

func (f leaseFunc) Run(ctx context.Context, lead func(context.Context, int64) error, other func()) error {
	return f(ctx, lead, other)
}

// way is the way of one process to the fleet.
type way struct {
	*fleet
	mu      sync.Mutex
	stalled chan struct{} // calls wait for its end, whatever their context; nil: they do not
	waiting int
	calls   []int
}

func (w *way) ScaleFrom(ctx context.Context, ref jobs.Ref, index uint64, count int, reason string, meta map[string]string) error {
	w.mu.Lock()
	w.calls = append(w.calls, count)
	stalled := w.stalled
	if stalled != nil {
		w.waiting++
	}
	w.mu.Unlock()
	if stalled != nil {
		<-stalled
		ctx = context.WithoutCancel(ctx)
	}
	return w.fleet.ScaleFrom(ctx, ref, index, count, reason, meta)
}

// stall lets the calls of this process come no further than to their sending.
func (w *way) stall() (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stalled = make(chan struct{})
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		close(w.stalled)
		w.stalled = nil
	})
}

func (w *way) asked() (list []int, waiting int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(list, w.calls...), w.waiting
}

// lead starts a scaler beside those that run.
func (h *house) lead(epoch int64) *leader {
	h.t.Helper()
	l := &leader{fleet: &way{fleet: h.fleet}}
	s, err := New(Config{
		Fleet: l.fleet, Ledger: h.ledger, Policies: h.policies, Specs: h.specs, History: h.history,
		Logger: slog.New(slog.NewTextHandler(h.log, nil)).With("epoch", epoch),
		Client: &http.Client{Transport: h.fleet}, Lease: l.run(epoch),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			h.t.Errorf("Run: %v", err)
		}
	}()
	l.stop = sync.OnceFunc(func() { cancel(); <-done })
	pass(1100 * time.Millisecond)
	return l
}

// twoLeaders plays a story in which the first leader is stopped between its
// intent to do something and the call, and a second one takes over.
func twoLeaders(t *testing.T, story func(t *testing.T, h *house, first *leader)) {
	t.Helper()
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.stop()
		h.redis.FlushAll()
		first := h.lead(1)
		defer first.stop()
		story(t, h, first)
	})
}

func TestALaunchThatAStaleLeaderSendsLateIsMadeOnce(t *testing.T) {
	twoLeaders(t, func(t *testing.T, h *house, first *leader) {
		release := first.fleet.stall()
		h.ledger.ask(1)
		pass(time.Second)
		if _, waiting := first.fleet.asked(); waiting != 1 {
			t.Fatalf("%d calls of the first leader wait, want 1", waiting)
		}
		second := h.lead(2)
		defer second.stop()
		within(t, time.Second, "the launch", func() bool { return h.fleet.placements() == 1 })
		release()
		pass(5 * time.Second)
		if n, stale := h.fleet.placements(), h.fleet.stale; n != 1 || stale != 1 {
			t.Errorf("%d launches and %d calls refused, want one of each", n, stale)
		}
		if h.ledger.waiting() != 0 {
			t.Error("the request is still held")
		}
		list, err := h.history.ColdStarts(t.Context(), "translate", 0)
		if err != nil || len(list) != 1 {
			t.Errorf("%d cold starts told, %v; want 1", len(list), err)
		}
	})
}

func TestALaunchThatIsNotWantedAnyMoreIsReversedBeforeItCanCome(t *testing.T) {
	twoLeaders(t, func(t *testing.T, h *house, first *leader) {
		release := first.fleet.stall()
		h.ledger.ask(1)
		pass(time.Second)
		h.operate(jobs.Command{Verb: jobs.VerbSleep, Reason: "not needed"})
		h.ledger.set(func() { h.ledger.held = nil })
		second := h.lead(2)
		defer second.stop()
		within(t, 3*time.Second, "the reversal", func() bool { return len(h.ruled(ruleReversed)) == 1 })
		release()
		pass(5 * time.Second)
		if n := h.fleet.placements(); n != 0 || h.fleet.stale != 1 {
			t.Errorf("%d launches, %d calls refused; want none launched, one refused", n, h.fleet.stale)
		}
		if calls, _ := second.fleet.asked(); len(calls) != 1 || calls[0] != 0 {
			t.Errorf("the second leader called %v, want the same count once", calls)
		}
	})
}

// drained brings a first leader to the moment at which it has drained its one
// replica and is stopped before the call that stops it.
func drained(t *testing.T, h *house, first *leader) (release func()) {
	t.Helper()
	h.ledger.ask(1)
	within(t, 5*time.Second, "the answer", func() bool { return h.ledger.waiting() == 0 })
	pass(2 * time.Second)
	release = first.fleet.stall()
	h.operate(jobs.Command{Verb: jobs.VerbSleep, Reason: "a test"})
	within(t, 5*time.Second, "a call that waits", func() bool { _, n := first.fleet.asked(); return n == 1 })
	return release
}

func TestAScaleDownThatAStaleLeaderSendsLateStopsNobodyWhoServes(t *testing.T) {
	twoLeaders(t, func(t *testing.T, h *house, first *leader) {
		release := drained(t, h, first)
		h.ledger.work = 20 * time.Second
		taken := time.Now()
		pass(time.Millisecond) // what was asked before the verb does not wake it
		h.ledger.ask(1)        // before the second leader comes: the replica is wanted again
		second := h.lead(2)
		defer second.stop()
		within(t, 5*time.Second, "the request served", func() bool { return h.ledger.waiting() == 0 })
		if calls, _ := second.fleet.asked(); len(calls) != 1 || calls[0] != 1 {
			t.Errorf("the second leader called %v before slots were given, want the same count once", calls)
		}
		for _, told := range h.ledger.tellings() {
			if told.at.After(taken) && len(told.offers) > 0 && told.offers[0].Slots > 0 && h.fleet.at[group] != 2 {
				t.Error("slots were given before the stale call was shut out")
			}
		}
		release()
		pass(30 * time.Second)
		h.ledger.set(func() {
			if cut := h.ledger.cut; len(cut) > 0 {
				t.Errorf("requests cut: %v", cut)
			}
		})
		if h.fleet.stale != 1 || h.fleet.placements() != 1 || h.fleet.running() != 1 {
			t.Errorf("%d calls refused, %d launches, %d running; want 1 of each", h.fleet.stale, h.fleet.placements(), h.fleet.running())
		}
		if list := h.ruled(ruleReversed); len(list) != 1 || !strings.Contains(list[0].Reason, "from 1 to 0") {
			t.Errorf("decisions about it: %v", list)
		}
	})
}

func TestAScaleDownIsFinishedByTheNextLeader(t *testing.T) {
	twoLeaders(t, func(t *testing.T, h *house, first *leader) {
		release := drained(t, h, first)
		taken := time.Now()
		second := h.lead(2)
		defer second.stop()
		within(t, 3*time.Second, "no replica", func() bool { return h.fleet.running() == 0 })
		release()
		pass(5 * time.Second)
		for _, told := range h.ledger.tellings() {
			if told.at.After(taken) && len(told.offers) > 0 && told.offers[0].Slots > 0 {
				t.Error("the replica got slots again on its way out")
			}
		}
		if diff := cmp.Diff([]int{1, 0}, h.fleet.counts()); diff != "" || h.fleet.stale != 1 {
			t.Errorf("%d calls refused; scale calls (-want +got):\n%s", h.fleet.stale, diff)
		}
	})
}

func TestADrainGoesOnUnderTheNextLeaderFromWhereItWas(t *testing.T) {
	p := policy(nil)
	p.ScaleDown.DrainTimeout = 20 * time.Second
	play(t, p, func(t *testing.T, h *house) {
		h.stop()
		h.redis.FlushAll()
		first := h.lead(1)
		h.ledger.work = time.Hour
		h.ledger.ask(1)
		within(t, 5*time.Second, "the request in flight", func() bool { return h.ledger.waiting() == 0 })
		began := time.Now()
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 0, Reason: "a test"})
		pass(10 * time.Second)
		second := h.lead(2)
		defer second.stop()
		pass(time.Second)
		first.stop()
		within(t, time.Minute, "no replica", func() bool { return h.fleet.running() == 0 })
		if took := time.Since(began); took < 20*time.Second || took > 22*time.Second {
			t.Errorf("stopped %v after the drain began, want the drain timeout of 20s", took)
		}
		for _, told := range h.ledger.tellings() {
			if told.at.After(began) && len(told.offers) > 0 && told.offers[0].Slots > 0 {
				t.Error("the replica got slots again on its way out")
			}
		}
		if diff := cmp.Diff([]int{1, 0}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
	})
}

func TestADrainByALeaderWhoseClockWasWrongLastsAsLongAsItShould(t *testing.T) {
	p := policy(nil)
	p.ScaleDown.DrainTimeout = 20 * time.Second
	for name, off := range map[string]time.Duration{"an hour behind": -time.Hour, "an hour ahead": time.Hour} {
		t.Run(name, func(t *testing.T) {
			play(t, p, func(t *testing.T, h *house) {
				h.stop()
				h.redis.FlushAll()
				first := h.lead(1)
				h.ledger.work = 15 * time.Second
				h.ledger.ask(1)
				within(t, 5*time.Second, "the request in flight", func() bool { return h.ledger.waiting() == 0 })
				first.stop()
				began := time.Now()
				if err := h.history.Intend(t.Context(), "translate", history.Intent{
					Epoch: 1, Number: 99, At: began.Add(off), Ref: group, From: 1, To: 0, Reason: "asleep",
					Victims: []history.Victim{{ID: "alloc-1", Since: began.Add(off - 2*time.Second)}},
				}); err != nil {
					t.Fatal(err)
				}
				h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 0, Reason: "a test"})
				second := h.lead(2)
				defer second.stop()
				within(t, time.Minute, "no replica", func() bool { return h.fleet.running() == 0 })
				if cut := h.ledger.inFlightCut(); len(cut) > 0 {
					t.Errorf("requests cut %v after the drain began: %v", time.Since(began), cut)
				}
				if took := time.Since(began); took > 17*time.Second {
					t.Errorf("stopped only after %v, though its request took 15s", took)
				}
			})
		})
	}
}

func TestOfTwoWhoBothBelieveThatTheyLeadOnlyTheLaterOneActs(t *testing.T) {
	twoLeaders(t, func(t *testing.T, h *house, first *leader) {
		second := h.lead(2)
		defer second.stop()
		h.ledger.ask(200)
		within(t, 5*time.Second, "three launches", func() bool { return h.fleet.placements() == 3 })
		within(t, 5*time.Minute, "no replica in the end", func() bool { return h.fleet.running() == 0 })
		if calls, _ := first.fleet.asked(); len(calls) > 0 {
			t.Errorf("the first leader called %v although a later one has taken over", calls)
		}
		if diff := cmp.Diff([]int64{2}, first.outranked); diff != "" {
			t.Errorf("outranked (-want +got):\n%s", diff)
		}
		if n := h.fleet.placements(); n != 3 {
			t.Errorf("%d launches, want 3", n)
		}
		decisions, err := h.history.Decisions(t.Context(), "translate", 0)
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for i := range decisions {
			if d := decisions[len(decisions)-1-i]; d.From != count {
				t.Errorf("a decision goes from %d, the one before went to %d", d.From, count)
			} else {
				count = d.To
			}
		}
	})
}

func TestALeaderWhoseOfferIsStaleLeadsNoMore(t *testing.T) {
	twoLeaders(t, func(t *testing.T, h *house, first *leader) {
		h.ledger.ask(1)
		within(t, 5*time.Second, "the answer", func() bool { return h.ledger.waiting() == 0 })
		h.ledger.set(func() { h.ledger.epoch = 7 }) // another has offered
		h.ledger.ask(1)
		time.Sleep(3 * time.Second)
		first.mu.Lock()
		defer first.mu.Unlock()
		if diff := cmp.Diff([]int64{7}, first.outranked); diff != "" {
			t.Errorf("outranked (-want +got):\n%s", diff)
		}
	})
}

func TestAnIntentThatCannotBeStoredIsNotCarriedOut(t *testing.T) {
	twoLeaders(t, func(t *testing.T, h *house, first *leader) {
		h.redis.SetError("LOADING Redis is loading the dataset in memory")
		h.ledger.ask(1)
		pass(10 * time.Second)
		if calls, _ := first.fleet.asked(); len(calls) > 0 {
			t.Errorf("called %v without an intent", calls)
		}
		h.redis.SetError("")
		within(t, 10*time.Second, "the launch", func() bool { return h.fleet.placements() == 1 })
	})
}

func TestAReplicaWhoseLauncherDidNotLiveToSeeItHasAColdStart(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.stop()
		h.redis.FlushAll()
		begun := time.Now()
		h.ledger.ask(1)
		if err := h.history.Intend(t.Context(), "translate", history.Intent{
			Epoch: 1, At: begun, Ref: group, From: 0, To: 1, Called: true, Index: 1, Reason: "1 held",
		}); err != nil {
			t.Fatal(err)
		}
		if err := h.fleet.Scale(t.Context(), group, 1, "", nil); err != nil {
			t.Fatal(err)
		}
		second := h.lead(2)
		defer second.stop()
		pass(5 * time.Second)
		list, err := h.history.ColdStarts(t.Context(), "translate", 0)
		if err != nil || len(list) != 1 || list[0].Reason != "1 held" || !list[0].StartedAt.Equal(begun) {
			t.Errorf("cold starts %+v, %v; want the one that began with the intent", list, err)
		}
		if calls, _ := second.fleet.asked(); len(calls) > 0 {
			t.Errorf("called %v, though all was there", calls)
		}
	})
}

// own is a fleet that only one process commands.
type own struct {
	*fleet
	stood atomic.Int64
}

func (o *own) StandDown() { o.stood.Add(1) }

func TestAFleetOfItsOwnStandsDownWhenAnotherLeads(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.stop()
		runs, l := &own{fleet: h.fleet}, &terms{give: make(chan context.Context)}
		h.runs, h.lease = runs, l
		h.start()
		for _, step := range []struct {
			cause       error
			soon, later int64 // times that it has stood down, at once and in the end
		}{
			{lease.ErrLost, 1, 1},
			{lease.ErrExpired, 1, 2}, // nobody else need have taken the lease
		} {
			term, end := context.WithCancelCause(t.Context())
			l.give <- term
			pass(time.Second)
			end(step.cause)
			pass(time.Second)
			if n := runs.stood.Load(); n != step.soon {
				t.Errorf("%v: stood down %d times, want %d", step.cause, n, step.soon)
			}
			pass(2 * time.Minute)
			if n := runs.stood.Load(); n != step.later {
				t.Errorf("%v: stood down %d times in the end, want %d", step.cause, n, step.later)
			}
		}
	})
}

func TestAFleetOfItsOwnStandsDownAsSoonAsAnotherIsSeenToLeadAfterAnOutage(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.stop()
		runs, l := &own{fleet: h.fleet}, &terms{give: make(chan context.Context), other: make(chan struct{})}
		h.runs, h.lease = runs, l
		h.start()
		term, end := context.WithCancelCause(t.Context())
		l.give <- term
		pass(time.Second)
		end(lease.ErrExpired)
		pass(time.Second)
		if n := runs.stood.Load(); n != 0 {
			t.Errorf("stood down %d times while nobody else led", n)
		}
		l.other <- struct{}{}
		synctest.Wait()
		if n := runs.stood.Load(); n != 1 {
			t.Errorf("stood down %d times when another led, want once", n)
		}
	})
}
