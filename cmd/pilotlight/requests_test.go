package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/history"
	"github.com/pilotlight/pilotlight/web"
)

func TestRequestsAreListedShownAndCancelledAndTheirSecretsAreNot(t *testing.T) {
	m := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: m.Addr(), MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
	t.Cleanup(func() { _ = client.Close() })
	q, err := queue.New(queue.Config{Redis: client, Execute: func(context.Context, *queue.Execution) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	limits := queue.Limits{Requests: 10, Bytes: 1 << 20}
	e, err := q.Submit(t.Context(), &queue.Request{ID: queue.NewID("translate"), Service: "translate", Key: "secret-key", RequestID: "x1",
		Method: "POST", Path: "/translate", Header: http.Header{"Authorization": {"Bearer secret-token"}}, Body: []byte("secret-body"),
		Deadline: time.Now().Add(time.Minute), Attempts: 1, Keep: time.Hour, MaxSize: 1000}, limits)
	if err != nil {
		t.Fatal(err)
	}
	hist := history.New(client)
	store := policies.NewMemory()
	if _, err := store.Put(t.Context(), "translate", "policy \"translate\" {\n  job = \"x\"\n  route {\n    path_prefixes = [\"/translate\"]\n  }\n}\n", 0, "test", ""); err != nil {
		t.Fatal(err)
	}
	server, err := web.New(web.Config{Services: hist, Policies: store,
		Requests: insight{ledger: queue.NewLedger(client, nil), queue: q, history: hist}})
	if err != nil {
		t.Fatal(err)
	}
	control := httptest.NewServer(server.Handler())
	t.Cleanup(control.Close)
	pilotlight := func(want int, args ...string) string {
		t.Helper()
		var out, wrong bytes.Buffer
		if got := run(append(append([]string{"requests"}, args...), "--control", control.URL), streams{out: &out, err: &wrong}); got != want {
			t.Fatalf("%v: exit %d\n%s%s", args, got, &out, &wrong)
		}
		if text := out.String() + wrong.String(); strings.Contains(text, "secret") {
			t.Errorf("%v shows a secret:\n%s", args, text)
		}
		return out.String() + wrong.String()
	}
	for _, test := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"list", "--service", "translate"}, exitDone, []string{"POSITION", e.ID, "held", "decide"}},
		{[]string{"list", "--service", "translate", "-o", "json"}, exitDone, []string{`"position": 1`, `"durable": true`, `"age_s"`, `"deadline"`}},
		{[]string{"list", "--service", "translate", "--state", "running"}, exitDone, []string{"No request waits"}},
		{[]string{"show", e.ID}, exitDone, []string{"x1", "held"}},
		{[]string{"list", "--service", "translate"}, exitDone, []string{"KIND", "keyed", "x1"}},
		{[]string{"list", "--state", "lost"}, exitUsage, []string{"--state", "held"}},
		{[]string{"list", "--limit", "0"}, exitUsage, []string{"1 to 1000"}},
		{[]string{"list", "--service", "nobody"}, exitFailure, []string{"nobody"}},
		{[]string{"cancel", ""}, exitUsage, []string{"requests list"}},
		{[]string{"show", "translate.nobody"}, exitFailure, []string{"no such request"}},
		{[]string{"cancel", e.ID}, exitDone, []string{"cancelled"}},
		{[]string{"list", "--service", "translate"}, exitDone, []string{"No request waits"}},
		{[]string{"show", e.ID, "-o", "json"}, exitDone, []string{`"state": "cancelled"`, `"status": 409`}},
	} {
		text := pilotlight(test.code, test.args...)
		for _, want := range test.want {
			if !strings.Contains(text, want) {
				t.Errorf("%v: want %q in\n%s", test.args, want, text)
			}
		}
	}
}
