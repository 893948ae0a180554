// Package subscribe follows a Redis channel for as long as its caller lives.
//
// Redis keeps no message for a subscriber who is away, so that whatever depends
// on a channel has to look for itself after each connection: Follow says when.
// A connection that is silent is asked whether it lives; one that does not answer,
// or that breaks, is made anew, for ever, at most a second after the try before.
package subscribe

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"
)

// Silence after which a connection is asked whether it lives; as long again
// without an answer and it is given up.
const Silence = 3 * time.Second

// pauses between two tries to connect; the first few of an outage are quick,
// because most are a restart or a failover.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// Follow calls connected after each subscription, the first one included (what was
// sent before it is lost: anything may have changed), and message with each
// payload; in order, and never concurrently. It blocks until ctx ends and returns
// nil. A nil log is none.
func Follow(ctx context.Context, client redis.UniversalClient, channel string, log *slog.Logger, connected func(), message func(payload string)) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	pause := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(firstPause),
		backoff.WithMaxInterval(lastPause),
		backoff.WithMaxElapsedTime(0))
	for ctx.Err() == nil {
		err := once(ctx, client, channel, func() { pause.Reset(); connected() }, message)
		if ctx.Err() != nil {
			break
		}
		log.Debug("subscription lost", "channel", channel, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause.NextBackOff()):
		}
	}
	return nil
}

// once serves one connection until it ends, which it does with an error.
func once(ctx context.Context, client redis.UniversalClient, channel string, connected func(), message func(payload string)) error {
	sub := client.Subscribe(ctx, channel)
	defer func() { _ = sub.Close() }()
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })() // a read does not heed ctx
	asked := true                                              // the subscription itself is the first question
	for {
		reply, err := sub.ReceiveTimeout(ctx, Silence)
		var late net.Error
		switch {
		case err == nil:
			asked = false
		case errors.As(err, &late) && late.Timeout() && !asked:
			asked = true
			if err := sub.Ping(ctx); err != nil {
				return err
			}
			continue
		default:
			return err
		}
		switch reply := reply.(type) {
		case *redis.Subscription:
			connected()
		case *redis.Message:
			message(reply.Payload)
		}
	}
}
