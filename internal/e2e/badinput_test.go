package e2e

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pilotlight/pilotlight/internal/stub"
	"github.com/pilotlight/pilotlight/jobs"
)

func TestBadInputIsAnsweredInWordsAndWakesNothing(t *testing.T) {
	t.Parallel()
	h := startDev(t, pairs{"translate": {
		policy: policyOf("translate", "hold {\n    max_body = \"1KiB\"\n  }"),
		job:    stubJob("translate"),
	}}.arguments(t)...)
	for _, c := range []struct {
		name, method, path, body string
		header                   map[string]string
		status                   int
		problem, field           string
	}{
		{name: "a body over the limit", body: wanted(strings.Repeat("long ", 300)), status: 413, problem: "body-too-large"},
		{name: "malformed JSON", body: `{"text":`, status: 400, problem: "bad-request", field: "body"},
		{name: "a missing text", body: `{"target_lang":"es"}`, status: 400, problem: "bad-request", field: "text"},
		{name: "a missing target language", body: `{"text":"x"}`, status: 400, problem: "bad-request", field: "target_lang"},
		{name: "a language that is none", body: `{"text":"x","source_lang":"en","target_lang":"no language"}`, status: 400, problem: "bad-request", field: "target_lang"},
		{name: "a source language that is none", body: `{"text":"x","source_lang":"?","target_lang":"es"}`, status: 400, problem: "bad-request", field: "source_lang"},
		{name: "a deadline that is none", body: wanted("x"), header: map[string]string{"Pilotlight-Deadline": "soon"}, status: 400, problem: "bad-request", field: "Pilotlight-Deadline"},
		{name: "another method", method: http.MethodGet, status: 400, problem: "bad-request", field: "method"},
		{name: "an unknown service", path: "/nobody", body: wanted("x"), status: 404, problem: "unknown-service"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.method == "" {
				c.method = http.MethodPost
			}
			if c.path == "" {
				c.path = "/translate"
			}
			a := send(t.Context(), c.method, h.data+c.path, c.body, c.header)
			p := a.wantProblem(t, c.status, c.problem)
			if p.Field != c.field {
				t.Errorf("field %q, want %q: %s", p.Field, c.field, a.body)
			}
			if a.header.Get("X-Request-Id") == "" {
				t.Error("no X-Request-Id")
			}
		})
	}
	if st := h.service(t, "translate"); !atZero(st) || st.Replicas.Wanted != 0 {
		t.Errorf("bad input has woken the service: %s", short(st))
	}
	for _, d := range h.decisions(t, "translate") {
		if d.To > 0 {
			t.Errorf("bad input has led to a decision: %+v", d)
		}
	}
}

func TestALanguageThatTheBackendDoesNotHaveIsRefusedWithTheOnesItHas(t *testing.T) {
	t.Parallel()
	h := startDev(t, pairs{"translate": {
		policy: strings.Replace(policyOf("translate"), "passthrough", "apertium", 1),
		job:    stubJob("translate"), // speaks Apertium's form too
	}}.arguments(t)...)
	a := send(t.Context(), http.MethodPost, h.data+"/translate", `{"text":"x","source_lang":"en","target_lang":"tlh"}`, nil)
	p := a.wantProblem(t, http.StatusBadRequest, "bad-request")
	if p.Field != "target_lang" && p.Field != "source_lang" {
		t.Errorf("field %q, want the language's: %s", p.Field, a.body)
	}
}

func TestWhatCannotBeHeldIsRefusedAndWhatIsHeldTooLongIsTold(t *testing.T) {
	t.Parallel()
	const places = 2
	server := startRedis(t)
	h := startDev(t, append(pairs{"loading": {
		policy: policyOf("loading", fmt.Sprintf("hold {\n    max_requests = %d\n  }", places)),
		job:    stubJob("loading", "--load", "1h"),
	}}.arguments(t), "--redis", server.URL())...)
	held := func(want int) {
		t.Helper()
		await(t, fmt.Sprintf("%d held requests", want), func() error {
			if got := len(server.tickets(t, "loading")); got != want {
				return fmt.Errorf("%d tickets in Redis", got)
			}
			if got := h.service(t, "loading").Demand.Held; got != want {
				return fmt.Errorf("the API says %d", got)
			}
			return nil
		})
	}
	leaving, leave := context.WithCancel(t.Context())
	waiting := inBackground(func() answer { return h.translate(leaving, "/loading/translate", "a") })
	held(1)
	overdue := inBackground(func() answer {
		return send(t.Context(), http.MethodPost, h.data+"/loading/translate", wanted("b"), map[string]string{"Pilotlight-Deadline": "5s"})
	})
	held(places)

	full := h.translate(t.Context(), "/loading/translate", "c")
	full.wantProblem(t, http.StatusTooManyRequests, "queue-full")
	if s, err := strconv.Atoi(full.header.Get("Retry-After")); err != nil || s < 1 {
		t.Errorf("Retry-After: %q, want seconds", full.header.Get("Retry-After"))
	}
	if err := waiting.pending(); err != nil {
		t.Error(err)
	}

	a := overdue.get(t)
	a.wantProblem(t, http.StatusGatewayTimeout, "deadline-passed")
	if got := a.header.Get("Pilotlight-Cold-Start"); got != "true" {
		t.Errorf("Pilotlight-Cold-Start: %q, want true", got)
	}
	held(1)

	// A client that goes takes its ticket with it.
	leave()
	held(0)
}

func TestAClientThatGoesCancelsTheReplicasWorkAtOnce(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "executions")
	h := startDev(t, pairs{"translate": {
		policy: policyOf("translate", replicas(0, 1, 1)),
		job:    stubJob("translate", "--latency", "1h", "--log-file", log),
	}}.arguments(t)...)
	ctx, leave := context.WithCancel(t.Context())
	waiting := inBackground(func() answer {
		return send(ctx, http.MethodPost, h.data+"/translate", wanted("x"), map[string]string{"X-Request-Id": "the-one-that-goes"})
	})
	await(t, "the replica to compute", func() error {
		if count(executions(t, log), stub.EventStarted, "the-one-that-goes") != 1 {
			return fmt.Errorf("executions %+v", executions(t, log))
		}
		return nil
	})
	leave()
	if a := waiting.get(t); a.err == nil {
		t.Fatalf("an answer came: %+v", a)
	}
	await(t, "the replica to stop computing", func() error {
		if count(executions(t, log), stub.EventCancelled, "the-one-that-goes") != 1 {
			return fmt.Errorf("executions %+v", executions(t, log))
		}
		return nil
	})
	h.awaitService(t, "translate", "without demand", func(st jobs.Status) bool { return st.Demand == jobs.DemandCounts{} })
	if n := count(executions(t, log), stub.EventStarted, ""); n != 1 {
		t.Errorf("%d executions, want one: nobody waits for another", n)
	}
}
