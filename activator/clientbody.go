package activator

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/pilotlight/pilotlight/activator/front"
)

// clientBody is the body as the client sends it. Its errors are the client's
// fault, *BadRequestError or *http.MaxBytesError, or ErrDeadline; it remembers
// whether anything was read: if not, the request was never sent.
type clientBody struct {
	*front.Body
	pace    front.Pace // it holds memory, or a slot
	touched bool
	err     error        // of the last read, io.EOF included
	came    atomic.Int64 // Unix ns of the last bytes; another goroutine asks
}

func (a *Activator) newClientBody(w http.ResponseWriter, r *http.Request, limit int64) *clientBody {
	return &clientBody{Body: front.NewBody(w, http.MaxBytesReader(w, r.Body, limit), a.cfg.ClientPace), pace: a.cfg.ClientPace}
}

func (b *clientBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	b.touched = true
	n, err := b.Body.Read(p)
	if n > 0 {
		b.came.Store(time.Now().UnixNano())
	}
	if err != nil {
		b.err = b.fault(err)
	}
	return n, b.err
}

// since is when the client was last waited for, at the earliest at t: a replica
// cannot answer what it has not got.
func (b *clientBody) since(t time.Time) time.Time {
	if b == nil {
		return t
	}
	if came := time.Unix(0, b.came.Load()); came.After(t) {
		return came
	}
	return t
}

// Close leaves the deadline in place: the server reads on to the body's end
// before it answers, and must not wait for it longer than we would have.
func (b *clientBody) Close() error { return nil }

// fault says what the client did wrong.
func (b *clientBody) fault(err error) error {
	switch {
	case errors.Is(err, io.EOF), is[*http.MaxBytesError](err):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded) && b.Late():
		return ErrDeadline
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &BadRequestError{Field: "body", Message: fmt.Sprintf("it comes too slowly: it may pause for %v in all, beyond what its bytes take at %.0f bytes per second", b.pace.Grace, b.pace.Rate)}
	}
	return &BadRequestError{Field: "body", Message: "it ended early or is not well-formed: " + err.Error()}
}
