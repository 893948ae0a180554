package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pilotlight/pilotlight/internal/stub"
	"github.com/pilotlight/pilotlight/jobs"
)

// submit sends a request whose answer is fetched later, and returns where.
func (h *house) submit(t *testing.T, path, text string) (location string) {
	t.Helper()
	a := send(t.Context(), http.MethodPost, h.data+path, wanted(text), map[string]string{"Prefer": "respond-async"})
	a.want(t, http.StatusAccepted)
	location = a.header.Get("Location")
	if location == "" {
		t.Fatalf("accepted without a Location: %s", a.body)
	}
	return location
}

// result waits until an async request is final, and fetches its answer.
func (h *house) result(t *testing.T, location string) answer {
	t.Helper()
	await(t, "the async request to end", func() error {
		a := send(t.Context(), http.MethodGet, h.data+location+"?wait=5", "", nil)
		if a.err != nil || a.status != http.StatusOK {
			return fmt.Errorf("%d %s %w", a.status, a.body, a.err)
		}
		var state struct{ State, Reason string }
		if err := json.Unmarshal([]byte(a.body), &state); err != nil {
			return err
		}
		if state.State != "succeeded" {
			t.Fatalf("it has %s: %s", state.State, state.Reason)
		}
		return nil
	})
	return send(t.Context(), http.MethodGet, h.data+location+"/result", "", nil)
}

// keyed is translate with an Idempotency-Key.
func (h *house) keyed(t *testing.T, path, text, key string) answer {
	t.Helper()
	return send(t.Context(), http.MethodPost, h.data+path, wanted(text), map[string]string{"Idempotency-Key": key})
}

func TestServeWakesFromZeroAndAnswersOverEveryFormOfRedis(t *testing.T) {
	t.Parallel()
	skipIfShort(t)
	for form, start := range map[string]func(t *testing.T) (url string){
		"one server":     func(t *testing.T) string { return startRedis(t).URL() },
		"Sentinel":       func(t *testing.T) string { return startWatchedRedis(t, 1).URL() },
		"a Cluster of 3": func(t *testing.T) string { return startRedisCluster(t).URL() },
	} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			servesEverything(t, start(t))
		})
	}
}

// servesEverything takes three services, which a cluster has on more than one of
// its servers, from zero through every shape of a request.
func servesEverything(t *testing.T, redisURL string) {
	log := filepath.Join(t.TempDir(), "executions")
	services := pairs{}
	for _, name := range []string{"first", "second", "third"} {
		services[name] = pair{policyOf(name, replicas(0, 1, 2), toZero("10m")),
			stubJob(name, "--load", "300ms", "--log-file", log)}
	}
	h := startServe(t, "activator,scaler,web", append(services.arguments(t), "--redis", redisURL, "--fleet", "local")...)
	for name := range services {
		path := "/" + name + "/translate"
		cold := h.translate(t.Context(), path, "held "+name)
		if err := cold.check("held " + name); err != nil {
			t.Fatalf("%s, from zero: %v", name, err)
		}
		if got := cold.header.Get("Pilotlight-Cold-Start"); got != "true" {
			t.Errorf("%s: Pilotlight-Cold-Start: %s, want true", name, got)
		}
		warm := h.translate(t.Context(), path, "warm "+name)
		if err := warm.check("warm " + name); err != nil || warm.header.Get("Pilotlight-Cold-Start") != "false" {
			t.Errorf("%s, warm: %v %v", name, err, warm.header)
		}
		first := h.keyed(t, path, "keyed "+name, "k")
		again := h.keyed(t, path, "keyed "+name, "k")
		for _, a := range []answer{first, again} {
			if err := a.check("keyed " + name); err != nil {
				t.Errorf("%s, with a key: %v", name, err)
			}
		}
		if n := count(executions(t, log), stub.EventStarted, first.header.Get("X-Request-Id")); n != 1 {
			t.Errorf("%s: %d executions of one key", name, n)
		}
		h.keyed(t, path, "another text", "k").want(t, http.StatusUnprocessableEntity)
		if err := h.result(t, h.submit(t, path, "async "+name)).check("async " + name); err != nil {
			t.Errorf("%s, async: %v", name, err)
		}
		st := h.awaitService(t, name, "ready, with its cold start in sight", func(st jobs.Status) bool {
			return ready(1)(st) && st.Cold.Count == 1 && st.Demand.Held == 0
		})
		if len(h.coldStarts(t, name)) != 1 || len(h.decisions(t, name)) == 0 {
			t.Errorf("%s: the history has no cold start or no decision: %s", name, short(st))
		}
	}
	if n := count(executions(t, log), stub.EventStarted, ""); n != 4*len(services) {
		t.Errorf("%d executions, want %d", n, 4*len(services))
	}
	if said := h.said.String(); !strings.Contains(said, `msg="Redis durability"`) || !strings.Contains(said, "appendonly=yes appendfsync=everysec") {
		t.Errorf("the start does not name the durability in force:\n%s", said)
	}
}
