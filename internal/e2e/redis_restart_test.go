package e2e

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/internal/stub"
)

func TestARestartOfRedisKeepsEveryTicketAndItsPlace(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	log := filepath.Join(t.TempDir(), "executions")
	h := startDev(t, append(pairs{"loading": {
		policy: policyOf("loading", replicas(0, 1, 1), toZero("10m")),
		job:    stubJob("loading", "--load", "5s", "--log-file", log),
	}}.arguments(t), "--redis", server.URL())...)

	// Held with its connection, held with a key, and without a connection, twice.
	kinds := []map[string]string{{}, {"Idempotency-Key": "k"}, {"Prefer": "respond-async"}}
	var want []string
	waiting := map[string]later{}
	locations := map[string]string{}
	for i := range 6 {
		id := fmt.Sprint("request-", i)
		header := map[string]string{"X-Request-Id": id}
		for name, value := range kinds[i%3] {
			header[name] = value + map[bool]string{true: id}[name == "Idempotency-Key"]
		}
		want = append(want, id)
		ask := func() answer {
			return send(context.WithoutCancel(t.Context()), http.MethodPost, h.data+"/loading/translate", wanted(id), header)
		}
		if header["Prefer"] != "" {
			a := ask()
			a.want(t, http.StatusAccepted)
			locations[id] = a.header.Get("Location")
		} else {
			waiting[id] = inBackground(ask)
		}
		await(t, "its ticket", func() error {
			if n := len(server.tickets(t, "loading")); n != i+1 {
				return fmt.Errorf("%d tickets", n)
			}
			return nil
		})
	}
	before := server.tickets(t, "loading")
	server.stop(t)
	down := time.Now()
	server.start(t)
	after := server.tickets(t, "loading")
	slices.Sort(before)
	slices.Sort(after)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("tickets before (-) and after (+) the restart:\n%s", diff)
	}
	for id, l := range waiting {
		if err := l.get(t).check(id); err != nil {
			t.Errorf("%s, held through the restart: %v", id, err)
		}
	}
	for id, location := range locations {
		if err := h.result(t, location).check(id); err != nil {
			t.Errorf("%s, accepted before the restart: %v", id, err)
		}
	}
	t.Logf("all answered %v after the restart", time.Since(down))
	var ran []string
	for _, e := range executions(t, log) {
		if e.Event == stub.EventStarted {
			ran = append(ran, e.RequestID)
		}
	}
	if diff := cmp.Diff(want, ran); diff != "" {
		t.Errorf("one slot: want them in the order of their tickets, once each (-want +got):\n%s", diff)
	}
}
