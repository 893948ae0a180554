package activator

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/url"
	"testing"

	"github.com/pilotlight/pilotlight/activator/queue"
)

// lease is one that ends after so many checks.
type lease struct{ checks int }

func (l *lease) Check() error {
	if l.checks--; l.checks < 0 {
		return queue.ErrLeaseLost
	}
	return nil
}

// sink is a connection that keeps what is written.
type sink struct {
	net.Conn
	sent bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) { return s.sent.Write(p) }

type tallied struct{ n int }

func (c *tallied) Inc() { c.n++ }

func TestNoFirstByteIsSentAfterTheLeaseAndALateOneIsCounted(t *testing.T) {
	for _, c := range []struct {
		checks int // that succeed
		want   string
		late   int
		err    error
	}{
		{0, "", 0, queue.ErrLeaseLost},
		{1, "firstrest", 1, nil}, // it ended while the bytes were on their way
		{2, "firstrest", 0, nil}, // later bytes are not asked about
	} {
		late := &tallied{}
		to := &sink{}
		g := &gated{Conn: to, late: late}
		s := &sending{slot: &lease{c.checks}}
		g.next.Store(s)
		_, err := g.Write([]byte("first"))
		if !errors.Is(err, c.err) {
			t.Errorf("%d checks: err = %v", c.checks, err)
		}
		if err == nil {
			_, _ = g.Write([]byte("rest"))
		}
		if s.begun.Load() != (c.want != "") {
			t.Errorf("%d checks: begun is %v, and %q was sent", c.checks, s.begun.Load(), c.want)
		}
		if to.sent.String() != c.want || late.n != c.late {
			t.Errorf("%d checks: %q sent, %v late", c.checks, to.sent.String(), late.n)
		}
	}
}

func TestARequestWasNeverSentIfNoByteOfItWasAndItsReplicaWasNotReached(t *testing.T) {
	failed := func(op string) error { return &net.OpError{Op: op, Err: errors.New("it failed")} }
	own := errors.New("net/http: invalid header field value")
	for _, c := range []struct {
		name           string
		begun, reused  bool
		err            error
		never, suspect bool
	}{
		{"it refuses", false, false, failed("dial"), true, true},
		{"it hangs up at once", false, false, io.EOF, true, true},
		{"the lease has ended", false, false, queue.ErrLeaseLost, true, false},
		{"the request cannot be written", false, false, own, false, false},
		{"a connection that waited cannot be written to", false, true, failed("write"), true, false},
		{"a connection that waited was closed", false, true, errors.New("http: server closed idle connection"), true, false},
		{"it breaks off", true, false, io.ErrUnexpectedEOF, false, true},
		{"a connection that waited breaks off", true, true, failed("read"), false, true},
	} {
		s := &sending{}
		s.begun.Store(c.begun)
		s.reused.Store(c.reused)
		err := &url.Error{Op: "Post", Err: c.err}
		if s.never(err) != c.never || s.suspect(err) != c.suspect {
			t.Errorf("%s: never sent %v, suspect %v", c.name, s.never(err), s.suspect(err))
		}
	}
}
