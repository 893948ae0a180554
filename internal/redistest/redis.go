// Package redistest gives tests a Redis that lives inside a synctest bubble: no
// sockets, and keys that expire by the bubble's clock. Only tests import it.
package redistest

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/pilotlight/pilotlight/internal/redisdb"
)

// Redis starts an empty server and a client of it; both end with the test.
// Inside a bubble call it from the bubble, with its t.
func Redis(t *testing.T) (*miniredis.Miniredis, redis.UniversalClient) {
	t.Helper()
	Silence()
	server := miniredis.NewMiniRedis()
	server.ClockTTL(true)
	// A client dials in the background, also after it was closed: that must neither
	// meet the server's end nor start it again.
	dial, over, mu := redisdb.DialEmbedded(server), false, sync.Mutex{}
	t.Cleanup(func() {
		mu.Lock()
		over = true
		mu.Unlock()
		server.Close()
	})
	client := redis.NewClient(&redis.Options{
		Addr:                     "127.0.0.1:6379",
		ContextTimeoutEnabled:    true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if over {
				return nil, net.ErrClosed
			}
			return dial(ctx, network, addr)
		},
	})
	t.Cleanup(func() { client.Close() })
	return server, client
}
