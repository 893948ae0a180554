package queue

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"
)

// silence after which a subscription is asked whether it lives; twice that
// without an answer and it is dead.
const silence = 3 * time.Second

// subscribe calls fn with each message, and with "" after each connection; it
// reconnects for ever and returns nil when ctx ends.
func subscribe(ctx context.Context, client redis.UniversalClient, channel string, log *slog.Logger, fn func(payload string)) error {
	retry := backoff.WithContext(backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(time.Second),
		backoff.WithMaxElapsedTime(0)), ctx)
	_ = backoff.RetryNotify(func() error {
		sub := client.Subscribe(ctx, channel)
		defer func() { _ = sub.Close() }()
		defer context.AfterFunc(ctx, func() { _ = sub.Close() })() // a read does not heed ctx
		if _, err := sub.ReceiveTimeout(ctx, silence); err != nil {
			return err
		}
		retry.Reset()
		fn("")
		return receive(ctx, sub, fn)
	}, retry, func(err error, _ time.Duration) {
		log.Debug("subscription lost", "channel", channel, "err", err)
	})
	return nil
}

func receive(ctx context.Context, sub *redis.PubSub, fn func(payload string)) error {
	asked := false
	for {
		msg, err := sub.ReceiveTimeout(ctx, silence)
		var timeout net.Error
		switch {
		case err == nil:
			asked = false
			if m, ok := msg.(*redis.Message); ok {
				fn(m.Payload)
			}
		case errors.As(err, &timeout) && timeout.Timeout() && !asked:
			asked = true
			if err := sub.Ping(ctx); err != nil {
				return err
			}
		default:
			return err
		}
	}
}
