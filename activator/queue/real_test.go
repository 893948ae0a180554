package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/internal/redisdb"
	"github.com/pilotlight/pilotlight/jobs"
)

// realRedis is a redis-server of a test's own.
type realRedis struct {
	t    *testing.T
	dial func() redis.UniversalClient
}

func (r realRedis) client() redis.UniversalClient {
	c := r.dial()
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// activator over a client of its own; it ends with the test.
func (r realRedis) activator(t *testing.T, name string, also ...func(*Config)) *Queue {
	t.Helper()
	cfg := Config{Redis: r.client(), Activator: name}
	for _, fn := range also {
		fn(&cfg)
	}
	q, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = q.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return q
}

// withRealRedis calls fn with a redis-server of the test's own.
func withRealRedis(t *testing.T, fn func(r realRedis)) {
	t.Helper()
	server, err := redisdb.NewServer(t.TempDir(), slog.New(slog.DiscardHandler))
	if errors.Is(err, redisdb.ErrNoServer) {
		t.Skip("redis-server is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan redis.UniversalClient), make(chan error, 1)
	go func() { done <- server.Run(ctx, func(c redis.UniversalClient) { ready <- c }) }()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case c := <-ready:
		o := *c.(*redis.Client).Options()
		fn(realRedis{t, func() redis.UniversalClient { p := o; return redis.NewClient(&p) }})
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
}

// until polls a condition of something that runs beside the test.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	end := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(end) {
			t.Fatal("not within 30s")
		}
		<-time.After(2 * time.Millisecond)
	}
}

// offersOf so many replicas with two slots each.
func offersOf(n int) []jobs.SlotOffer {
	var out []jobs.SlotOffer
	for i := range n {
		out = append(out, replicaWith(fmt.Sprintf("r%d", i), i, 2))
	}
	return out
}

// The embedded Redis is more forgiving than the real one; so every script runs
// here too, with bodies and without.
func TestHoldsOfTwoActivatorsOverARealRedisNeverExceedTheSlots(t *testing.T) {
	withRealRedis(t, func(r realRedis) {
		client := r.client()
		ledger := NewLedger(client, nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var queues []*Queue
		var loops sync.WaitGroup
		for _, name := range []string{"a", "b"} {
			q, err := New(Config{Redis: client, Activator: name})
			if err != nil {
				t.Fatal(err)
			}
			loops.Go(func() { _ = q.Run(ctx) })
			queues = append(queues, q)
		}
		var mu sync.Mutex
		running, most := map[string]int{}, map[string]int{}
		var requests sync.WaitGroup
		for i := range 100 {
			requests.Go(func() {
				tk := &Ticket{ID: fmt.Sprintf("t%d", i), Service: "translate", Method: "GET", Path: "/",
					Header: http.Header{}, Deadline: time.Now().Add(time.Minute)}
				if i%2 == 0 {
					tk.Body = []byte("body")
				}
				slot, _, err := queues[i%2].Hold(ctx, tk, roomy)
				if err != nil {
					t.Errorf("%s: %v", tk.ID, err)
					return
				}
				mu.Lock()
				running[slot.Replica]++
				most[slot.Replica] = max(most[slot.Replica], running[slot.Replica])
				mu.Unlock()
				<-time.After(time.Millisecond)
				mu.Lock()
				running[slot.Replica]--
				mu.Unlock()
				slot.Release()
			})
		}
		// One client leaves while it is held, with an empty body.
		gone, leave := context.WithCancel(ctx)
		requests.Go(func() {
			tk := &Ticket{ID: "gone", Service: "translate", Header: http.Header{}, Deadline: time.Now().Add(time.Minute)}
			if slot, _, err := queues[0].Hold(gone, tk, roomy); err == nil {
				slot.Release()
			}
		})
		for {
			d, err := ledger.Demand(ctx, "translate")
			if err != nil {
				t.Fatal(err)
			}
			if d.Held == 101 {
				break
			}
			<-time.After(time.Millisecond)
		}
		leave()
		offers := []jobs.SlotOffer{replicaWith("r1", 0, 3), replicaWith("r2", 1, 2)}
		if err := ledger.Offer(ctx, "translate", 1, offers); err != nil {
			t.Fatal(err)
		}
		requests.Wait()
		if most["r1"] > 3 || most["r2"] > 2 || most["r1"] == 0 || most["r2"] == 0 {
			t.Errorf("at most %v at once; 3 and 2 are offered", most)
		}
		if err := ledger.Offer(ctx, "translate", 1, nil); err != nil {
			t.Fatal(err)
		}
		cancel()
		loops.Wait()
		d, err := ledger.Demand(context.Background(), "translate")
		if err != nil || d.Held != 0 || len(d.SlotsOut) != 0 || len(d.Deadlines) != 0 {
			t.Errorf("left behind: %+v %v", d, err)
		}
	})
}
