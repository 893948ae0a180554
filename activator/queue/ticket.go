package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Errors of Hold and Submit, beside the cause of their context.
var (
	// ErrStopped: this activator is shutting down; the ticket was withdrawn, or
	// handed to another one if it was durable.
	ErrStopped = errors.New("the activator is shutting down")
)

// FullError says that a bound on held requests is reached; nothing was held.
type FullError struct {
	Service string
	Held    int   // tickets waiting
	Bytes   int64 // of their paths, headers and bodies
}

func (e *FullError) Error() string {
	return fmt.Sprintf("the hold of %s is full: %d requests, %d bytes wait", e.Service, e.Held, e.Bytes)
}

// KeptError says that the answers that are kept take all the room that they may
// have, and that none of them has been kept for as long as ten minutes; nothing was
// accepted.
type KeptError struct {
	Service string
	Bytes   int64
}

func (e *KeptError) Error() string {
	return fmt.Sprintf("the answers of %s that are kept for those who come back take %d bytes, as much as result.max_bytes allows", e.Service, e.Bytes)
}

// Limits of the hold of one service, from its policy.
type Limits struct {
	Requests int
	Bytes    int64
	// Timeout is request.timeout: no request is in a slot for longer. It is how
	// long the slots in use of an activator that died are quarantined. Default 10 min.
	Timeout time.Duration
	// Kept is result.max_bytes: of the answers of durable requests, counted with a
	// KiB each for the rest. Default 1 GiB.
	Kept int64
}

// Defaults fills what has one and is not set.
func (l *Limits) Defaults() {
	if l.Timeout <= 0 {
		l.Timeout = 10 * time.Minute
	}
	if l.Kept <= 0 {
		l.Kept = 1 << 30
	}
}

// MaxPriority is the most urgent; 0 is the least urgent and the default.
const MaxPriority = 9

// Ticket of one request that waits with its connection: Redis has its place, and
// what is to be sent stays here. ID is its identity for ever; Seq, once given by Redis,
// is its place, which it keeps when it is held again for a retry.
type Ticket struct {
	ID        string
	Service   string
	RequestID string
	Method    string
	Path      string
	Header    http.Header
	Body      []byte
	Deadline  time.Time
	Priority  int // 0…MaxPriority, cut to that
	Seq       int64
}

// sizeOf a request, as Limits.Bytes counts it: a header may be as much of a burden
// as a body.
func sizeOf(path string, header http.Header, body []byte) int64 {
	n := len(path) + len(body)
	for name, values := range header {
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	return int64(n)
}

// level is the priority as the ledger orders it: 0 goes first.
func level(priority int) int { return MaxPriority - min(max(priority, 0), MaxPriority) }

// fields of a request as a ticket stores them.
func fields(requestID, method, path string, header http.Header, body []byte) []any {
	return []any{"request_id", requestID, "method", method, "path", path, "header", storedHeader(header), "body", body}
}

// storedHeader is the request's header as JSON, without what must not be
// written down.
func storedHeader(h http.Header) []byte {
	h = h.Clone()
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie", "Idempotency-Key"} {
		h.Del(name)
	}
	b, err := json.Marshal(h)
	if err != nil {
		return []byte("{}")
	}
	return b
}

// Wait tells how a request came to its slot.
type Wait struct {
	Held    bool          // it had to wait for Redis to hand it a slot
	From    time.Time     // when it began to wait
	Cold    bool          // for a while no replica was ready
	ColdFor time.Duration // for so long
}
