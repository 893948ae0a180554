package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// runner executes durable requests as its test tells it to.
type runner struct {
	started chan *Execution
	do      chan func(context.Context, *Execution) error
}

func newRunner() *runner {
	return &runner{make(chan *Execution, 10000), make(chan func(context.Context, *Execution) error)}
}

func (r *runner) join(c *Config) {
	c.Execute = func(ctx context.Context, e *Execution) error {
		r.started <- e
		select {
		case fn := <-r.do:
			return fn(ctx, e)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// answering runs every request at once.
func answering(c *Config) {
	c.Execute = func(ctx context.Context, e *Execution) error {
		e.Begin(http.StatusOK, http.Header{"X-A": {"b"}})
		return e.Finish(ctx, append([]byte("answer to "), e.Request.Body...))
	}
}

func request(id string) *Request {
	return &Request{ID: "translate." + id, Service: "translate", RequestID: "x-" + id, Method: "POST", Path: "/translate?a=b",
		Header: http.Header{"Authorization": {"Bearer secret"}, "X-A": {"b"}}, Body: []byte("body"), Tenant: "acme",
		Deadline: time.Now().Add(10 * time.Minute), Attempts: 2, Keep: time.Hour, MaxSize: 100}
}

func keyed(id, key string) *Request {
	r := request(id)
	r.Key = key
	return r
}

func async(id string) *Request {
	r := request(id)
	r.Async = true
	return r
}

func (w *world) submit(q *Queue, r *Request) Entry {
	w.t.Helper()
	e, err := q.Submit(w.t.Context(), r, roomy)
	if err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
	return e
}

func (w *world) find(q *Queue, id string) Entry {
	w.t.Helper()
	e, err := q.Find(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *world) answer(q *Queue, id string) string {
	w.t.Helper()
	a, err := q.Answer(w.t.Context(), id, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer a.Close()
	b, err := io.ReadAll(a)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

func TestADurableRequestIsHeldRunAndItsAnswerReadAtAnyActivator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := newRunner()
		a, _ := w.activator("a", r.join)
		b, _ := w.activator("b")
		e := w.submit(a, keyed("1", "k"))
		if e.State != StateHeld || e.Position != 1 || e.Joined || e.Tenant != "acme" {
			t.Fatalf("entry = %+v", e)
		}
		if d := w.demand(); d.Held != 1 {
			t.Fatalf("demand = %+v", d)
		}
		if h := w.redis.HGet("pl:{translate}:ticket:translate.1", "header"); h != `{"X-A":["b"]}` {
			t.Errorf("stored header = %s", h)
		}
		w.offer(replicaWith("r1", 0, 1))
		run := now(t, r.started)
		if got := run.Request; string(got.Body) != "body" || got.Path != "/translate?a=b" || got.Header.Get("X-A") != "b" || run.Attempt != 1 {
			t.Errorf("the execution has %+v, attempt %d", got, run.Attempt)
		}
		if e := w.find(b, e.ID); e.State != StateRunning || e.Replica != "r1" {
			t.Errorf("entry = %+v", e)
		}
		answer := make(chan string, 1)
		go func() { answer <- w.answer(b, e.ID) }()
		notYet(t, answer)
		r.do <- func(ctx context.Context, e *Execution) error {
			e.Begin(http.StatusTeapot, http.Header{"X-B": {"c"}})
			if err := e.Write(ctx, []byte("one ")); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			return e.Finish(ctx, []byte("two"))
		}
		notYet(t, answer)
		time.Sleep(2 * time.Second)
		if got := now(t, answer); got != "one two" {
			t.Errorf("answer = %q", got)
		}
		again := w.submit(b0(w), keyed("2", "k"))
		if again.ID != e.ID || !again.Joined || again.State != StateSucceeded || again.Status != http.StatusTeapot {
			t.Errorf("the same key gives %+v", again)
		}
		if got := w.answer(b, again.ID); got != "one two" {
			t.Errorf("answer = %q", got)
		}
		other := keyed("3", "k")
		other.Body = []byte("another")
		if _, err := a.Submit(t.Context(), other, roomy); !errors.Is(err, ErrKeyReused) {
			t.Errorf("another body under the key: %v", err)
		}
		if d := w.demand(); d.Held != 0 || d.SlotsOut["r1"] > 1 {
			t.Errorf("demand = %+v", d)
		}
	})
}

// b0 is one more activator that runs requests.
func b0(w *world) *Queue { q, _ := w.activator("b0", answering); return q }

func TestAKeyIsOfItsTenantMethodAndPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a", newRunner().join)
		ids := map[string]bool{}
		for i, change := range []func(*Request){func(*Request) {}, func(r *Request) { r.Tenant = "other" },
			func(r *Request) { r.Method = "PUT" }, func(r *Request) { r.Path = "/v1/x" }} {
			r := keyed(fmt.Sprint(i), "k")
			change(r)
			ids[w.submit(q, r).ID] = true
		}
		if len(ids) != 4 {
			t.Errorf("%d requests, want 4 of one key", len(ids))
		}
	})
}

func TestADeadActivatorsKeyedRequestIsRejoinedAtItsPlaceAndRunByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a", newRunner().join)
		b, _ := w.activator("b", answering)
		first := w.submit(a, keyed("1", "k"))
		second := hold(t.Context(), b, "t2", roomy)
		w.kill(a)
		w.tick(time.Second)
		again := w.submit(b, keyed("3", "k"))
		if again.ID != first.ID || again.Position != 1 {
			t.Fatalf("joined %+v, want %s at its place", again, first.ID)
		}
		w.tick(5 * time.Second)
		w.offer(replicaWith("r1", 0, 1))
		if got := w.answer(b, first.ID); got != "answer to body" {
			t.Errorf("answer = %q", got)
		}
		now(t, second)
	})
}

func TestWhatADeadActivatorRanIsRunByAnotherInANewSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := newRunner()
		a, _ := w.activator("a", r.join)
		b, _ := w.activator("b", answering) // has never heard of the service
		e := w.submit(a, async("1"))
		w.offer(replicaWith("r1", 0, 2))
		now(t, r.started)
		w.tick(time.Second)
		w.kill(a)
		w.tick(10 * time.Second)
		got := w.find(b, e.ID)
		if got.State != StateSucceeded || got.Attempts != 2 {
			t.Fatalf("entry = %+v, want it to have succeeded in its second attempt", got)
		}
		if d := w.demand(); d.SlotsOut["r1"] == 0 {
			t.Errorf("slots out = %v: the dead one's slot is not quarantined", d.SlotsOut)
		}
	})
}

func TestAStaleOwnerIsFencedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := newRunner()
		f := &faults{}
		a, _ := w.activator("a", r.join, func(c *Config) { c.Redis.AddHook(f) })
		b, _ := w.activator("b", answering)
		e := w.submit(a, async("1"))
		w.offer(replicaWith("r1", 0, 2))
		now(t, r.started)
		w.tick(time.Second)
		f.set(func(f *faults) { f.cut = true })
		w.tick(10 * time.Second)
		if got := w.answer(b, e.ID); got != "answer to body" {
			t.Fatalf("answer = %q", got)
		}
		f.set(func(f *faults) { f.cut = false })
		result := make(chan error, 1)
		r.do <- func(ctx context.Context, e *Execution) error {
			e.Begin(http.StatusOK, nil)
			err := e.Finish(ctx, []byte("another answer"))
			result <- err
			return err
		}
		w.tick(time.Second)
		if err := now(t, result); !errors.Is(err, ErrFenced) {
			t.Errorf("err = %v, want ErrFenced", err)
		}
		if got := w.answer(b, e.ID); got != "answer to body" {
			t.Errorf("answer = %q", got)
		}
	})
}

func TestARequestIsTriedAsOftenAsAllowedThenItsFailureIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := newRunner()
		a, _ := w.activator("a", r.join)
		e := w.submit(a, async("1"))
		w.offer(replicaWith("r1", 0, 1))
		for attempt := 1; attempt <= 2; attempt++ {
			if run := now(t, r.started); run.Attempt != attempt {
				t.Fatalf("attempt %d, want %d", run.Attempt, attempt)
			}
			r.do <- func(context.Context, *Execution) error { return errors.New("broken") }
			time.Sleep(2 * time.Second)
		}
		notYet(t, r.started)
		if got := w.find(a, e.ID); got.State != StateFailed || got.Reason != ReasonAttempts || got.Attempts != 2 {
			t.Errorf("entry = %+v", got)
		}
		var ended *EndedError
		if _, err := a.Answer(t.Context(), e.ID, nil); !errors.As(err, &ended) {
			t.Errorf("answer: %v", err)
		}
	})
}

func TestARunOfWhichNothingWasSentIsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := newRunner()
		a, _ := w.activator("a", r.join)
		e := w.submit(a, async("1"))
		w.offer(replicaWith("r1", 0, 1))
		for range 5 {
			if run := now(t, r.started); run.Attempt != 1 {
				t.Fatalf("attempt %d, want the first", run.Attempt)
			}
			r.do <- func(_ context.Context, e *Execution) error {
				e.Suspect()
				e.Unsent()
				return errors.New("refused")
			}
			synctest.Wait()
			if got := w.find(a, e.ID); got.State != StateHeld || got.Attempts != 0 {
				t.Fatalf("entry = %+v, want it held, and no attempt", got)
			}
			notYet(t, r.started) // nobody is sent to that replica for a second
			time.Sleep(2 * time.Second)
		}
		for attempt := 1; attempt <= 2; attempt++ {
			if run := now(t, r.started); run.Attempt != attempt {
				t.Fatalf("attempt %d, want %d", run.Attempt, attempt)
			}
			r.do <- func(context.Context, *Execution) error { return errors.New("broken") }
			time.Sleep(2 * time.Second)
		}
		if got := w.find(a, e.ID); got.State != StateFailed || got.Reason != ReasonAttempts || got.Attempts != 2 {
			t.Errorf("entry = %+v", got)
		}
	})
}

func TestABrokenOffAnswerIsReplacedUnlessSomebodyHasReadItsBeginning(t *testing.T) {
	for _, read := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			r := newRunner()
			a, _ := w.activator("a", r.join)
			e := w.submit(a, async("1"))
			w.offer(replicaWith("r1", 0, 1))
			now(t, r.started)
			begun := make(chan bool)
			r.do <- func(ctx context.Context, e *Execution) error {
				e.Begin(http.StatusOK, nil)
				_ = e.Write(ctx, []byte("beginning"))
				close(begun)
				time.Sleep(time.Second)
				return errors.New("broken")
			}
			<-begun
			if read {
				answer, err := a.Answer(t.Context(), e.ID, nil)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second)
				b, err := io.ReadAll(answer)
				if string(b) != "beginning" || err == nil {
					t.Errorf("read %q, %v; want the beginning and an error", b, err)
				}
				if got := w.find(a, e.ID); got.State != StateFailed || got.Reason != ReasonCut {
					t.Errorf("entry = %+v", got)
				}
				return
			}
			time.Sleep(3 * time.Second)
			now(t, r.started)
			r.do <- func(ctx context.Context, e *Execution) error {
				e.Begin(200, nil)
				return e.Finish(ctx, []byte("whole"))
			}
			if got := w.answer(a, e.ID); got != "whole" {
				t.Errorf("answer = %q", got)
			}
		})
	}
}

func TestAPartOfAnAnswerIsNeverTakenForTheWhole(t *testing.T) {
	for _, test := range []struct {
		name   string
		fails  bool // the owner says so, else it gives up
		read   bool // somebody has the beginning
		reason string
		want   string // the stored answer; "": none
	}{
		{"it fails", true, false, "upstream-failed", "our words"},
		{"it fails, and somebody has read the beginning", true, true, ReasonCut, ""},
		{"its last attempt is given up", false, false, ReasonAttempts, ""},
		{"its last attempt is given up, and somebody has read the beginning", false, true, ReasonCut, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			r := newRunner()
			a, _ := w.activator("a", r.join)
			req := async("1")
			req.Attempts = 1
			e := w.submit(a, req)
			w.offer(replicaWith("r1", 0, 1))
			now(t, r.started)
			r.do <- func(ctx context.Context, e *Execution) error {
				e.Begin(http.StatusOK, nil)
				_ = e.Write(ctx, []byte("beginning"))
				time.Sleep(2 * time.Second)
				if test.fails {
					return e.Fail(ctx, "upstream-failed", 502, nil, []byte("our words"))
				}
				return errors.New("broken")
			}
			time.Sleep(time.Second)
			if test.read {
				answer, err := a.Answer(t.Context(), e.ID, nil)
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(answer); string(b) != "beginning" || err == nil {
					t.Errorf("%s: who reads got %q, %v; want the beginning and an error", test.name, b, err)
				}
			}
			time.Sleep(2 * time.Second)
			if got := w.find(a, e.ID); got.State != StateFailed || got.Reason != test.reason {
				t.Errorf("%s: %+v", test.name, got)
			}
			answer, err := a.Answer(t.Context(), e.ID, nil)
			if test.want == "" {
				var ended *EndedError
				if !errors.As(err, &ended) {
					t.Errorf("%s: %v, %v; want no answer", test.name, answer, err)
				}
				return
			}
			if b, err := io.ReadAll(answer); string(b) != test.want || err != nil || answer.Status != 502 {
				t.Errorf("%s: %d %q %v", test.name, answer.Status, b, err)
			}
		})
	}
}

func TestAnAnswerThatIsTooLargeIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := newRunner()
		a, _ := w.activator("a", r.join)
		e := w.submit(a, async("1"))
		w.offer(replicaWith("r1", 0, 1))
		now(t, r.started)
		r.do <- func(ctx context.Context, e *Execution) error {
			e.Begin(http.StatusOK, nil)
			if err := e.Write(ctx, []byte(strings.Repeat("x", 60))); err != nil {
				t.Error(err)
			}
			if err := e.Write(ctx, []byte(strings.Repeat("x", 60))); !errors.Is(err, ErrTooLarge) {
				t.Errorf("err = %v, want ErrTooLarge", err)
			}
			return e.Finish(ctx, nil)
		}
		synctest.Wait()
		got := w.find(a, e.ID)
		if got.State != StateSucceeded || !got.TooLarge || got.Chunks != 0 {
			t.Errorf("entry = %+v", got)
		}
		var ended *EndedError
		if _, err := a.Answer(t.Context(), e.ID, nil); !errors.As(err, &ended) {
			t.Errorf("answer: %v", err)
		}
	})
}

func TestCancelEndsAHeldAndARunningRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := newRunner()
		a, _ := w.activator("a", r.join)
		b, _ := w.activator("b")
		heldOne := w.submit(a, async("1"))
		if got, err := b.Cancel(t.Context(), heldOne.ID); err != nil || got.State != StateCancelled {
			t.Fatalf("%+v, %v", got, err)
		}
		running := w.submit(a, keyed("2", "k"))
		w.offer(replicaWith("r1", 0, 1))
		now(t, r.started)
		if got, err := b.Cancel(t.Context(), running.ID); err != nil || got.State != StateCancelled {
			t.Fatalf("%+v, %v", got, err)
		}
		time.Sleep(time.Second)
		if st := a.Standings()[0]; st.InFlight != 0 {
			t.Errorf("in flight = %d after the cancellation", st.InFlight)
		}
		if again := w.submit(a, keyed("3", "k")); again.ID == running.ID {
			t.Error("a cancelled request keeps its key")
		}
		if _, err := b.Cancel(t.Context(), "translate.none"); !errors.Is(err, ErrUnknownRequest) {
			t.Errorf("err = %v", err)
		}
	})
}

func TestOurOwnFailureFreesTheKeyAndADeadlineEndsAHeldRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a", newRunner().join)
		k, as := keyed("1", "k"), async("2")
		k.Deadline, as.Deadline = time.Now().Add(3*time.Second), time.Now().Add(3*time.Second)
		first, second := w.submit(a, k), w.submit(a, as)
		e, err := a.Await(t.Context(), first.ID, func(Entry) bool { return false })
		if err != nil || e.State != StateFailed || e.Reason != ReasonDeadline {
			t.Fatalf("%+v, %v", e, err)
		}
		if again := w.submit(a, keyed("3", "k")); again.Joined {
			t.Error("the key is not free")
		}
		time.Sleep(30 * time.Minute)
		if e := w.find(a, second.ID); e.State != StateFailed {
			t.Errorf("the async request: %+v", e)
		}
		time.Sleep(40 * time.Minute)
		if _, err := a.Find(t.Context(), second.ID); !errors.Is(err, ErrUnknownRequest) {
			t.Errorf("result.keep has passed: %v", err)
		}
	})
}

func TestARequestThatIsSubmittedTwiceRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := newRunner()
		f := &faults{}
		a, _ := w.activator("a", r.join, func(c *Config) { c.Redis.AddHook(f) })
		w.submit(a, async("0")) // lists the service
		synctest.Wait()         // and has nothing more to say
		f.set(func(f *faults) { f.lost = 1 })
		if _, err := a.Submit(t.Context(), async("1"), roomy); !errors.Is(err, ErrStoreUnavailable) {
			t.Fatalf("err = %v, want ErrStoreUnavailable", err)
		}
		if e := w.submit(a, async("1")); e.ID != "translate.1" || e.Joined {
			t.Errorf("entry = %+v", e)
		}
		if d := w.demand(); d.Held != 2 {
			t.Errorf("held = %d, want 2", d.Held)
		}
	})
}

func TestAStoppingActivatorHandsItsRequestsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := newRunner()
		a, stop := w.activator("a", r.join)
		b, _ := w.activator("b", answering)
		running := w.submit(a, async("1"))
		w.offer(replicaWith("r1", 0, 1))
		now(t, r.started)
		waiting := w.submit(a, keyed("2", "k"))
		stop()
		if _, err := a.Submit(t.Context(), async("3"), roomy); !errors.Is(err, ErrStopped) {
			t.Errorf("err = %v, want ErrStopped", err)
		}
		w.tick(7 * time.Second)
		got := []State{w.find(b, running.ID).State, w.find(b, waiting.ID).State}
		if diff := cmp.Diff([]State{StateSucceeded, StateSucceeded}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRequestsAreInSightWithoutTheirContents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := newRunner()
		a, _ := w.activator("a", r.join)
		running := w.submit(a, async("1"))
		w.offer(replicaWith("r1", 0, 1))
		now(t, r.started)
		waiting := w.submit(a, keyed("2", "k"))
		hold(t.Context(), a, "t3", roomy)
		got, err := w.ledger.Requests(t.Context(), "translate", 10)
		if err != nil {
			t.Fatal(err)
		}
		at, till := waiting.At, waiting.Deadline
		want := []Sighting{
			{ID: waiting.ID, Service: "translate", Tenant: "acme", RequestID: "x-2", State: StateHeld, Position: 1, At: at, Deadline: till, Durable: true},
			{ID: "t3", Service: "translate", State: StateHeld, Position: 2, At: at, Deadline: till},
			{ID: running.ID, Service: "translate", Tenant: "acme", RequestID: "x-1", State: StateRunning, Attempts: 1, Replica: "r1", At: at, Deadline: till, Durable: true, Async: true},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if got, _ := w.ledger.Requests(t.Context(), "translate", 1); len(got) != 1 {
			t.Errorf("%d of at most 1", len(got))
		}
	})
}

func TestARequestThatSomebodyHasJoinedIsNotWithdrawnAndLastsForThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a", newRunner().join)
		b, _ := w.activator("b", newRunner().join)
		hasty, patient := keyed("1", "k"), keyed("2", "k")
		hasty.Deadline, patient.Deadline = time.Now().Add(3*time.Second), time.Now().Add(time.Hour)
		patient.Async = true
		first := w.submit(a, hasty)
		if joined := w.submit(b, patient); joined.ID != first.ID || !joined.Joined {
			t.Fatalf("joined %+v, want %s", joined, first.ID)
		}
		if err := a.Withdraw(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // long past the first one's deadline
		e := w.find(b, first.ID)
		if e.State != StateHeld || !e.Async || !e.Deadline.Equal(patient.Deadline.Truncate(time.Millisecond)) {
			t.Errorf("%+v, want it held for the second one", e)
		}
		if _, err := b.Cancel(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		if e := w.find(b, first.ID); e.State != StateCancelled {
			t.Errorf("%+v after it was cancelled", e)
		}

		alone := w.submit(a, keyed("3", "alone"))
		if err := a.Withdraw(t.Context(), alone.ID); err != nil {
			t.Fatal(err)
		}
		if e := w.find(a, alone.ID); e.State != StateCancelled {
			t.Errorf("%+v, want one that nobody has joined to be withdrawn", e)
		}
	})
}

func TestOneThatRunsOnlyWhatOthersAcceptedIsQuarantinedForTheTimeoutOfThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.activator("a", newRunner().join)
		r := newRunner()
		b, _ := w.activator("b", r.join) // has never had a request of the service
		limits := roomy
		limits.Timeout = 20 * time.Second
		if _, err := a.Submit(t.Context(), async("1"), limits); err != nil {
			t.Fatal(err)
		}
		w.kill(a)
		w.tick(10 * time.Second)
		w.offer(replicaWith("r1", 0, 1))
		now(t, r.started)
		w.tick(time.Second)
		w.kill(b)
		w.tick(10 * time.Second)
		list, _, err := w.ledger.Quarantined(t.Context(), "translate")
		if err != nil || len(list) != 1 {
			t.Fatalf("quarantined: %+v, %v; want the slot of b", list, err)
		}
		if left := time.Until(list[0].Until); left > limits.Timeout {
			t.Errorf("quarantined for another %s, want at most request.timeout, %s", left, limits.Timeout)
		}
	})
}
