package redisdb

import (
	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// Embedded is a Redis inside this process that forgets everything at its end.
// It opens no port.
type Embedded struct{ server *miniredis.Miniredis }

// NewEmbedded returns one; its clock is this process' clock.
func NewEmbedded() *Embedded {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	return &Embedded{server: m}
}

// Client returns a client of it.
func (e *Embedded) Client() redis.UniversalClient {
	o := &redis.Options{Addr: "127.0.0.1:6379", // named in errors, never dialled
		Dialer: DialEmbedded(e.server)}
	limits(o)
	return redis.NewClient(o)
}

// Close ends it.
func (e *Embedded) Close() { e.server.Close() }
