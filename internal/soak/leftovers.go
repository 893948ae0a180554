package soak

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// emptyWithin is how long Redis may keep something of the hold after the last
// request: until quarantines have ended, and every service is at zero.
const emptyWithin = requestTimeout + 50*time.Second

// awaitEmpty waits until nothing of the hold is left in Redis but what expires, and
// returns what is there all the same.
func (h *house) awaitEmpty(ctx context.Context) ([]string, error) {
	limit := time.After(emptyWithin)
	for {
		left, err := h.leftovers(ctx)
		if err != nil || len(left) == 0 {
			return left, err
		}
		select {
		case <-ctx.Done():
			return left, ctx.Err()
		case <-limit:
			return left, nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// leftovers of the hold in Redis: all but final tickets, their answers and keys,
// which expire, and each service's counters of its ledger, which must be zero.
func (h *house) leftovers(ctx context.Context) ([]string, error) {
	var left []string
	for _, s := range Services {
		prefix := "pl:{" + s.Name + "}:"
		keys, err := h.client.Keys(ctx, prefix+"*").Result()
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			kind, _, _ := strings.Cut(strings.TrimPrefix(key, prefix), ":")
			what, err := h.leftover(ctx, key, kind)
			if err != nil {
				return nil, err
			}
			if what != "" {
				left = append(left, key+": "+what)
			}
		}
	}
	return left, nil
}

// leftover says what is wrong with a key; "" nothing.
func (h *house) leftover(ctx context.Context, key, kind string) (string, error) {
	switch kind {
	case "queue", "deadlines", "grants", "held", "quarantine", "orphans", "offers", "mine":
		return "it should be empty, and is gone then", nil
	case "ledger":
		m, err := h.client.HMGet(ctx, key, "bytes", "durable").Result()
		if err != nil {
			return "", err
		}
		for i, name := range []string{"bytes", "durable"} {
			if v := m[i]; v != nil && v != "0" {
				return fmt.Sprintf("%s is %v, want 0", name, v), nil
			}
		}
	case "ticket", "answer", "key":
		ttl, err := h.client.PTTL(ctx, key).Result()
		if err != nil {
			return "", err
		}
		if ttl == -1 {
			return "it never expires", nil
		}
		if kind != "ticket" {
			return "", nil
		}
		state, err := h.client.HGet(ctx, key, "state").Result()
		if err == redis.Nil {
			return "a connection's ticket", nil
		}
		if err != nil {
			return "", err
		}
		if state != "succeeded" && state != "failed" && state != "cancelled" {
			return "its state is " + state, nil
		}
	}
	return "", nil
}

// ticket is what Redis knows of a durable request, without what it asked.
func (h *house) ticket(ctx context.Context, r *Request) string {
	if r.Ticket == "" {
		return ""
	}
	fields, err := h.client.HGetAll(ctx, "pl:{"+r.Service+"}:ticket:"+r.Ticket).Result()
	if err != nil {
		return err.Error()
	}
	delete(fields, "body")
	delete(fields, "header")
	delete(fields, "answer")
	return fmt.Sprint(fields)
}
