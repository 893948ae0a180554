package activator

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/pilotlight/pilotlight/activator/queue"
)

// leased is what may be lost before it is used: a slot.
type leased interface{ Check() error }

// counter is a prometheus.Counter.
type counter interface{ Inc() }

// gated is a connection to a replica that looks at the slot's lease at the last
// moment: before the first byte of each request. A process that was stopped on the
// way here must not send with a slot that is somebody else's by now.
type gated struct {
	net.Conn
	next atomic.Pointer[sending] // that is about to be written; nil: it has begun
	late counter
}

func (g *gated) Write(p []byte) (int, error) {
	s := g.next.Swap(nil)
	if s == nil {
		return g.Conn.Write(p)
	}
	if err := s.slot.Check(); err != nil {
		return 0, err
	}
	n, err := g.Conn.Write(p)
	if n > 0 {
		s.begun.Store(true)
	}
	if s.slot.Check() != nil { // stopped between the check and the write: all that can be done is to count it
		g.late.Inc()
	}
	return n, err
}

// gate makes every new connection to a replica a gated one.
func gate(d *net.Dialer, late counter) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &gated{Conn: conn, late: late}, nil
	}
}

// sending is one try to send a request with a slot, as far as its connection knows.
// After the transport has returned an error, nothing of it is written any more.
type sending struct {
	slot   leased
	begun  atomic.Bool // a byte of it was written
	reused atomic.Bool // its connection had waited for it
}

// arm has the connection that a request gets look at its slot.
func arm(ctx context.Context, s *sending) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if g, ok := info.Conn.(*gated); ok {
			s.reused.Store(info.Reused)
			g.next.Store(s)
		}
	}})
}

// never reports whether the request that failed with err was never sent, and may be
// later: its replica was not reached, or its slot was lost before. Any other error
// without a byte on its way is the request's own.
func (s *sending) never(err error) bool {
	return !s.begun.Load() && (s.reused.Load() || cut(err) || errors.Is(err, queue.ErrLeaseLost))
}

// suspect reports whether err says that the replica is not well: it refuses, or has cut
// a connection. One that waited may have been closed for its age.
func (s *sending) suspect(err error) bool {
	return cut(err) && (s.begun.Load() || !s.reused.Load())
}

// cut reports whether a connection failed, or could not be made.
func cut(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
