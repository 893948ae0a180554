package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// accepted is what callers were promised while a Redis failed over.
type accepted struct {
	mu    sync.Mutex
	async map[string]string // location → text
	wrong []string
	n     [3]int // accepted, refused, answered by key
}

func (a *accepted) note(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
}

// submitOne sends an async request: it is accepted, or refused in words.
func (a *accepted) submitOne(t *testing.T, h *house, text string) {
	got := send(t.Context(), http.MethodPost, h.data+"/translate", wanted(text), map[string]string{"Prefer": "respond-async"})
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case got.err == nil && got.status == http.StatusAccepted:
		a.async[got.header.Get("Location")] = text
		a.n[0]++
	case got.err == nil && got.status == http.StatusServiceUnavailable && problemName(got) == "store-unavailable" && got.header.Get("Retry-After") != "":
		a.n[1]++
	default:
		a.wrong = append(a.wrong, fmt.Sprintf("%s: %d %s %v", text, got.status, got.body, got.err))
	}
}

// keyedOne repeats a request with its key, as its caller would, until a replica's
// answer comes.
func (a *accepted) keyedOne(t *testing.T, h *house, text string) {
	for t.Context().Err() == nil {
		got := h.keyed(t, "/translate", text, text)
		if got.err == nil && got.status == http.StatusServiceUnavailable && problemName(got) == "store-unavailable" {
			pause(t, 200*time.Millisecond)
			continue
		}
		if err := got.check(text); err != nil {
			a.note("%s: %v", text, err)
			return
		}
		a.mu.Lock()
		a.n[2]++
		a.mu.Unlock()
		return
	}
}

func TestAFailoverOfRedisInMidTrafficLosesNothingThatWasAcceptedAndGivesNoSlotTwice(t *testing.T) {
	t.Parallel()
	skipIfShort(t)
	const concurrency = 3
	w := startWatchedRedis(t, 2)
	args := append(pairs{"translate": {
		// Attempts are not what this is about: a run that loses Redis may be run again.
		policy: policyOf("translate", replicas(0, 1, concurrency), toZero("10m"), "retry {\n    attempts = 5\n  }"),
		job:    stubJob("translate", "--latency", "60ms"),
	}}.arguments(t), "--redis", w.URL(), "--fleet", "local")
	control := startServe(t, "scaler,web", args...)
	var activators []*house
	for range 2 {
		activators = append(activators, startServe(t, "activator", append(args, "--redis-wait-replicas", "1")...))
	}
	if err := activators[0].translate(t.Context(), "/translate", "first").check("first"); err != nil {
		t.Fatal(err)
	}

	a := &accepted{async: map[string]string{}}
	var clients sync.WaitGroup
	over := make(chan struct{})
	for c := range 4 {
		h := activators[c%2]
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				case <-t.Context().Done():
					return
				case <-time.After(40 * time.Millisecond):
				}
				if text := fmt.Sprintf("client %d request %d", c, n); c < 2 {
					a.submitOne(t, h, "async "+text)
				} else {
					a.keyedOne(t, h, "keyed "+text)
				}
			}
		})
	}
	pause(t, 1500*time.Millisecond)
	w.primary.kill()
	down := time.Now()
	w.promoted(t)
	t.Logf("promoted after %v", time.Since(down))
	// Traffic goes on until requests are accepted again, by the new primary and what
	// follows it.
	await(t, "requests to be accepted again", func() error {
		h := activators[0]
		got := send(t.Context(), http.MethodPost, h.data+"/translate", wanted("probe"), map[string]string{"Prefer": "respond-async"})
		if got.err != nil || got.status != http.StatusAccepted {
			return fmt.Errorf("%d %s %w", got.status, got.body, got.err)
		}
		return nil
	})
	t.Logf("accepted again after %v", time.Since(down))
	pause(t, time.Second)
	close(over)
	clients.Wait()

	for location, text := range a.async {
		if err := activators[1].result(t, location).check(text); err != nil {
			t.Errorf("%s (%s) was accepted, and then: %v", text, location, err)
		}
	}
	for _, wrong := range a.wrong {
		t.Error(wrong)
	}
	t.Logf("%d accepted, %d refused, %d answered by key", a.n[0], a.n[1], a.n[2])
	if a.n[0] < 20 || a.n[1] == 0 || a.n[2] < 4 {
		t.Errorf("too little traffic to prove anything, or nothing of it met the failover")
	}
	st := control.awaitService(t, "translate", "ready, without anybody waiting", func(st jobs.Status) bool {
		return ready(1)(st) && st.Demand.Held == 0
	})
	if stats := statsOf(t, st.Replicas.List[0].Address); stats.MaxInFlight > concurrency {
		t.Errorf("the replica once had %d requests, and has %d slots", stats.MaxInFlight, concurrency)
	}
}

// problemName of an answer, "" if it is no problem document.
func problemName(a answer) string {
	var p problem
	if json.Unmarshal([]byte(a.body), &p) != nil {
		return ""
	}
	return strings.TrimPrefix(p.Type, "urn:pilotlight:problem:")
}
