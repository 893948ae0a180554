package front

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// Body reads a request's body, and waits for the client as long as it keeps its
// pace. Its error is then os.ErrDeadlineExceeded.
type Body struct {
	r      io.Reader
	conn   *http.ResponseController
	credit Credit
	until  time.Time
	err    error
}

// NewBody of a request, read through r.
func NewBody(w http.ResponseWriter, r io.Reader, pace Pace) *Body {
	return &Body{r: r, conn: http.NewResponseController(w), credit: pace.Credit()}
}

// Until is when the whole body has to be there; it may be set before a Read.
func (b *Body) Until(t time.Time) { b.until = t }

// Late reports whether that moment has passed.
func (b *Body) Late() bool { return !b.until.IsZero() && !time.Now().Before(b.until) }

// Read waits for the client.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	begun := time.Now()
	due := begun.Add(max(0, b.credit.Left()))
	if !b.until.IsZero() && b.until.Before(due) {
		due = b.until
	}
	_ = b.conn.SetReadDeadline(due) // not every writer has one
	n, err := b.r.Read(p)
	b.credit.Moved(n, time.Since(begun))
	if b.err = err; errors.Is(err, io.EOF) {
		// The server reads on to see whether the client leaves: for as long as it takes.
		_ = b.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// Patience lets the server wait for grace at most for bodies that a handler does
// not read; a handler that reads one slowly sets deadlines of its own. Without it
// a request whose body never comes would keep its connection for ever: the server
// reads on to the body's end before it answers.
func Patience(grace time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			conn := http.NewResponseController(w)
			_ = conn.SetReadDeadline(time.Now().Add(grace))
			// The server's own request keeps its body: by that it knows a client that still
			// waits to be told to send (Expect: 100-continue), and one that has too much left
			// to be read on, and answers both at once.
			theirs := *r
			theirs.Body = &awaited{r.Body, conn}
			r = &theirs
		}
		next.ServeHTTP(w, r)
	})
}

// awaited takes the deadline away once the body is there.
type awaited struct {
	io.ReadCloser
	conn *http.ResponseController
}

func (a *awaited) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = a.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}
