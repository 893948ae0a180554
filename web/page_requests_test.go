package web

import (
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// waited is a server on which requests wait and run.
func waited(t *testing.T) *Server {
	t.Helper()
	s, services, _ := newTestServer(t, func(c *Config) { c.Requests = fakeRequests{} })
	services.set(func(f *fakeServices) { f.statuses = []jobs.Status{readyStatus("translate", time.Now())} })
	return s
}

func TestTheRequestsPageShowsWhatWaitsAndFilters(t *testing.T) {
	s := waited(t)
	for path, want := range map[string]struct{ with, without []string }{
		"/queue":                                 {[]string{">x1<", "held", "load", "running", "connection", "keyed", "/queue/translate.T2/cancel?back=%2Fqueue"}, []string{"/queue/T1/cancel"}},
		"/queue?state=held":                      {[]string{">x1<", `aria-current="true">held`}, []string{"translate.T2"}},
		"/queue?state=running&service=translate": {[]string{"translate.T2", "back=%2Fqueue%3Fstate%3Drunning%26service%3Dtranslate"}, []string{">x1<"}},
		"/queue?service=other":                   {[]string{"No request waits, and no durable one runs: other", "Idempotency-Key"}, []string{">x1<"}},
		"/queue?limit=1":                         {[]string{">x1<", "Show more", "limit=4"}, []string{"translate.T2"}},
		"/services/translate":                    {[]string{">x1<", `href="/queue?service=translate"`}, nil},
		"/":                                      {[]string{`<a href="/queue">Requests</a>`}, nil},
	} {
		a := call(s, "GET", path, "")
		if a.Code != 200 {
			t.Errorf("%s: %d", path, a.Code)
		}
		for _, text := range want.with {
			if !strings.Contains(a.Body.String(), text) {
				t.Errorf("%s has no %q", path, text)
			}
		}
		for _, text := range want.without {
			if strings.Contains(a.Body.String(), text) {
				t.Errorf("%s has %q", path, text)
			}
		}
	}
	if a := call(s, "GET", "/queue?state=lost", ""); a.Code != 400 || !strings.Contains(a.Body.String(), "allowed: held, running") {
		t.Errorf("a state that there is not: %d %s", a.Code, a.Body)
	}
}

func TestACancelSaysWhatItEndsAndLeadsBack(t *testing.T) {
	s := waited(t)
	a := call(s, "GET", "/queue/translate.T2/cancel?back=/queue%3Fstate%3Drunning", "")
	for _, text := range []string{"Cancel this request of translate?", "Replica r1 computes on it, attempt 1", `value="/queue?state=running"`, `id="dialog-content"`} {
		if !strings.Contains(a.Body.String(), text) {
			t.Errorf("no %q in %s", text, a.Body)
		}
	}
	done := post(s, "/queue/translate.T2/cancel", "by", "Ada", "reason", "too long", "back", "/queue?state=running")
	if done.Code != 303 || done.Header().Get("Location") != "/queue?state=running" {
		t.Errorf("%d to %q", done.Code, done.Header().Get("Location"))
	}
	if away := post(s, "/queue/translate.T2/cancel", "back", "https://example.org/"); away.Header().Get("Location") != "/queue" {
		t.Errorf("it leads to %q", away.Header().Get("Location"))
	}
	for path, status := range map[string]int{"/queue/T1/cancel": 409, "/queue/nobody/cancel": 404} {
		for _, a := range []int{call(s, "GET", path, "").Code, post(s, path).Code} {
			if a != status {
				t.Errorf("%s: %d, want %d", path, a, status)
			}
		}
	}
}
