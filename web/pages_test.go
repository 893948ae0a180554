package web

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

const asForm = "Content-Type: application/x-www-form-urlencoded"

// post sends a form of name, value pairs.
func post(s *Server, target string, pairs ...string) *httptest.ResponseRecorder {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return call(s, "POST", target, form.Encode(), asForm)
}

// lived is a server on which something has happened.
func lived(t *testing.T) (*Server, *fakeServices, policies.Store) {
	t.Helper()
	s, services, store := newTestServer(t)
	now := time.Now()
	services.set(func(f *fakeServices) {
		f.statuses = []jobs.Status{readyStatus("translate", now)}
		f.starts = []jobs.ColdStart{coldStart("translate", "one", now.Add(-time.Minute), 1, 20, 0, 110, 3000, 2, 80)}
		f.decided = []decide.Decision{{Service: "translate", At: now, From: 0, To: 1, Rule: "backlog", Reason: "3 held", Inputs: map[string]any{"a": 3.0}}}
		f.points["translate"] = []jobs.Point{{At: now, Wanted: 1, Ready: 1, InFlight: 2}}
	})
	return s, services, store
}

var pagePaths = []string{"/", "/?state=ready&sort=-held&q=tr", "/services/translate", "/services/translate?range=1h", "/services/translate/sleep",
	"/services/translate/pin", "/cold-starts", "/cold-starts?service=translate&sort=slowest", "/decisions", "/queue", "/queue?service=translate&state=held", "/policies", "/policies/translate",
	"/policies/brand-new", "/policies/translate/history"}

func TestEveryPageAnswersWithAndWithoutData(t *testing.T) {
	withData, _, _ := lived(t)
	without, _, _ := newTestServer(t)
	for _, s := range []*Server{withData, without} {
		for _, path := range pagePaths {
			w := call(s, "GET", path, "")
			if w.Code != 200 || !strings.Contains(w.Body.String(), "</html>") {
				t.Errorf("%s: %d, whole page %v", path, w.Code, strings.Contains(w.Body.String(), "</html>"))
			}
		}
	}
}

func TestWhatIsNotThereIsAPageWith404(t *testing.T) {
	s, _, _ := lived(t)
	for _, path := range []string{"/nothing", "/services/nobody", "/services/translate/explode", "/policies/NOT-A-NAME", "/policies/nobody/history", "/static/x/nothing.js"} {
		w := call(s, "GET", path, "")
		if w.Code != 404 || !strings.Contains(w.Body.String(), "<h1>Not Found</h1>") {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

var link = regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)

func TestEveryLinkOnEveryPageLeadsSomewhere(t *testing.T) {
	s, _, _ := lived(t)
	tried := map[string]bool{}
	for _, path := range pagePaths {
		for _, found := range link.FindAllStringSubmatch(call(s, "GET", path, "").Body.String(), -1) {
			target := strings.ReplaceAll(found[1], "&amp;", "&")
			if strings.HasPrefix(target, "#") || tried[target] {
				continue
			}
			tried[target] = true
			if w := call(s, "GET", target, ""); w.Code >= 400 && w.Code != 405 { // 405: a form's address
				t.Errorf("%s links to %s: %d", path, target, w.Code)
			}
		}
	}
	if len(tried) < 20 {
		t.Errorf("only %d links were found: does the test still look for them?", len(tried))
	}
}

func TestNoPageHasInlineScriptOrStyle(t *testing.T) {
	s, _, _ := lived(t)
	inline := regexp.MustCompile(`(?i)<script(?:\s+[^>]*)?>[^<]|<style|\sstyle=|\son[a-z]+=|javascript:`)
	for _, path := range pagePaths {
		if found := inline.FindString(call(s, "GET", path, "").Body.String()); found != "" {
			t.Errorf("%s has %q, which the content security policy blocks", path, found)
		}
	}
}

func TestTextFromPeopleAndTasksCannotLeaveItsPlace(t *testing.T) {
	const attack = `</textarea></code><script>alert(1)</script>"'><img src=x>`
	s, services, store := lived(t)
	services.set(func(f *fakeServices) {
		status := readyStatus("translate", time.Now())
		status.State, status.Blocked, status.Reason = jobs.StateBlocked, ptr(attack), attack
		status.Replicas.List[0].Failure, status.Replicas.List[0].Node = attack, attack
		f.statuses = []jobs.Status{status}
		f.starts[0].Failure, f.starts[0].Outcome, f.starts[0].Reason = attack, attack, attack
		f.decided[0].Reason, f.decided[0].Rule, f.decided[0].Inputs = attack, attack, map[string]any{attack: attack}
	})
	if _, err := store.Put(t.Context(), "translate", "# "+attack+"\n"+translateText, 1, attack, attack); err != nil {
		t.Fatal(err)
	}
	answers := []*httptest.ResponseRecorder{
		post(s, "/policies/translate", "base", "2", "text", attack, "comment", attack, "by", attack, "do", "check"),
		post(s, "/policies/translate", "base", "1", "text", translateText+"# "+attack, "comment", attack, "do", "save"),
		post(s, "/services/translate/pin", "replicas", "99", "reason", attack, "by", attack, "back", `"><script>`),
		call(s, "GET", "/cold-starts?service="+url.QueryEscape(attack), ""),
		call(s, "GET", "/?q="+url.QueryEscape(attack), ""),
		call(s, "GET", "/policies?new="+url.QueryEscape(attack), ""),
	}
	for _, path := range pagePaths {
		answers = append(answers, call(s, "GET", path, ""))
	}
	for i, w := range answers {
		if body := w.Body.String(); strings.Contains(body, "<script>") || strings.Contains(body, "<img") || strings.Count(body, "</textarea>") > 1 {
			t.Errorf("answer %d (status %d) has the text unescaped", i, w.Code)
		}
	}
}

func TestUnknownIsADashWithItsReasonAndNeverZero(t *testing.T) {
	s, _, _ := newTestServer(t)
	body := call(s, "GET", "/", "").Body.String()
	row := body[strings.Index(body, `data-key="translate"`):]
	row = row[:strings.Index(row, "</tr>")]
	if got := strings.Count(row, `>–</span>`); got != 7 {
		t.Errorf("%d unknown figures in the row, want 7:\n%s", got, row)
	}
	if strings.Contains(row, ">0<") {
		t.Errorf("the row says 0:\n%s", row)
	}
	if got := regexp.MustCompile(`class="fig unknown" title="[^"]+"`).FindAllString(row, -1); len(got) != 7 {
		t.Errorf("%d of them say why, want 7", len(got))
	}
}

func TestTheFleetIsFilteredAndSortedByTheURL(t *testing.T) {
	s, services, store := newTestServer(t)
	for i, name := range []string{"alpha", "beta", "gamma"} {
		text := strings.NewReplacer(`"translate"`, `"`+name+`"`, "/translate", "/"+name, "translate-apertium", "job-of-"+name).Replace(translateText)
		if _, err := store.Put(t.Context(), name, text, 0, "ada", ""); err != nil {
			t.Fatal(err)
		}
		status := readyStatus(name, time.Now())
		status.Demand.Held = []int{2, 9, 4}[i]
		if name == "gamma" {
			status.State = jobs.StateBlocked
		}
		services.set(func(f *fakeServices) { f.statuses = append(f.statuses, status) })
	}
	names := regexp.MustCompile(`data-key="([^"]+)"`)
	for query, want := range map[string][]string{
		"":               {"alpha", "beta", "gamma", "translate"},
		"?sort=-name":    {"translate", "gamma", "beta", "alpha"},
		"?sort=-held":    {"beta", "gamma", "alpha", "translate"},
		"?state=blocked": {"gamma"},
		"?q=a&sort=held": {"translate", "alpha", "gamma", "beta"},
		"?q=nothing":     nil,
	} {
		var got []string
		for _, found := range names.FindAllStringSubmatch(call(s, "GET", "/"+query, "").Body.String(), -1) {
			got = append(got, found[1])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("/%s (-want +got):\n%s", query, diff)
		}
	}
}

func TestAFirstViewOf200ServicesWeighsLessThan100KB(t *testing.T) {
	s, services, store := newTestServer(t)
	for i := range 200 {
		name := fmt.Sprintf("service-%03d", i)
		text := strings.NewReplacer(`"translate"`, `"`+name+`"`, "/translate", "/"+name, "translate-apertium", "job-of-"+name).Replace(translateText)
		if _, err := store.Put(t.Context(), name, text, 0, "ada", ""); err != nil {
			t.Fatal(err)
		}
		services.set(func(f *fakeServices) { f.statuses = append(f.statuses, readyStatus(name, time.Now())) })
	}
	w := call(s, "GET", "/", "", "Accept-Encoding: gzip")
	if w.Header().Get("Content-Encoding") != "gzip" {
		t.Fatal("the page is not compressed")
	}
	weight := w.Body.Len()
	page, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	html, err := io.ReadAll(page)
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Count(html, []byte("data-key=")); got != 201 {
		t.Fatalf("%d rows, want 201", got)
	}
	for _, file := range []string{"app.css", "app.js", "live.js", "morph.js", "favicon.svg"} {
		w := call(s, "GET", s.assets.base+file, "", "Accept-Encoding: gzip")
		wantStatus(t, w, 200)
		weight += w.Body.Len()
	}
	t.Logf("%d bytes", weight)
	if weight >= 100_000 {
		t.Errorf("the first view weighs %d bytes, want below 100,000", weight)
	}
}

func TestWhenTheStoreIsSilentThePageShowsTheLastPictureAndItsAge(t *testing.T) {
	s, services, _ := lived(t)
	wantStatus(t, call(s, "GET", "/", ""), 200)
	services.set(func(f *fakeServices) { f.err = io.ErrUnexpectedEOF })
	for _, path := range []string{"/", "/services/translate"} {
		body := call(s, "GET", path, "").Body.String()
		if !strings.Contains(body, "The store does not answer") || !strings.Contains(body, "translate") {
			t.Errorf("%s does not show the old picture as old", path)
		}
	}
	never, services, _ := newTestServer(t)
	services.set(func(f *fakeServices) { f.err = io.ErrUnexpectedEOF })
	wantStatus(t, call(never, "GET", "/", ""), 503)
}

func TestTheEmptyFleetTeachesHowToMakeAPolicy(t *testing.T) {
	s, _, _ := newTestServer(t, func(c *Config) { c.Policies = policies.NewMemory() })
	body := call(s, "GET", "/", "").Body.String()
	for _, want := range []string{"policies/examples/translate.hcl", "pilotlight policy validate", "pilotlight policy apply"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
}

func TestACommandIsConfirmedWithWhatItWillDoAndThenCarriedOut(t *testing.T) {
	s, services, _ := lived(t)
	body := call(s, "GET", "/services/translate/sleep?back=/", "").Body.String()
	if want := "2 requests in flight will finish first, up to 5 min."; !strings.Contains(body, want) {
		t.Errorf("the confirmation lacks %q", want)
	}
	w := post(s, "/services/translate/sleep", "reason", "night", "by", "ada", "back", "/?state=ready")
	wantStatus(t, w, 303)
	if got := w.Header().Get("Location"); got != "/?state=ready" {
		t.Errorf("leads to %s", got)
	}
	if got := services.commands["translate"]; len(got) != 1 || got[0].Verb != jobs.VerbSleep || got[0].Reason != "night" || got[0].By != "ada" {
		t.Errorf("commands %+v", got)
	}
	for _, back := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, ""} {
		if got := post(s, "/services/translate/wake", "reason", "r", "back", back).Header().Get("Location"); got != "/services/translate" {
			t.Errorf("back %q leads to %s", back, got)
		}
	}
	if w := post(s, "/services/translate/pin", "reason", "r", "replicas", "9"); w.Code != 422 || !strings.Contains(w.Body.String(), "0 to 3") {
		t.Errorf("a pin above max: %d", w.Code)
	}
	before := len(services.commands["translate"])
	w = post(s, "/services/translate/pause", "reason", " ", "by", "ada")
	if got := w.Body.String(); w.Code != 422 || !strings.Contains(got, "reason: is required") || !strings.Contains(got, `value="ada"`) {
		t.Errorf("a command without a reason: %d\n%s", w.Code, got)
	}
	if n := len(services.commands["translate"]); n != before {
		t.Error("it was carried out")
	}
}
