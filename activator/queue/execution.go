package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"
)

// Errors of an Execution.
var (
	// ErrFenced: the request is not this activator's any more: it was cancelled, or
	// another one has taken it over. Nothing of this run is stored.
	ErrFenced = errors.New("the request is somebody else's by now")
	// errTakenOver is the ErrFenced of one whose activator was taken for dead: its
	// slot was in quarantine.
	errTakenOver = fmt.Errorf("%w: its activator was silent for too long", ErrFenced)
	// ErrTooLarge: the answer is larger than result.max_size. Nothing of it is kept;
	// the run may go on for whoever listens, and is finished as always.
	ErrTooLarge = errors.New("the answer is larger than result.max_size")
)

// Execution is one attempt of a durable request at a replica. Config.Execute
// gets it with its slot, sends the request, and calls Begin, Write and Finish with
// what comes back: each returns only when Redis has it, so that nothing is shown
// to anybody that a crash could take back. If Execute returns an error before
// Finish or Fail, the request goes back to its place in the queue, or fails when
// it has been tried often enough; so it does when this process ends.
//
// The ctx of Execute ends when the request is cancelled, taken over, past
// request.timeout, or when this activator shuts down. The slot is given back when
// Execute returns.
type Execution struct {
	Request Request // as it was submitted
	Slot    *Slot
	Attempt int // from 1

	s       *service
	ticket  string
	epoch   int64
	timeout time.Duration
	ctx     context.Context // of the run: ends with a cause
	cancel  context.CancelCauseFunc
	chunks  int
	head    []any // status and header, until they are stored
	large   bool
	done    bool
	suspect bool
	unsent  bool
	began   time.Time // when it may first have been sent; zero: not yet
	over    bool      // the replica has nothing more to do for it
}

// acceptDurableLocked takes the grant of a durable ticket and runs it. timeout is its
// request.timeout: others may have accepted it, and this activator may never have
// heard of one; once it has acknowledged the grant, what it states is all that counts.
func (s *service) acceptDurableLocked(ticket, replicaID string, epoch int64, timeout time.Duration, sent time.Time) {
	delete(s.expected, ticket)
	if taken, ok := s.acks[ticket]; ok && taken == epoch {
		return // told twice
	}
	s.acks[ticket] = epoch
	s.longest.hear(timeout, time.Now())
	if e := s.running[ticket]; e != nil {
		if e.epoch != epoch { // an older run that has been given up has not ended yet
			e.cancel(errTakenOver)
			delete(s.acks, ticket) // come again
		}
		return
	}
	e := &Execution{s: s, ticket: ticket, epoch: epoch}
	e.ctx, e.cancel = context.WithCancelCause(s.q.runCtx)
	r := s.find(replicaID)
	if r != nil && r.offered {
		r.owned++
		e.Slot = s.slotLocked(r, sent)
	}
	s.running[ticket] = e
	s.q.runsOn.Go(e.run)
}

func (e *Execution) run() {
	defer e.cancel(nil)
	err := e.try()
	if e.Slot != nil {
		switch {
		case errors.Is(err, errTakenOver) && !e.began.IsZero() && !e.over:
			e.Slot.leave(fmt.Sprintf("%s.%d", e.ticket, e.epoch), e.began.Add(e.timeout))
		case err != nil && e.unacknowledged():
			// Redis has the slot as the grant's, and takes it back with that.
			e.Slot.forgo(e.suspect)
		case e.suspect:
			e.Slot.ReleaseSuspect()
		default:
			e.Slot.Release()
		}
	}
	if err != nil && !errors.Is(err, ErrFenced) {
		e.giveUp()
	}
	e.s.mu.Lock()
	delete(e.s.running, e.ticket)
	e.s.mu.Unlock()
	e.s.kick()
}

// unacknowledged reports whether Redis has not been told yet that its grant was taken.
func (e *Execution) unacknowledged() bool {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	epoch, ok := e.s.acks[e.ticket]
	return ok && epoch == e.epoch
}

// try loads the request, counts the attempt, and has it executed.
func (e *Execution) try() error {
	if e.Slot == nil {
		return errors.New("the replica has gone")
	}
	if err := e.Slot.Check(); err != nil {
		return err
	}
	var reply []any
	err := e.persist(e.ctx, func(ctx context.Context) (err error) {
		reply, err = e.call(ctx, runScript, 0)
		return err
	})
	if err != nil {
		return err
	}
	if err := e.load(reply[1].([]any)); err != nil {
		return e.drop(err)
	}
	ctx, cancel := context.WithTimeoutCause(e.ctx, e.timeout, context.DeadlineExceeded)
	defer cancel()
	e.began = time.Now()
	err = e.s.q.cfg.Execute(ctx, e)
	if e.done {
		return nil
	}
	if cause := context.Cause(e.ctx); errors.Is(cause, ErrFenced) {
		return cause
	}
	if err == nil {
		err = errors.New("it ended without an answer")
	}
	e.s.q.cfg.Logger.Info("a durable request was not answered", "service", e.s.name, "ticket", e.ticket, "attempt", e.Attempt, "err", err)
	return err
}

// Suspect keeps everybody off the replica for a moment: it refused or broke the
// connection.
func (e *Execution) Suspect() { e.suspect = true }

// Unsent says that nothing of the request was sent, and so that this was no attempt:
// Execute is about to return an error, and it will be tried as often as before.
func (e *Execution) Unsent() { e.unsent = true }

// Begin notes the answer's status and header; they are stored with its first
// bytes. Header must not have what is not to be written down.
func (e *Execution) Begin(status int, header http.Header) {
	raw, err := json.Marshal(header)
	if err != nil {
		raw = []byte("{}")
	}
	e.head = []any{status, raw}
}

// Write stores the next part of the answer. After ErrTooLarge nothing more is
// stored. Other errors: ErrFenced, or the cause of the execution's end while Redis
// does not answer.
func (e *Execution) Write(ctx context.Context, p []byte) error {
	if e.large {
		return ErrTooLarge
	}
	return e.store(ctx, p, "", "", false)
}

// Finish stores the end of the answer, with its last part if p is not empty: the
// request has succeeded, whatever status the replica answered with.
func (e *Execution) Finish(ctx context.Context, p []byte) error {
	e.over = true
	return e.store(ctx, p, StateSucceeded, "", false)
}

// Fail ends the request without a replica's answer. status, header and p are what
// later readers get of it; a key is freed.
func (e *Execution) Fail(ctx context.Context, reason string, status int, header http.Header, p []byte) error {
	e.Begin(status, header)
	return e.store(ctx, p, StateFailed, reason, true)
}

func (e *Execution) store(ctx context.Context, p []byte, state State, reason string, free bool) error {
	status, header := any(""), any("")
	if e.head != nil {
		status, header = e.head[0], e.head[1]
	}
	freed := 0
	if free {
		freed = 1
	}
	var reply []any
	err := e.persist(ctx, func(ctx context.Context) (err error) {
		reply, err = e.call(ctx, storeScript, e.chunks, status, header, p, string(state), reason,
			e.Request.Keep.Milliseconds(), e.Request.MaxSize, freed)
		return err
	})
	if err != nil {
		return err
	}
	e.head = nil
	if len(p) > 0 {
		e.chunks++
	}
	e.done = e.done || state != ""
	if reply[0] == "large" && !e.large {
		e.large = true
		if state == "" {
			return ErrTooLarge
		}
	}
	return nil
}

// call a script of this execution; one that answers "fenced" is errTakenOver, one
// that answers "ended" ErrFenced: it was cancelled.
func (e *Execution) call(ctx context.Context, script *redis.Script, own ...any) ([]any, error) {
	q := e.s.q
	e.s.mu.Lock()
	gen := e.s.gen
	e.s.mu.Unlock()
	args := argsOf(e.s.name, &q.cfg, gen, q.cfg.Activator, e.ticket, e.epoch)
	reply, err := run(ctx, script, q.cfg.Redis, e.s.name, append(args, own...))
	if err != nil {
		return nil, err
	}
	switch reply[0] {
	case "fenced":
		return nil, errTakenOver
	case "ended":
		return nil, ErrFenced
	}
	return reply, nil
}

// persist repeats a call until Redis answers, or ctx ends. A call under way is not
// broken off: it may be done already.
func (e *Execution) persist(ctx context.Context, call func(context.Context) error) error {
	retry := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(20*time.Millisecond),
		backoff.WithMaxInterval(time.Second),
		backoff.WithMaxElapsedTime(0))
	err := backoff.Retry(func() error {
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.s.q.cfg.Timeout)
		defer cancel()
		err := call(once)
		if errors.Is(err, ErrFenced) {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(retry, ctx))
	if err != nil && ctx.Err() != nil && !errors.Is(err, ErrFenced) {
		return context.Cause(ctx)
	}
	return err
}

// giveUp sends the request back to its place, or to its final failure. It goes on
// until Redis has taken it: nobody else will while this activator lives.
func (e *Execution) giveUp() {
	unsent := 0
	if e.unsent {
		unsent = 1
	}
	again := func(ctx context.Context) error {
		_, err := e.call(ctx, againScript, unsent)
		return err
	}
	// Once this process ends it is tried once more; its lease's end does the rest.
	_ = e.persist(e.s.q.runCtx, again)
}

// claim tells a ledger that has forgotten this run that it is ours.
func (e *Execution) claim() {
	_, err := e.call(e.ctx, runScript, 1)
	if errors.Is(err, ErrFenced) {
		e.cancel(err)
	}
}

// UnreadableError says that a ticket in Redis has a field that no version of this
// program writes.
type UnreadableError struct{ Field, Value string }

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("its field %s is %.40q", e.Field, e.Value)
}

func (e *Execution) load(flat []any) error {
	f := map[string]string{}
	for i := 0; i+1 < len(flat); i += 2 {
		f[text(flat[i])] = text(flat[i+1])
	}
	var wrong error
	n := func(name string, least int64) int64 {
		v, err := strconv.ParseInt(f[name], 10, 64)
		if (err != nil || v < least) && wrong == nil {
			wrong = &UnreadableError{name, f[name]}
		}
		return v
	}
	ms := func(name string, least int64) time.Duration {
		return time.Duration(min(n(name, least), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
	}
	e.Attempt = int(n("attempts", 1))
	e.timeout = ms("timeout", 1)
	e.Request = Request{ID: e.ticket, Service: e.s.name, Tenant: f["tenant"], Async: f["async"] == "1",
		RequestID: f["request_id"], Method: f["method"], Path: f["path"], Body: []byte(f["body"]),
		Deadline: time.UnixMilli(n("deadline", 0)), Priority: MaxPriority - int(n("level", 0)), Attempts: int(n("max", 1)),
		Keep: ms("keep", 0), MaxSize: n("max_size", 0)}
	if json.Unmarshal([]byte(f["header"]), &e.Request.Header) != nil {
		return &UnreadableError{Field: "header"} // its value is a caller's
	}
	return wrong
}

// keepUnreadable is how long those who wait for a ticket that cannot be read may
// learn that it failed.
const keepUnreadable = time.Minute

// drop ends a ticket that nobody can run.
func (e *Execution) drop(err error) error {
	e.s.q.cfg.Logger.Error("a ticket cannot be read and is dropped", "service", e.s.name, "ticket", e.ticket, "reason", err.Error())
	e.Request.Keep = keepUnreadable
	return e.store(e.ctx, nil, StateFailed, ReasonUnreadable, true)
}
