package e2e

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// remains are the keys that stay, whatever has been asked for: the same few for
// each service, process and day.
var remains = regexp.MustCompile(`^pl:(` +
	`\{leaky\}:(offers|held|ledger|activators|fenced|firsts|decisions|coldstarts|points|scaler|intent|operator|demand:\d+)` +
	`|\{policies\}:(current|counter|versions:leaky)` +
	`|\{lease:scaler\}:(holder|epoch)` +
	`|activators|counters:\w+|peers|durable|statuses|decisions|coldstarts|recorded:\d+)$`)

// mostRemaining is how many those are, for one service, one activator and an hour
// that may end during the test.
const mostRemaining = 28

func TestNothingIsLeftInRedisOfTenThousandRequestsOfAllKinds(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	h := startDev(t, append(pairs{"leaky": {
		// Few slots: many are held, in Redis.
		policy: policyOf("leaky", replicas(0, 2, 4), toZero("10m"), "result {\n    keep = \"1m\"\n  }"),
		job:    stubJob("leaky", "--latency", "2ms"),
	}}.arguments(t), "--redis", server.URL())...)
	const path = "/leaky/translate"
	post := func(text string, header map[string]string) answer {
		return send(t.Context(), http.MethodPost, h.data+path, wanted(text), header)
	}
	async := map[string]string{"Prefer": "respond-async"}
	kinds := []func(i int) error{
		func(i int) error { return post(fmt.Sprint(i), nil).check(fmt.Sprint(i)) },
		func(i int) error {
			return post(fmt.Sprint(i), map[string]string{"Idempotency-Key": fmt.Sprint(i)}).check(fmt.Sprint(i))
		},
		func(i int) error { // somebody else's key, of a request that may be under way still
			text := fmt.Sprint("shared ", i/500)
			return post(text, map[string]string{"Idempotency-Key": text}).check(text)
		},
		func(i int) error { return accepts(post(fmt.Sprint(i), async)) },
		func(i int) error { // cancelled, wherever it is
			a := post(fmt.Sprint(i), async)
			if err := accepts(a); err != nil {
				return err
			}
			gone := send(t.Context(), http.MethodDelete, h.data+a.header.Get("Location"), "", nil)
			if gone.err != nil || gone.status != http.StatusOK && gone.status != http.StatusGone {
				return fmt.Errorf("DELETE: %d %s %w", gone.status, gone.body, gone.err)
			}
			return nil
		},
		func(i int) error { // a client that leaves
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%8)*time.Millisecond)
			defer cancel()
			send(ctx, http.MethodPost, h.data+path, wanted(fmt.Sprint(i)), nil)
			return nil
		},
		func(i int) error { // one whose deadline passes
			a := post(fmt.Sprint(i), map[string]string{"Pilotlight-Deadline": "3ms"})
			if a.err != nil || a.status != http.StatusOK && a.status != http.StatusGatewayTimeout {
				return fmt.Errorf("with a deadline: %d %s %w", a.status, a.body, a.err)
			}
			return nil
		},
	}
	work := make(chan int)
	var clients sync.WaitGroup
	for range 48 {
		clients.Go(func() {
			for i := range work {
				if err := kinds[i%len(kinds)](i); err != nil {
					t.Errorf("request %d: %v", i, err)
				}
			}
		})
	}
	begun := time.Now()
	for i := range 10_000 {
		work <- i
	}
	close(work)
	clients.Wait()
	t.Logf("10,000 requests in %v", time.Since(begun))
	keys, err := server.Client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	var stays []string
	for _, key := range keys {
		if left := server.Client.PTTL(t.Context(), key).Val(); !remains.MatchString(key) && (left == -1 || left > time.Minute) {
			stays = append(stays, fmt.Sprint(key, " ", left))
		}
	}
	if len(stays) > 0 {
		t.Errorf("%d keys are kept for longer than a minute, which result.keep is: %q", len(stays), stays[:min(len(stays), 10)])
	}
	pause(t, time.Minute)
	await(t, "Redis to have no more than always", func() error {
		keys, err := server.Client.Keys(t.Context(), "*").Result()
		if err != nil {
			return err
		}
		slices.Sort(keys)
		var odd []string
		for _, key := range keys {
			if !remains.MatchString(key) {
				odd = append(odd, key)
			}
		}
		if len(odd) > 0 || len(keys) > mostRemaining {
			return fmt.Errorf("%d keys; of no kind that stays: %q", len(keys), odd[:min(len(odd), 10)])
		}
		t.Logf("%d keys stay: %s", len(keys), strings.Join(keys, " "))
		return nil
	})
	for field, want := range map[string]string{"bytes": "0", "durable": "0"} {
		if got := server.Client.HGet(t.Context(), "pl:{leaky}:ledger", field).Val(); got != want {
			t.Errorf("the ledger counts %s %s, want %s", got, field, want)
		}
	}
	// What stays must not grow inside either.
	for _, key := range []string{"held", "activators", "fenced", "firsts"} {
		if n := server.Client.HLen(t.Context(), "pl:{leaky}:"+key).Val(); n > 4 {
			t.Errorf("%s has %d fields", key, n)
		}
	}
}

func accepts(a answer) error {
	if a.err != nil || a.status != http.StatusAccepted {
		return fmt.Errorf("%d %s %w", a.status, a.body, a.err)
	}
	return nil
}
