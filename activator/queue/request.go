package queue

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/jobs"
)

// Errors of durable requests.
var (
	// ErrKeyReused: the key belongs to another request.
	ErrKeyReused = errors.New("the idempotency key was used for another request")
	// ErrUnknownRequest: there is no durable request of that id, or no more.
	ErrUnknownRequest = errors.New("unknown request")
	// ErrStoreUnavailable: Redis does not answer; a durable request is not accepted
	// without it. It may have been accepted all the same: repeating it with its id
	// or key is safe.
	ErrStoreUnavailable = errors.New("the store does not answer")
)

func unavailable(err error) error {
	if err = storeError(err); errors.Is(err, ErrStoreFull) || errors.Is(err, ErrStoreUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrStoreUnavailable, err)
}

// State of a durable request; doc.go draws how they follow each other.
type State string

// The states. The last three are final.
const (
	StateHeld      State = "held"    // waits for a slot
	StateGranted   State = "granted" // has one; nothing is sent yet
	StateRunning   State = "running" // sent to a replica
	StateSucceeded State = "succeeded"
	StateFailed    State = "failed"
	StateCancelled State = "cancelled"
)

// Final reports whether nothing follows.
func (s State) Final() bool {
	return s == StateSucceeded || s == StateFailed || s == StateCancelled
}

// Reasons of StateFailed that the queue itself gives; others are an executor's.
const (
	ReasonDeadline = "deadline" // it was not begun before its deadline
	ReasonAttempts = "attempts" // it was tried as often as allowed, without an answer
	ReasonCut      = "cut"      // its answer broke off, and somebody had read its beginning
	// ReasonUnreadable: its ticket has a field that no version of this program writes.
	ReasonUnreadable = "unreadable"
)

// Request is a durable request: with an idempotency key, or asynchronous.
type Request struct {
	ID        string // NewID(Service); the same id again is the same request
	Service   string
	Tenant    string // whose; only they may see it (the caller checks)
	Key       string // the caller's Idempotency-Key; "" none
	Async     bool   // nobody's connection waits for it: any activator runs it
	RequestID string
	Method    string
	Path      string // with its query
	Header    http.Header
	Body      []byte
	Deadline  time.Time     // of the hold
	Priority  int           // 0…MaxPriority
	Attempts  int           // retry.attempts
	Keep      time.Duration // how long its answer is kept: result.keep
	MaxSize   int64         // of its stored answer: result.max_size
}

// NewID makes the id of a durable request; it names its service, so that any
// activator finds it.
func NewID(service string) string { return service + "." + rand.Text() }

func serviceOf(id string) (string, bool) {
	i := strings.LastIndexByte(id, '.')
	if i <= 0 || strings.ContainsAny(id, "{}|~ ") {
		return "", false
	}
	return id[:i], true
}

// keyHash is the key within its scope: tenant, service (by its prefix), method,
// path. The key itself is not written down.
func (r *Request) keyHash() string {
	if r.Key == "" {
		return ""
	}
	return digest(r.Tenant, r.Method, r.Path, r.Key)
}

// hash tells requests apart that come with one key.
func (r *Request) hash() string {
	if r.Key == "" {
		return digest(r.ID)
	}
	return digest(string(r.Body), r.Header.Get("Content-Type"))
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// Entry is what is known of a durable request.
type Entry struct {
	ID        string
	Service   string
	Tenant    string
	RequestID string
	Async     bool
	State     State
	Reason    string // of a final state that is not succeeded
	Position  int    // in the queue, from 1; 0 if it does not wait
	Attempts  int    // so far
	Replica   string // of the last attempt
	Status    int    // of the answer, once it has begun
	Header    http.Header
	Chunks    int  // of the answer stored so far
	TooLarge  bool // the answer was larger than result.max_size: it is not stored
	At        time.Time
	Deadline  time.Time
	Done      time.Time // zero until final
	Joined    bool      // by Submit: it was there already
}

// Submit accepts a durable request: once it returns without error, the request
// reaches a final state whatever becomes of this process. A request whose key is
// known already is joined, not accepted again. Errors: *FullError, *KeptError, ErrKeyReused,
// ErrStoreFull, ErrStoreUnavailable (a *ReplicasError if that is why), ErrStopped.
func (q *Queue) Submit(ctx context.Context, r *Request, limits Limits) (Entry, error) {
	if q.runs() == 0 {
		return Entry{}, ErrStopped
	}
	if service, ok := serviceOf(r.ID); !ok || service != r.Service {
		return Entry{}, fmt.Errorf("request id %q is not of service %s; use NewID", r.ID, r.Service)
	}
	limits.Defaults()
	e, err := q.submit(ctx, r, limits)
	if errors.Is(err, ErrUnknownRequest) { // what it joined has expired at this moment
		e, err = q.submit(ctx, r, limits)
	}
	return e, err
}

func (q *Queue) submit(ctx context.Context, r *Request, limits Limits) (Entry, error) {
	s := q.service(r.Service)
	s.mu.Lock()
	gen := s.gen
	s.lastUse = time.Now()
	s.longest.hear(limits.Timeout, s.lastUse)
	timeout := s.longest.left(s.lastUse)
	s.expected[r.ID] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.expected, r.ID)
		s.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	if err := q.list(ctx, r.Service); err != nil {
		return Entry{}, unavailable(err)
	}
	async := 0
	if r.Async {
		async = 1
	}
	attempts := max(1, r.Attempts)
	life := time.Duration(attempts)*limits.Timeout + r.Keep + 2*q.cfg.Lease
	args := argsOf(r.Service, &q.cfg, gen, q.cfg.Activator, r.ID, r.keyHash(), r.hash(),
		r.Deadline.UnixMilli(), sizeOf(r.Path, r.Header, r.Body), limits.Requests, limits.Bytes, level(r.Priority), life.Milliseconds(),
		attempts, async, r.Keep.Milliseconds(), timeout.Milliseconds(), q.runs(), q.cfg.Address, limits.Kept)
	args = append(args, s.giveBack()...)
	args = append(args, fields(r.RequestID, r.Method, r.Path, r.Header, r.Body)...)
	args = append(args, "tenant", r.Tenant, "max_size", r.MaxSize, "timeout", limits.Timeout.Milliseconds())
	sent := time.Now()
	reply, err := runReplicated(ctx, submitScript, q.cfg.Redis, r.Service, args, q.cfg.WaitReplicas)
	if err != nil {
		if reply != nil && r.Key == "" {
			q.refuse(r)
		}
		return Entry{}, unavailable(err)
	}
	s.mu.Lock()
	s.gen = max(s.gen, number(reply[1]))
	s.heard = time.Now()
	if ready := number(reply[7]); ready >= 0 {
		s.heardReadyLocked(ready > 0)
	}
	if !s.grantedLocked(reply, limits.Timeout, sent) {
		s.contended = true // this ticket may be waiting for a slot that we hold
	}
	s.mu.Unlock()
	s.kick()
	switch reply[0] {
	case "full":
		return Entry{}, &FullError{Service: r.Service, Held: int(number(reply[3])), Bytes: number(reply[4])}
	case "kept":
		return Entry{}, &KeptError{Service: r.Service, Bytes: number(reply[4])}
	case "reused":
		return Entry{}, ErrKeyReused
	}
	e, err := q.Find(ctx, text(reply[3]))
	e.Joined = reply[0] == "joined"
	return e, err
}

// refuse takes back a request that Redis has, but that its caller is told is not
// accepted: nobody would ever fetch its answer. One with a key goes on, because
// its caller comes back with the key.
func (q *Queue) refuse(r *Request) {
	if _, err := q.Cancel(context.Background(), r.ID); err != nil {
		q.cfg.Logger.Warn("a request that was not accepted could not be taken back", "service", r.Service,
			"ticket", r.ID, "request_id", r.RequestID, "err", err)
	}
}

// giveBack takes an idle slot off this activator's own, as the warm path would, for
// a submission to bring it back: so that the ledger can grant it to that request,
// or to whoever comes before it, in the same call. It returns the replica, and the
// number of the last statement: a later one has said already that the slot is free.
// While a statement is under way, which of the two comes first is not known.
func (s *service) giveBack() []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.contended || s.away || s.stating || len(s.waiters) > 0 || s.q.runs() == 0 {
		return []any{"", 0}
	}
	r := s.idleLocked(time.Now())
	if r == nil {
		return []any{"", 0}
	}
	r.owned--
	return []any{r.ID, s.number}
}

// grantedLocked takes in what a submission answers of its slot; false: it has none
// yet. One whose answer is lost or late comes with the next settlement.
func (s *service) grantedLocked(reply []any, timeout time.Duration, sent time.Time) bool {
	var offer jobs.SlotOffer
	id := text(reply[3])
	if text(reply[5]) == "" || json.Unmarshal([]byte(text(reply[5])), &offer) != nil {
		return false
	}
	if s.expected[id] && within(sent, time.Now(), s.q.cfg.term()) {
		s.offerLocked(offer)
		s.acceptDurableLocked(id, offer.ID, number(reply[6]), timeout, sent)
	}
	return true
}

// Find returns what is known of a durable request. Errors: ErrUnknownRequest,
// ErrStoreUnavailable.
func (q *Queue) Find(ctx context.Context, id string) (Entry, error) {
	e, _, err := q.read(ctx, id, -1)
	return e, err
}

// chunksAtOnce read of an answer.
const chunksAtOnce = 16

func (q *Queue) read(ctx context.Context, id string, from int) (Entry, [][]byte, error) {
	service, ok := serviceOf(id)
	if !ok {
		return Entry{}, nil, ErrUnknownRequest
	}
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	reply, err := run(ctx, readScript, q.cfg.Redis, service, argsOf(service, &q.cfg, 0, q.cfg.Activator, id, from, chunksAtOnce))
	if err != nil {
		return Entry{}, nil, unavailable(err)
	}
	if reply[0] == "unknown" {
		return Entry{}, nil, ErrUnknownRequest
	}
	list, _ := reply[3].([]any)
	chunks := make([][]byte, len(list))
	for i, c := range list {
		chunks[i] = []byte(text(c))
	}
	f := func(i int) string { return text(reply[4].([]any)[i]) }
	at := func(i int) time.Time {
		if ms := number(f(i)); ms > 0 {
			return time.UnixMilli(ms).UTC()
		}
		return time.Time{}
	}
	e := Entry{ID: id, Service: service, Position: int(number(reply[1])), Chunks: int(number(reply[2])),
		State: State(f(0)), Reason: f(1), Status: int(number(f(2))), Attempts: int(number(f(5))), Tenant: f(6),
		RequestID: f(7), At: at(8), Deadline: at(9), TooLarge: number(f(10)) < 0, Replica: f(11), Done: at(12), Async: f(13) == "1"}
	if f(3) != "" {
		_ = json.Unmarshal([]byte(f(3)), &e.Header)
	}
	return e, chunks, nil
}

// Cancel ends a durable request, whatever it is doing; a final one stays as it
// is. Who runs it stops. Errors as of Find.
func (q *Queue) Cancel(ctx context.Context, id string) (Entry, error) {
	if err := q.cancel(ctx, id, 0); err != nil {
		return Entry{}, err
	}
	return q.Find(ctx, id)
}

// Withdraw is Cancel by the caller that brought the request and does not wait for
// it any more; one that somebody else has joined goes on for them.
func (q *Queue) Withdraw(ctx context.Context, id string) error { return q.cancel(ctx, id, 1) }

func (q *Queue) cancel(ctx context.Context, id string, unlessJoined int) error {
	service, ok := serviceOf(id)
	if !ok {
		return ErrUnknownRequest
	}
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	reply, err := run(ctx, cancelScript, q.cfg.Redis, service, argsOf(service, &q.cfg, 0, q.cfg.Activator, id, unlessJoined))
	if err != nil {
		return unavailable(err)
	}
	if reply[0] == "unknown" {
		return ErrUnknownRequest
	}
	return nil
}

const listEvery = 10 * time.Second // how often a service is listed as one with durable tickets

// list makes sure that every activator looks after the service's durable tickets.
func (q *Queue) list(ctx context.Context, service string) error {
	now := time.Now()
	if at, ok := q.listed.Load(service); ok && now.Sub(at.(time.Time)) < listEvery {
		return nil
	}
	if err := q.cfg.Redis.ZAdd(ctx, durableKey, redis.Z{Score: float64(now.UnixMilli()), Member: service}).Err(); err != nil {
		return err
	}
	q.listed.Store(service, now)
	return nil
}

// watchDurable looks after services that this activator may never have heard of:
// who accepted their durable tickets may be dead.
func (q *Queue) watchDurable(ctx context.Context) error {
	if q.cfg.Execute == nil {
		return nil
	}
	tick := time.NewTicker(q.cfg.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		call, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
		names, err := q.cfg.Redis.ZRange(call, durableKey, 0, -1).Result()
		cancel()
		if err != nil {
			continue // the next one
		}
		for _, name := range names {
			q.lookAfter(ctx, q.service(name))
		}
	}
}

// lookAfter a service that is listed: make sure that this activator is heard
// there, and unlist it once it has been quiet for a while.
func (q *Queue) lookAfter(ctx context.Context, s *service) {
	s.mu.Lock()
	quiet := s.durable == 0 && !s.renewed.IsZero()
	s.mu.Unlock()
	s.kick()
	if !quiet {
		q.listed.Delete(s.name) // still in use: its next submission lists it anew
		return
	}
	call, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	before := time.Now().Add(-time.Minute).UnixMilli() - listEvery.Milliseconds()
	_ = unlistScript.Run(call, q.cfg.Redis, []string{durableKey}, s.name, before).Err()
}
