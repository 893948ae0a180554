package web

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestPagesAndJSONAreCompressedAndTheStreamIsNot(t *testing.T) {
	s, services, _ := newTestServer(t)
	services.set(func(f *fakeServices) {
		for i := range 50 {
			f.starts = append(f.starts, coldStart("translate", fmt.Sprint(i), time.Now(), 1, 20, 0, 110, 3000, 2, 80))
		}
	})
	for path, least := range map[string]int{"/cold-starts": 10, "/api/v1/cold-starts": 10, "/api/v1/openapi.json": 4} {
		plain := call(s, "GET", path, "").Body.Len()
		w := call(s, "GET", path, "", "Accept-Encoding: gzip")
		if w.Header().Get("Content-Encoding") != "gzip" || w.Body.Len()*least > plain {
			t.Errorf("%s: %d bytes of %d, %v; want a %dth", path, w.Body.Len(), plain, w.Header(), least)
		}
		if !slices.Contains(w.Header().Values("Vary"), "Accept-Encoding") {
			t.Errorf("%s: Vary %q", path, w.Header().Values("Vary"))
		}
	}
	policy := call(s, "GET", "/api/v1/policies/translate", "", "Accept-Encoding: gzip")
	if got := policy.Header().Values("Vary"); !slices.Contains(got, "Accept") || !slices.Contains(got, "Accept-Encoding") {
		t.Errorf("a policy: Vary %q", got)
	}
	if w := call(s, "GET", "/api/v1/policies/nobody", "", "Accept-Encoding: gzip"); w.Header().Get("Content-Encoding") != "" {
		t.Error("what is small is compressed")
	}

	s.feed.close() // the stream ends after its first words
	r := httptest.NewRequest("GET", "http://127.0.0.1:8081"+eventsPath, nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if got := w.Header().Get("Content-Encoding"); got != "" || w.Header().Get("Content-Type") != "text/event-stream" {
		t.Errorf("the stream: %v", w.Header())
	}
}

func TestTheSlowestAreLookedForAmongAllThatAreReadAndItIsSaidWhichThatIs(t *testing.T) {
	s, services, _ := newTestServer(t)
	start := func(i int, ms float64) jobs.ColdStart {
		return coldStart("translate", fmt.Sprint("id-", i), time.Now().Add(-time.Duration(i)*time.Minute), ms)
	}
	fill := func(n int) {
		services.set(func(f *fakeServices) {
			f.starts = nil
			for i := range n {
				f.starts = append(f.starts, start(i, 100))
			}
			f.starts[n-1] = start(n-1, 9000) // the slowest is the oldest
		})
	}
	fill(200)
	page := call(s, "GET", "/cold-starts?sort=slowest", "").Body.String()
	if !strings.Contains(page, "The slowest 50 of all 200 that are kept") || !strings.Contains(page, "By phase, over all 200 that are kept") {
		t.Error("it does not say over what")
	}
	if first := part(t, page, "data-key=", ">"); !strings.Contains(first, "id-199") {
		t.Errorf("first is %s, want id-199", first)
	}
	if got := strings.Count(page, "data-key="); got != 50 {
		t.Errorf("%d are shown, want 50", got)
	}
	if !strings.Contains(page, "limit=200&amp;sort=slowest") {
		t.Error("no more are offered")
	}
	if page := call(s, "GET", "/cold-starts?sort=slowest&limit=200", "").Body.String(); strings.Contains(page, "Show more") {
		t.Error("more are offered than there are")
	}
	fill(1001)
	if page := call(s, "GET", "/cold-starts?sort=slowest", "").Body.String(); !strings.Contains(page, "The slowest 50 of the newest 1000") {
		t.Error("it does not say that not all were looked through")
	}
}
