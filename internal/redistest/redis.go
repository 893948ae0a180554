// Package redistest gives tests a Redis that lives inside a synctest bubble: no
// sockets, and keys that expire by the bubble's clock. Only tests import it.
package redistest

import (
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
	server := miniredis.NewMiniRedis()
	server.ClockTTL(true)
	t.Cleanup(server.Close)
	client := redis.NewClient(&redis.Options{
		Addr:                     "127.0.0.1:6379",
		ContextTimeoutEnabled:    true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		Dialer:                   redisdb.DialEmbedded(server),
	})
	t.Cleanup(func() { client.Close() })
	return server, client
}
