package activator

import (
	"context"
	"net"
	"net/http/httptrace"
	"sync/atomic"
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
	slot atomic.Pointer[leased] // of the request that is about to be written; nil: it has begun
	late counter
}

func (g *gated) Write(p []byte) (int, error) {
	slot := g.slot.Swap(nil)
	if slot == nil {
		return g.Conn.Write(p)
	}
	if err := (*slot).Check(); err != nil {
		return 0, err
	}
	n, err := g.Conn.Write(p)
	if (*slot).Check() != nil { // stopped between the check and the write: all that can be done is to count it
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

// arm has the connection that a request gets look at its slot.
func arm(ctx context.Context, slot leased) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if g, ok := info.Conn.(*gated); ok {
			g.slot.Store(&slot)
		}
	}})
}
