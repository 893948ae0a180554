package redisdb

import (
	"context"
	"net"
	"sync"

	"github.com/alicebob/miniredis/v2"
)

// DialEmbedded returns a Dialer of go-redis for a miniredis without sockets.
func DialEmbedded(server *miniredis.Miniredis) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		conn, err := server.Dial()
		if err != nil {
			return nil, err
		}
		return newBuffered(conn), nil
	}
}

// buffered is a connection whose writes do not wait for the reader, as those of
// a socket: over a bare pipe a pipeline and its answers wait for each other.
type buffered struct {
	net.Conn
	mu      sync.Mutex
	pending [][]byte
	wake    chan struct{}
	closed  chan struct{}
	once    sync.Once
}

func newBuffered(conn net.Conn) *buffered {
	b := &buffered{Conn: conn, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	go b.pump()
	return b
}

func (b *buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	b.pending = append(b.pending, append([]byte(nil), p...))
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (b *buffered) pump() {
	for {
		select {
		case <-b.closed:
			return
		case <-b.wake:
		}
		b.mu.Lock()
		pending := b.pending
		b.pending = nil
		b.mu.Unlock()
		for _, p := range pending {
			if _, err := b.Conn.Write(p); err != nil {
				return
			}
		}
	}
}

func (b *buffered) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Conn.Close()
}
