package activator

import (
	"bytes"
	"errors"
	"net"
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
		var slot leased = &lease{c.checks}
		g.slot.Store(&slot)
		_, err := g.Write([]byte("first"))
		if !errors.Is(err, c.err) {
			t.Errorf("%d checks: err = %v", c.checks, err)
		}
		if err == nil {
			_, _ = g.Write([]byte("rest"))
		}
		if to.sent.String() != c.want || late.n != c.late {
			t.Errorf("%d checks: %q sent, %v late", c.checks, to.sent.String(), late.n)
		}
	}
}
