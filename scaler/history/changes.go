package history

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"
)

// quiet is how long a subscription may be silent before it is asked whether it
// lives, and again before it is given up.
const quiet = 5 * time.Second

// Changes calls fn with a topic and the service it is about after each write,
// in order and never concurrently, and with (TopicStatus, "") at first and
// after each reconnection: then anything may have changed. It blocks until ctx
// ends and returns nil.
func (h *History) Changes(ctx context.Context, fn func(topic, service string)) error {
	return h.follow(ctx, changesChannel,
		func() { fn(TopicStatus, "") },
		func(payload string) {
			if topic, service, ok := strings.Cut(payload, " "); ok {
				fn(topic, service)
			}
		})
}

// Operated calls fn with the name of a service after an operator's command for
// it, and with "" at first and after each reconnection. It blocks until ctx
// ends and returns nil.
func (h *History) Operated(ctx context.Context, fn func(service string)) error {
	return h.follow(ctx, operateChannel, func() { fn("") }, fn)
}

// follow subscribes to a channel for as long as ctx lasts.
func (h *History) follow(ctx context.Context, channel string, connected func(), message func(payload string)) error {
	pause := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(time.Second),
		backoff.WithMaxElapsedTime(0),
	)
	for ctx.Err() == nil {
		h.listen(ctx, channel, func() { pause.Reset(); connected() }, message)
		select {
		case <-ctx.Done():
		case <-time.After(pause.NextBackOff()):
		}
	}
	return nil
}

// listen serves one subscription until it breaks.
func (h *History) listen(ctx context.Context, channel string, connected func(), message func(payload string)) {
	sub := h.client.Subscribe(ctx, channel)
	stop := context.AfterFunc(ctx, func() { sub.Close() }) // a read does not end with ctx
	defer func() {
		if stop() {
			sub.Close()
		}
	}()
	asked := false
	for ctx.Err() == nil {
		reply, err := sub.ReceiveTimeout(ctx, quiet)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout() && !asked:
			asked = true
			if sub.Ping(ctx) != nil {
				return
			}
			continue
		case err != nil:
			return
		}
		asked = false
		switch reply := reply.(type) {
		case *redis.Subscription:
			connected()
		case *redis.Message:
			message(reply.Payload)
		}
	}
}
