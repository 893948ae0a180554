package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestARedisThatIsFullRefusesWhatIsNewInWordsEvictsNothingAndHarmsNoWarmRequest(t *testing.T) {
	t.Parallel()
	server, h, warm, before := beforeAnOutage(t)
	limit := func(value string) {
		t.Helper()
		if err := server.Client.ConfigSet(t.Context(), "maxmemory", value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	limit("1mb") // less than it uses
	full := time.Now()
	for what, header := range map[string]map[string]string{
		"a hold":     {},
		"a key":      {"Idempotency-Key": "k"},
		"async":      {"Prefer": "respond-async"},
		"async, key": {"Prefer": "respond-async", "Idempotency-Key": "l"},
	} {
		a := send(t.Context(), http.MethodPost, h.data+"/asleep/translate", wanted("new"), header)
		p := a.wantProblem(t, http.StatusServiceUnavailable, "store-unavailable")
		if !strings.Contains(p.Detail, "maxmemory") || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %q does not name maxmemory, or there is no Retry-After in %v", what, p.Detail, a.header)
		}
	}
	if err := before.get(t).check("held before"); err != nil {
		t.Errorf("held before, answered while it is full: %v", err)
	}
	// Long enough for leases and statements to be renewed, and for the scaler to look
	// many times.
	pause(t, max(0, 8*time.Second-time.Since(full)))
	stats, err := server.Client.Info(t.Context(), "stats").Result()
	if err != nil || !strings.Contains(stats, "evicted_keys:0") {
		t.Errorf("keys were evicted: %v\n%s", err, stats)
	}
	limit("0")
	await(t, "new requests to be taken again", func() error {
		return h.translate(t.Context(), "/asleep/translate", "again").check("again")
	})
	reconciled(t, server, h)
	warm.unbroken(t)
}
