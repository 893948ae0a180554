package web

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// fakeRequests has one that is held by its connection and one durable that runs.
type fakeRequests struct{ err error }

func (f fakeRequests) list() []RequestInfo {
	at := time.Now().Add(-3 * time.Second)
	deadline := at.Add(time.Minute)
	return []RequestInfo{
		{ID: "T1", Service: "translate", RequestID: "x1", State: "held", Phase: "load", Position: ptr(1), At: at, AgeS: 3, Deadline: &deadline},
		{ID: "translate.T2", Service: "translate", State: "running", Phase: "running", Attempts: 1, Replica: "r1", At: at, Durable: true, Status: ptr(200)}}
}

func (f fakeRequests) Held(_ context.Context, service string, limit int) ([]RequestInfo, error) {
	if service != "translate" {
		return nil, f.err
	}
	return f.list(), f.err
}

func (f fakeRequests) Find(_ context.Context, id string) (RequestInfo, error) {
	for _, r := range f.list() {
		if r.ID == id {
			return r, f.err
		}
	}
	return RequestInfo{}, ErrUnknownRequest
}

func (f fakeRequests) Cancel(ctx context.Context, id string) (RequestInfo, error) {
	r, err := f.Find(ctx, id)
	if err == nil && !r.Durable {
		err = ErrOfConnection
	}
	r.State = "cancelled"
	return r, err
}

func TestRequestsInSightAreListedFilteredAndCancelled(t *testing.T) {
	s, services, _ := newTestServer(t, func(c *Config) { c.Requests = fakeRequests{} })
	services.set(func(f *fakeServices) { f.statuses = []jobs.Status{readyStatus("translate", time.Now())} })
	schemas := apiSchemasOf(t, s)
	for _, test := range []struct {
		method, path string
		status       int
		want         string // in the answer
		not          string
	}{
		{"GET", "/requests", 200, `"id":"T1"`, ""},
		{"GET", "/requests?service=translate&state=running", 200, `"id":"translate.T2"`, `"T1"`},
		{"GET", "/requests?service=other", 200, `[]`, "T1"},
		{"GET", "/requests?limit=1", 200, `"id":"T1"`, `.T2"`},
		{"GET", "/requests?state=lost", 400, "allowed: held, running", ""},
		{"GET", "/requests/T1", 200, `"position":1`, ""},
		{"GET", "/requests/nobody", 404, "unknown-request", ""},
		{"DELETE", "/requests/translate.T2", 200, `"state":"cancelled"`, ""},
		{"DELETE", "/requests/T1", 409, "goes with its connection", ""},
	} {
		a := call(s, test.method, apiBase+test.path, "")
		body := a.Body.String()
		if a.Code != test.status || !strings.Contains(body, test.want) || test.not != "" && strings.Contains(body, test.not) {
			t.Errorf("%s %s: %d %s", test.method, test.path, a.Code, body)
		}
		if a.Code == 200 {
			schema := map[string]any{"$ref": "#/components/schemas/RequestInfo"}
			if body[0] == '[' {
				schema = map[string]any{"type": "array", "items": schema}
			}
			if err := disagreement(schemas, schema, "", "requests", decode[any](t, a), map[string]bool{}); err != nil {
				t.Error(err)
			}
		}
	}
	away, services, _ := newTestServer(t, func(c *Config) { c.Requests = fakeRequests{err: errors.New("away")} })
	services.set(func(f *fakeServices) { f.statuses = []jobs.Status{readyStatus("translate", time.Now())} })
	if a := call(away, "GET", apiBase+"/requests", ""); a.Code != 503 || !strings.Contains(a.Body.String(), "store-unavailable") {
		t.Errorf("%d %s", a.Code, a.Body.String())
	}
}
