package e2e

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/stub"
	"github.com/pilotlight/pilotlight/jobs"
)

// traffic is an unbroken row of requests to a service.
type traffic struct {
	stop func()
	warm bool // none may be held for a cold start
	done sync.WaitGroup
	sent atomic.Int64

	mu    sync.Mutex
	wrong []string
}

// startTraffic sends to a warm service from two clients, each one request after
// another, until stopped.
func startTraffic(t *testing.T, h *house, path string) *traffic {
	t.Helper()
	return (&traffic{warm: true}).start(t, func(ctx context.Context, text string) answer { return h.translate(ctx, path, text) })
}

func (tr *traffic) start(t *testing.T, translate func(ctx context.Context, text string) answer) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	tr.stop = cancel
	for c := range 2 {
		tr.done.Go(func() {
			pace := time.NewTicker(40 * time.Millisecond)
			defer pace.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				text := fmt.Sprint("warm ", c, " ", n)
				within, enough := context.WithTimeout(context.WithoutCancel(ctx), patience)
				a := translate(within, text)
				enough()
				tr.sent.Add(1)
				err := a.check(text)
				if err == nil && tr.warm && a.header.Get("Pilotlight-Cold-Start") != "false" {
					err = fmt.Errorf("it was cold: %s", a.header.Get("Server-Timing"))
				}
				if err != nil {
					tr.mu.Lock()
					tr.wrong = append(tr.wrong, fmt.Sprintf("%s: %s: %v", time.Now().Format(time.StampMilli), text, err))
					tr.mu.Unlock()
				}
				select {
				case <-pace.C:
				case <-ctx.Done():
				}
			}
		})
	}
	t.Cleanup(func() { cancel(); tr.done.Wait() })
	return tr
}

// unbroken ends the traffic and wants every request of it answered.
func (tr *traffic) unbroken(t *testing.T) {
	t.Helper()
	tr.stop()
	tr.done.Wait()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	t.Logf("%d requests", tr.sent.Load())
	if tr.sent.Load() < 20 {
		t.Errorf("only %d requests were sent", tr.sent.Load())
	}
	for _, w := range tr.wrong {
		t.Errorf("%s", w)
	}
}

// asleepLog has the executions of the service at zero.
func asleepLog(server *redisServer) string { return filepath.Join(server.dir, "asleep") }

// beforeAnOutage starts a house with a warm service, one that is still loading
// with a request held for it, and one at zero.
func beforeAnOutage(t *testing.T) (*redisServer, *house, *traffic, later) {
	t.Helper()
	server := startRedis(t)
	h := startDev(t, append(pairs{
		"warm":    {policyOf("warm", replicas(0, 1, 4), toZero("10m")), stubJob("warm", "--latency", "20ms")},
		"loading": {policyOf("loading", replicas(0, 1, 4), toZero("10m")), stubJob("loading", "--load", "6s")},
		"asleep":  {policyOf("asleep", replicas(0, 1, 1), toZero("10m")), stubJob("asleep", "--log-file", asleepLog(server))},
	}.arguments(t), "--redis", server.URL())...)
	if err := h.translate(t.Context(), "/warm/translate", "first").check("first"); err != nil {
		t.Fatal(err)
	}
	warm := startTraffic(t, h, "/warm/translate")
	held := inBackground(func() answer { return h.translate(t.Context(), "/loading/translate", "held before") })
	await(t, "the request to be held in Redis", func() error {
		if len(server.tickets(t, "loading")) != 1 {
			return fmt.Errorf("no ticket")
		}
		return nil
	})
	return server, h, warm, held
}

// reconciled wants all three services to be as if nothing had happened.
func reconciled(t *testing.T, server *redisServer, h *house) {
	t.Helper()
	for _, name := range []string{"warm", "loading", "asleep"} {
		h.awaitService(t, name, "ready and without anybody waiting", func(st jobs.Status) bool {
			return ready(1)(st) && st.State == jobs.StateReady && st.Demand.Held == 0
		})
		if left := server.tickets(t, name); len(left) > 0 {
			t.Errorf("tickets of %s are left: %v", name, left)
		}
		text := "after " + name
		if err := h.translate(t.Context(), "/"+name+"/translate", text).check(text); err != nil {
			t.Errorf("%s, after the outage: %v", name, err)
		}
		if n := launches(h, name); n != 1 {
			t.Errorf("%s has been launched %d times, want once", name, n)
		}
	}
}

func TestRedisKilledForAMinuteHarmsNoWarmRequestAndHeldOnesAreAnsweredAfterwardsInTheirOrder(t *testing.T) {
	t.Parallel()
	server, h, warm, before := beforeAnOutage(t)
	server.kill()
	down := time.Now()
	var during []later
	var order []string
	for i := range 5 {
		text := fmt.Sprint("held-", i)
		order = append(order, text)
		during = append(during, inBackground(func() answer {
			return send(t.Context(), http.MethodPost, h.data+"/asleep/translate", wanted(text), map[string]string{"X-Request-Id": text})
		}))
		pause(t, 100*time.Millisecond) // what reaches it together has no order
	}
	for what, header := range map[string]map[string]string{
		"a key": {"Idempotency-Key": "k"},
		"async": {"Prefer": "respond-async"},
	} {
		a := send(t.Context(), http.MethodPost, h.data+"/asleep/translate", wanted("promised"), header)
		a.wantProblem(t, http.StatusServiceUnavailable, "store-unavailable")
		if a.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After in %v", what, a.header)
		}
	}
	pause(t, time.Minute-time.Since(down))
	for i, l := range during {
		if err := l.pending(); err != nil {
			t.Errorf("held %d: %v", i, err)
		}
	}
	server.start(t)
	back := time.Now()
	t.Logf("Redis was away for %v", back.Sub(down))
	if err := before.get(t).check("held before"); err != nil {
		t.Errorf("held before the outage: %v", err)
	}
	for i, l := range during {
		if err := l.get(t).check(order[i]); err != nil {
			t.Errorf("held during the outage: %v", err)
		}
	}
	t.Logf("everything held was answered %v after its return", time.Since(back))
	var ran []string
	for _, e := range executions(t, asleepLog(server)) {
		if e.Event == stub.EventStarted {
			ran = append(ran, e.RequestID)
		}
	}
	if !slices.Equal(ran, order) {
		t.Errorf("executed %q, want them once each, as they came: %q", ran, order)
	}
	reconciled(t, server, h)
	warm.unbroken(t)
}

func TestRedisFrozenForFiveSecondsHarmsNoWarmRequestAndHeldOnesAreAnsweredAfterwards(t *testing.T) {
	t.Parallel()
	server, h, warm, before := beforeAnOutage(t)
	server.freeze()
	t.Cleanup(server.thaw)
	during := inBackground(func() answer { return h.translate(t.Context(), "/asleep/translate", "held during") })
	pause(t, 5*time.Second)
	server.thaw()
	if err := before.get(t).check("held before"); err != nil {
		t.Errorf("held before the outage: %v", err)
	}
	if err := during.get(t).check("held during"); err != nil {
		t.Errorf("held during the outage: %v", err)
	}
	reconciled(t, server, h)
	warm.unbroken(t)
}
