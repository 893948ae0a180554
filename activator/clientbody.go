package activator

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// clientBody is the body as the client sends it. Its errors are the client's
// fault, *BadRequestError or *http.MaxBytesError; it remembers whether anything
// was read: if not, the request was never sent.
type clientBody struct {
	r       io.Reader
	conn    *http.ResponseController
	silence time.Duration // how long the client may pause: it holds memory, or a slot
	touched bool
	err     error // of the last read, io.EOF included
}

func (a *Activator) newClientBody(w http.ResponseWriter, r *http.Request, limit int64) *clientBody {
	return &clientBody{r: http.MaxBytesReader(w, r.Body, limit), conn: http.NewResponseController(w), silence: a.cfg.ClientSilence}
}

func (b *clientBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	b.touched = true
	_ = b.conn.SetReadDeadline(time.Now().Add(b.silence)) // not every writer has one
	n, err := b.r.Read(p)
	if err != nil {
		b.err = b.fault(err)
		if errors.Is(err, io.EOF) {
			_ = b.conn.SetReadDeadline(time.Time{})
		}
	}
	return n, b.err
}

// Close leaves the deadline in place: the server reads on to the body's end
// before it answers, and must not wait for it longer than we would have.
func (b *clientBody) Close() error { return nil }

// fault says what the client did wrong.
func (b *clientBody) fault(err error) error {
	switch {
	case errors.Is(err, io.EOF), is[*http.MaxBytesError](err):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &BadRequestError{Field: "body", Message: "nothing of it came for " + b.silence.String()}
	}
	return &BadRequestError{Field: "body", Message: "it ended early or is not well-formed: " + err.Error()}
}
