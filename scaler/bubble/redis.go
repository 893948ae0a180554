// Package bubble gives tests a Redis that lives inside a synctest bubble: no
// sockets, and keys that expire by the bubble's clock. Only tests import it.
package bubble

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Redis starts an empty server and a client of it; both end with the test.
// Inside a bubble call it from the bubble, with its t.
func Redis(t *testing.T) (*miniredis.Miniredis, redis.UniversalClient) {
	t.Helper()
	server := miniredis.NewMiniRedis()
	server.ClockTTL(true)
	t.Cleanup(server.Close)
	client := redis.NewClient(&redis.Options{
		Addr:                     "127.0.0.1:6379",
		ContextTimeoutEnabled:    true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			conn, err := server.Dial()
			if err != nil {
				return nil, err
			}
			return newBuffered(conn), nil
		},
	})
	t.Cleanup(func() { client.Close() })
	return server, client
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
