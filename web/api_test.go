package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// call is one request; headers are "Name: value".
func call(s *Server, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:8081"+target, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:40000"
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder) (v T) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("answer %d is not JSON: %v\n%s", w.Code, err, w.Body)
	}
	return v
}

func wantStatus(t *testing.T, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
}

const (
	asJSON = "Content-Type: application/json"
	asHCL  = "Content-Type: text/hcl"
	takeV1 = `If-Match: "1"`
)

func TestEveryAPIRouteAnswersWithTheStatusItDocuments(t *testing.T) {
	better := strings.Replace(translateText, "max         = 3", "max         = 4", 1)
	wrong := strings.Replace(translateText, "max         = 3", "max         = -3", 1)
	big := strings.Repeat("#", int(policyBody)+1)
	asDocument := decode[map[string]any](t, func() *httptest.ResponseRecorder {
		s, _, _ := newTestServer(t)
		return call(s, "GET", "/api/v1/policies/translate", "")
	}())
	document, err := json.Marshal(asDocument)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		method, target, body string
		headers              []string
		status               int
	}{
		{"GET", "/services", "", nil, 200},
		{"GET", "/services/translate", "", nil, 200},
		{"GET", "/services/nobody", "", nil, 404},
		{"GET", "/services/NOT%20A%20NAME", "", nil, 404},
		{"POST", "/services/translate/wake", "", nil, 422},
		{"POST", "/services/translate/wake", `{"reason":"demo"}`, []string{asJSON}, 202},
		{"POST", "/services/translate/wake", `{"reason":"demo"}`, []string{"Content-Type: text/plain"}, 415},
		{"POST", "/services/translate/wake", `{"raeson":"demo"}`, []string{asJSON}, 400},
		{"POST", "/services/translate/wake", `{"reason":"demo"} {}`, []string{asJSON}, 400},
		{"POST", "/services/translate/wake", strings.Repeat(" ", int(smallBody)+1), []string{asJSON}, 413},
		{"POST", "/services/nobody/wake", "", nil, 404},
		{"POST", "/services/translate/sleep", `{"reason":"night"}`, []string{asJSON}, 202},
		{"POST", "/services/translate/pause", `{"reason":" "}`, []string{asJSON}, 422},
		{"POST", "/services/translate/resume", `{"reason":"done"}`, []string{asJSON}, 202},
		{"POST", "/services/translate/pin", `{"replicas":0,"reason":"r"}`, []string{asJSON}, 202},
		{"POST", "/services/translate/pin", `{"replicas":3,"reason":"r"}`, []string{asJSON}, 202},
		{"POST", "/services/translate/pin", `{"replicas":4,"reason":"r"}`, []string{asJSON}, 422},
		{"POST", "/services/translate/pin", `{"replicas":-1,"reason":"r"}`, []string{asJSON}, 422},
		{"POST", "/services/translate/pin", "", nil, 422},
		{"POST", "/services/translate/unpin", "", nil, 422},
		{"GET", "/cold-starts", "", nil, 200},
		{"GET", "/cold-starts?limit=0", "", nil, 400},
		{"GET", "/cold-starts?limit=many", "", nil, 400},
		{"GET", "/decisions?service=translate&limit=5", "", nil, 200},
		{"GET", "/timeline", "", nil, 400},
		{"GET", "/timeline?service=translate", "", nil, 200},
		{"GET", "/timeline?service=translate&limit=7201", "", nil, 400},
		{"GET", "/openapi.json", "", nil, 200},
		{"GET", "/policies", "", nil, 200},
		{"GET", "/policies", "", []string{"Accept: text/hcl"}, 200},
		{"GET", "/policies/translate", "", nil, 200},
		{"GET", "/policies/nobody", "", nil, 404},
		{"PUT", "/policies/translate", better, []string{asHCL}, 428},
		{"PUT", "/policies/translate", better, []string{asHCL, takeV1}, 200},
		{"PUT", "/policies/translate", better, []string{asHCL, "If-Match: *"}, 200},
		{"PUT", "/policies/nobody", better, []string{asHCL, "If-Match: *"}, 412},
		{"PUT", "/policies/translate", better, []string{asHCL, `If-Match: "7"`}, 412},
		{"PUT", "/policies/nobody", strings.Replace(better, `"translate"`, `"nobody"`, 1), []string{asHCL, takeV1}, 412},
		{"PUT", "/policies/NO%20NAME", better, []string{asHCL, takeV1}, 400},
		{"PUT", "/policies/translate", better, []string{asHCL, "If-Match: soon"}, 400},
		{"PUT", "/policies/translate", better, []string{asHCL, `If-Match: "1" "2"`}, 400},
		{"PUT", "/policies/translate", better, []string{asHCL, `If-Match: "1`}, 400},
		{"PUT", "/policies/translate", better, []string{asHCL, `If-Match: "7", "1"`}, 200},
		{"PUT", "/policies/translate", better, []string{asHCL, `If-Match: "7" , W/"2",,"1"`}, 200},
		{"PUT", "/policies/translate", better, []string{asHCL, `If-Match: "7", "8"`}, 412},
		{"PUT", "/policies/translate", better, []string{asHCL, `If-Match: W/"1"`}, 412},
		{"PUT", "/policies/translate", better, []string{asHCL, `If-Match: W/"1", "2"`}, 412},
		{"PUT", "/policies/translate", better, []string{asHCL, `If-Match: "soon"`}, 412},
		{"PUT", "/policies/translate", better, []string{asHCL, `If-Match: "0"`}, 412},
		{"PUT", "/policies/translate", better, []string{asHCL, `If-Match: "01"`}, 412},
		{"PUT", "/policies/nobody", better, []string{asHCL, `If-Match: "0"`}, 412},
		{"PUT", "/policies/translate", better, []string{asHCL, "If-None-Match: *"}, 412},
		{"PUT", "/policies/translate", better, []string{asHCL, "If-None-Match: *", takeV1}, 400},
		{"PUT", "/policies/translate", better, []string{"Content-Type: image/png", takeV1}, 415},
		{"PUT", "/policies/translate", wrong, []string{asHCL, takeV1}, 422},
		{"PUT", "/policies/translate", big, []string{asHCL, takeV1}, 413},
		{"PUT", "/policies/translate", string(document), []string{asJSON, takeV1}, 200},
		{"PUT", "/policies/translate", `{"name":"translate","maxx":3}`, []string{asJSON, takeV1}, 422},
		{"PUT", "/policies/other", better, []string{asHCL, "If-None-Match: *"}, 422},
		{"PUT", "/policies/other", strings.NewReplacer(`"translate"`, `"other"`, "/translate", "/other", "translate-apertium", "other-job").Replace(better), []string{asHCL, "If-None-Match: *"}, 201},
		{"DELETE", "/policies/translate", "", nil, 428},
		{"DELETE", "/policies/translate", "", []string{`If-Match: "9"`}, 412},
		{"DELETE", "/policies/translate", "", []string{"If-None-Match: *"}, 400},
		{"DELETE", "/policies/translate", "", []string{takeV1}, 204},
		{"DELETE", "/policies/translate", "", []string{`If-Match: W/"1"`}, 412},
		{"DELETE", "/policies/translate", "", []string{`If-Match: "1", "2"`}, 204},
		{"DELETE", "/policies/nobody", "", []string{takeV1}, 404},
		{"POST", "/policies/translate/validate", better, []string{asHCL}, 200},
		{"POST", "/policies/translate/validate", wrong, []string{asHCL}, 200},
		{"POST", "/policies/translate/validate", better, nil, 415},
		{"POST", "/policies/translate/diff", better, []string{asHCL}, 200},
		{"POST", "/policies/translate/diff", wrong, []string{asHCL}, 422},
		{"POST", "/policies/nobody/diff", strings.Replace(better, `"translate"`, `"nobody"`, 1), []string{asHCL}, 200},
		{"POST", "/policies/translate/simulate?trace=sdsc-http-1995-minutes", better, []string{asHCL}, 202},
		{"POST", "/policies/translate/simulate?trace=sdsc-http-1995-minutes&sweep=true&cold_start=90s", string(document), []string{asJSON}, 202},
		{"POST", "/policies/translate/simulate?trace=sdsc-http-1995-minutes&sweep=yes", string(document), []string{asJSON}, 400},
		{"POST", "/policies/translate/simulate?trace=nothing", better, []string{asHCL}, 400},
		{"POST", "/policies/translate/simulate?trace=sdsc-http-1995-minutes&cold_start=-1s", better, []string{asHCL}, 400},
		{"POST", "/policies/translate/simulate?wait=31", better, []string{asHCL}, 400},
		{"POST", "/policies/translate/simulate", better, []string{asHCL}, 400}, // nothing is recorded here
		{"POST", "/policies/translate/simulate", wrong, []string{asHCL}, 422},
		{"POST", "/policies/nobody/simulate", better, []string{asHCL}, 422},
		{"POST", "/policies/translate/simulate", better, nil, 415},
		{"POST", "/policies/translate/simulate", big, []string{asHCL}, 413},
		{"GET", "/simulations/none", "", nil, 404},
		{"GET", "/simulations/none?wait=soon", "", nil, 400},
		{"DELETE", "/simulations/none", "", nil, 404},
		{"GET", "/policies/translate/versions", "", nil, 200},
		{"GET", "/policies/nobody/versions", "", nil, 404},
		{"POST", "/policies/translate/rollback", `{"version":1}`, []string{asJSON}, 200},
		{"POST", "/policies/translate/rollback", `{"version":9}`, []string{asJSON}, 422},
		{"POST", "/policies/translate/rollback", `{"version":1}`, []string{asJSON, `If-Match: "4"`}, 412},
		{"POST", "/policies/nobody/rollback", `{"version":1}`, []string{asJSON}, 404},
	}
	documented := documentedAnswers(t)
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s %s %d", test.method, test.target, test.status), func(t *testing.T) {
			s, _, _ := newTestServer(t)
			w := call(s, test.method, "/api/v1"+test.target, test.body, test.headers...)
			wantStatus(t, w, test.status)
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control %q, want no-store", got)
			}
			route := s.routeOf(test.method, "/api/v1"+test.target)
			if !slices.Contains(documented[route], strconv.Itoa(test.status)) {
				t.Errorf("openapi.json does not name status %d of %s", test.status, route)
			}
			if test.status >= 400 {
				p := decode[Problem](t, w)
				if got := w.Header().Get("Content-Type"); got != mediaProblem || p.Status != test.status || !strings.HasPrefix(p.Type, problemURN) || p.Detail == "" {
					t.Errorf("not a problem: %s %+v", got, p)
				}
			}
		})
	}
	reached := map[string]bool{"GET " + eventsPath: true} // has tests of its own
	for _, test := range tests {
		s, _, _ := newTestServer(t)
		reached[s.routeOf(test.method, "/api/v1"+test.target)] = true
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(reached))); diff != "" {
		t.Errorf("documented routes (-) and tried ones (+) differ:\n%s", diff)
	}
}

// routeOf is the route that answers, as openapi.json writes it.
func (s *Server) routeOf(method, target string) string {
	r := httptest.NewRequest(method, target, nil)
	c := s.echo.NewContext(r, httptest.NewRecorder())
	s.echo.Router().Find(method, r.URL.Path, c)
	return method + " " + openAPIPath(c.Path())
}

func documentedAnswers(t *testing.T) map[string][]string {
	t.Helper()
	s, _, _ := newTestServer(t)
	doc := decode[struct {
		Paths map[string]map[string]struct {
			Responses map[string]any `json:"responses"`
		} `json:"paths"`
	}](t, call(s, "GET", "/api/v1/openapi.json", ""))
	out := map[string][]string{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			out[strings.ToUpper(method)+" "+path] = slices.Sorted(maps.Keys(op.Responses))
		}
	}
	return out
}

func TestTheAPIDescriptionNamesExactlyTheRoutesOfTheRouter(t *testing.T) {
	s, _, _ := newTestServer(t)
	var routed []string
	for _, r := range s.echo.Routes() {
		if strings.HasPrefix(r.Path, "/api/") {
			routed = append(routed, r.Method+" "+openAPIPath(r.Path))
		}
	}
	slices.Sort(routed)
	if diff := cmp.Diff(routed, slices.Sorted(maps.Keys(documentedAnswers(t)))); diff != "" {
		t.Errorf("router (-) and openapi.json (+) differ:\n%s", diff)
	}
}

func TestEverySchemaThatTheAPIDescriptionRefersToIsThere(t *testing.T) {
	s, _, _ := newTestServer(t)
	body := call(s, "GET", "/api/v1/openapi.json", "").Body.String()
	doc := map[string]any{}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	for _, part := range strings.Split(body, `"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		if schemas[name] == nil {
			t.Errorf("schema %s is missing", name)
		}
	}
	status := schemas["ServiceInfo"].(map[string]any)["properties"].(map[string]any)
	for _, field := range []string{"name", "state", "latency_ms", "eta_s", "at", "stale"} {
		if status[field] == nil {
			t.Errorf("ServiceInfo lacks %s", field)
		}
	}
}

func TestAServiceThatTheScalerHasNotReportedOnIsZeroAndUnknown(t *testing.T) {
	s, _, _ := newTestServer(t)
	got := decode[map[string]any](t, call(s, "GET", "/api/v1/services/translate", ""))
	if got["state"] != "zero" || got["policy_version"] != 1.0 {
		t.Errorf("state %v of version %v, want zero of 1", got["state"], got["policy_version"])
	}
	for _, name := range []string{"qps", "gpu_utilization_percent", "oldest_hold_s", "eta_s", "blocked_reason", "at"} {
		if value, there := got[name]; !there || value != nil {
			t.Errorf("%s is %v, want null", name, value)
		}
	}
	if list := got["replicas"].(map[string]any)["list"]; list == nil {
		t.Error("replicas.list is null, want []")
	}
}

func TestAReportThatShouldHaveBeenRenewedIsStale(t *testing.T) {
	s, services, _ := newTestServer(t)
	for _, test := range []struct {
		name   string
		status jobs.Status
		stale  bool
	}{
		{"fresh", readyStatus("translate", time.Now()), false},
		{"old and busy", readyStatus("translate", time.Now().Add(-time.Minute)), true},
		{"a minute old and at rest", jobs.Status{Name: "translate", State: jobs.StateZero, At: time.Now().Add(-time.Minute)}, false},
		{"old and at rest", jobs.Status{Name: "translate", State: jobs.StateZero, At: time.Now().Add(-time.Hour)}, true},
	} {
		services.set(func(f *fakeServices) { f.statuses = []jobs.Status{test.status} })
		if got := decode[ServiceInfo](t, call(s, "GET", "/api/v1/services/translate", "")); got.Stale != test.stale {
			t.Errorf("%s: stale %v, want %v", test.name, got.Stale, test.stale)
		}
	}
}

func TestACommandReachesTheScalerWithItsReasonAndAuthor(t *testing.T) {
	s, services, _ := newTestServer(t)
	wantStatus(t, call(s, "POST", "/api/v1/services/translate/pin", `{"replicas":2,"reason":"demo at ten"}`, asJSON, "From: ada@example.org"), 202)
	wantStatus(t, call(s, "POST", "/api/v1/services/translate/unpin", `{"reason":"over"}`, asJSON), 202)
	want := []jobs.Command{
		{Verb: jobs.VerbPin, Replicas: 2, Reason: "demo at ten", By: "ada@example.org"},
		{Verb: jobs.VerbUnpin, Reason: "over", By: "unnamed, from 127.0.0.1"},
	}
	if diff := cmp.Diff(want, services.commands["translate"], cmpopts.IgnoreFields(jobs.Command{}, "At")); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

func TestAStoreThatDoesNotAnswerIs503WithRetryAfter(t *testing.T) {
	s, services, _ := newTestServer(t)
	services.set(func(f *fakeServices) { f.err = io.ErrUnexpectedEOF })
	for _, path := range []string{"/services", "/services/translate", "/cold-starts", "/decisions", "/timeline?service=translate"} {
		w := call(s, "GET", "/api/v1"+path, "")
		wantStatus(t, w, 503)
		if w.Header().Get("Retry-After") == "" || decode[Problem](t, w).Type != problemURN+"store-unavailable" {
			t.Errorf("%s: %v %s", path, w.Header(), w.Body)
		}
	}
}

func TestEveryErrorOfAStoreHasAStatusOfItsOwn(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
	}{
		{policies.ErrNotFound, 404},
		{policies.ErrExists, 412},
		{&policies.ConflictError{Name: "a", Base: 1}, 412},
		{policies.ValidationErrors{{Message: "wrong"}}, 422},
		{&policies.UnreadableError{Versions: []policies.Version{{Name: "a"}}, Err: policies.ValidationErrors{{Message: "wrong"}}}, 500},
		{&http.MaxBytesError{Limit: 1}, 413},
		{fromStore(errors.New("connection refused")), 503},
		{errors.New("a fault of ours"), 500},
	} {
		if got := problemOf(fmt.Errorf("while doing something: %w", test.err)).Status; got != test.status {
			t.Errorf("%v: %d, want %d", test.err, got, test.status)
		}
	}
}

func TestListsAreArraysAndKeepTheirLimit(t *testing.T) {
	s, services, _ := newTestServer(t)
	for _, path := range []string{"/cold-starts", "/decisions", "/timeline?service=translate"} {
		if got := strings.TrimSpace(call(s, "GET", "/api/v1"+path, "").Body.String()); got != "[]" {
			t.Errorf("%s: %s, want []", path, got)
		}
	}
	now := time.Now()
	services.set(func(f *fakeServices) {
		for i := range 3 {
			f.starts = append(f.starts, coldStart("translate", strconv.Itoa(i), now, 1, 2, 3, 4, 5))
			f.decided = append(f.decided, decide.Decision{Service: "translate", At: now})
		}
	})
	if got := decode[[]jobs.ColdStart](t, call(s, "GET", "/api/v1/cold-starts?limit=2", "")); len(got) != 2 {
		t.Errorf("%d cold starts, want 2", len(got))
	}
	if got := decode[[]decide.Decision](t, call(s, "GET", "/api/v1/decisions?service=other", "")); len(got) != 0 {
		t.Errorf("%d decisions of another service, want 0", len(got))
	}
}
