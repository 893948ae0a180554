package web

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/policies"
)

func TestAWrongPolicyIsRefusedWithAllErrorsAtTheirLines(t *testing.T) {
	s, _, store := newTestServer(t)
	wrong := strings.NewReplacer("max         = 3", "max         = -3", `"30s"`, `"30x"`, "concurrency", "concurency").Replace(translateText)
	w := call(s, "PUT", "/api/v1/policies/translate", wrong, asHCL, takeV1)
	wantStatus(t, w, 422)
	got := map[string]int{}
	for _, e := range decode[Problem](t, w).Errors {
		got[e.Field] = e.Line
		if e.Message == "" || e.Allowed == "" {
			t.Errorf("%s: message %q, allowed %q; want both", e.Field, e.Message, e.Allowed)
		}
	}
	want := map[string]int{"replicas.max": 12, "replicas.concurency": 13, "to_zero.after": 16}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields and lines (-want +got):\n%s", diff)
	}
	if v, err := store.Get(t.Context(), "translate"); err != nil || v.Version != 1 {
		t.Errorf("version %d, %v: want 1 still in force", v.Version, err)
	}
}

func TestTheSecondOfTwoEditorsLosesTheRaceAndIsToldWhoWon(t *testing.T) {
	s, _, store := newTestServer(t)
	first := strings.Replace(translateText, "max         = 3", "max         = 5", 1)
	second := strings.Replace(translateText, "max         = 3", "max         = 7", 1)
	wantStatus(t, call(s, "PUT", "/api/v1/policies/translate?comment=more", first, asHCL, takeV1, "From: grace"), 200)
	w := call(s, "PUT", "/api/v1/policies/translate", second, asHCL, takeV1, "From: ada")
	wantStatus(t, w, 412)
	current := decode[Problem](t, w).Current
	if current == nil || current.Version != 2 || current.Author != "grace" || current.Comment != "more" {
		t.Errorf("current %+v, want version 2 of grace", current)
	}
	if v, err := store.Get(t.Context(), "translate"); err != nil || v.Text != first {
		t.Errorf("in force is not the first editor's text: %v", err)
	}
}

func TestTheETagIsTheVersionInBothFormats(t *testing.T) {
	s, _, _ := newTestServer(t)
	asText := call(s, "GET", "/api/v1/policies/translate", "", "Accept: text/hcl")
	asDocument := call(s, "GET", "/api/v1/policies/translate", "", "Accept: application/json")
	if asText.Header().Get("ETag") != `"1"` || asDocument.Header().Get("ETag") != `"1"` {
		t.Errorf("ETags %s and %s, want both \"1\"", asText.Header().Get("ETag"), asDocument.Header().Get("ETag"))
	}
	if asText.Body.String() != translateText {
		t.Errorf("text is not as it was written:\n%s", asText.Body)
	}
	if p := decode[policies.Policy](t, asDocument); p.Job != "translate-apertium" || p.Replicas.Max != 3 {
		t.Errorf("document: %+v", p)
	}
	wantStatus(t, call(s, "GET", "/api/v1/policies/translate", "", `If-None-Match: "1"`), 304)
	wantStatus(t, call(s, "GET", "/api/v1/policies/translate", "", `If-None-Match: "11"`), 200)
}

func TestAcceptChoosesByQuality(t *testing.T) {
	s, _, _ := newTestServer(t)
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "text/hcl": "text/hcl",
		"text/hcl;q=0.5, application/json": "application/json", "application/json;q=0.1, text/hcl;q=0.9": "text/hcl", "text/hcl;q=0": "application/json",
	} {
		got := call(s, "GET", "/api/v1/policies/translate", "", "Accept: "+accept).Header().Get("Content-Type")
		if !strings.HasPrefix(got, want) {
			t.Errorf("Accept %q: %s, want %s", accept, got, want)
		}
	}
}

func TestADocumentThatWasReadCanBePutBack(t *testing.T) {
	s, _, store := newTestServer(t)
	document := call(s, "GET", "/api/v1/policies/translate", "").Body.String()
	w := call(s, "PUT", "/api/v1/policies/translate", document, asJSON, takeV1)
	wantStatus(t, w, 200)
	list, err := store.Versions(t.Context(), "translate")
	if err != nil {
		t.Fatal(err)
	}
	if changes := policies.Diff(list[1].Policy, list[0].Policy); len(changes) != 0 {
		t.Errorf("putting back what was read changed %v", changes)
	}
}

func TestValidateSaysWhatIsWrongAloneAndWithOthers(t *testing.T) {
	s, services, _ := newTestServer(t)
	verdict := func(name, text string) Verdict {
		t.Helper()
		w := call(s, "POST", "/api/v1/policies/"+name+"/validate", text, asHCL)
		wantStatus(t, w, 200)
		return decode[Verdict](t, w)
	}
	if v := verdict("translate", translateText); !v.Valid || len(v.Errors)+len(v.Warnings) != 0 {
		t.Errorf("the policy in force: %+v", v)
	}
	if v := verdict("translate", strings.Replace(translateText, "job =", "jobb =", 1)); v.Valid || len(v.Errors) == 0 {
		t.Errorf("an unknown field: %+v", v)
	}
	if v := verdict("translate", translateText+translateText); v.Valid {
		t.Errorf("two blocks: %+v", v)
	}
	if v := verdict("other", translateText); v.Valid || v.Errors[0].Line != 2 {
		t.Errorf("a block of another name: %+v", v)
	}
	if v := verdict("other", strings.Replace(translateText, `policy "translate"`, `policy "other"`, 1)); v.Valid {
		t.Errorf("a route that another policy has: %+v", v)
	}
	twin := strings.NewReplacer(`policy "translate"`, `policy "other"`, "/translate", "/other").Replace(translateText)
	if v := verdict("other", twin); v.Valid || v.Errors[0].Field != "job" || v.Errors[0].Line != 3 || !strings.Contains(v.Errors[0].Message, `run by policy "translate" already`) {
		t.Errorf("a job that another policy runs: %+v", v)
	}
	if v := verdict("translate", strings.Replace(translateText, "translate-apertium", "unheard-of", 1)); !v.Valid || len(v.Warnings) != 1 || v.Warnings[0].Field != "job" {
		t.Errorf("an unknown job spec: %+v", v)
	}
	services.set(func(f *fakeServices) { f.statuses = append(f.statuses, readyStatus("translate", time.Now())) })
	if v := verdict("translate", translateText); !v.Valid || len(v.Warnings) != 1 || v.Warnings[0].Field != "to_zero.after" {
		t.Errorf("a keep-alive of 30 s against cold starts of 94 s: %+v", v)
	}
}

func TestDiffNamesTheFieldsThatWouldChange(t *testing.T) {
	s, _, _ := newTestServer(t)
	w := call(s, "POST", "/api/v1/policies/translate/diff", strings.Replace(translateText, "max         = 3", "max         = 5", 1), asHCL)
	want := Difference{Base: 1, Changes: []policies.Change{{Field: "replicas.max", From: "3", To: "5"}}}
	if diff := cmp.Diff(want, decode[Difference](t, w)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := decode[Difference](t, call(s, "POST", "/api/v1/policies/translate/diff", translateText, asHCL)); got.Changes == nil || len(got.Changes) != 0 {
		t.Errorf("no change: %+v, want []", got)
	}
}

func TestRollBackSavesTheOldTextAsTheNewestVersion(t *testing.T) {
	s, _, store := newTestServer(t)
	wantStatus(t, call(s, "PUT", "/api/v1/policies/translate", strings.Replace(translateText, "max         = 3", "max         = 5", 1), asHCL, takeV1), 200)
	w := call(s, "POST", "/api/v1/policies/translate/rollback", `{"version":1}`, asJSON)
	wantStatus(t, w, 200)
	if got := w.Header().Get("ETag"); got != `"3"` {
		t.Errorf("ETag %s, want \"3\"", got)
	}
	if v, err := store.Get(t.Context(), "translate"); err != nil || v.Text != translateText || v.Comment != "roll back to version 1" {
		t.Errorf("in force: %q, %q, %v", v.Text, v.Comment, err)
	}
}

func TestADeletedPolicyCanBeBroughtBackFromItsHistory(t *testing.T) {
	s, _, store := newTestServer(t)
	wantStatus(t, call(s, "DELETE", "/api/v1/policies/translate?comment=unused", "", takeV1), 204)
	wantStatus(t, call(s, "GET", "/api/v1/policies/translate", ""), 404)
	wantStatus(t, call(s, "POST", "/api/v1/policies/translate/rollback", `{"version":1,"comment":"needed after all"}`, asJSON), 200)
	if v, err := store.Get(t.Context(), "translate"); err != nil || v.Text != translateText {
		t.Errorf("%q, %v", v.Text, err)
	}
}

func TestALostRaceNamesTheVersionThatWonHoweverTheTagWasWritten(t *testing.T) {
	for _, tag := range []string{`"7"`, `"7", "8"`, `W/"1"`} {
		s, _, _ := newTestServer(t)
		w := call(s, "PUT", "/api/v1/policies/translate", translateText, asHCL, "If-Match: "+tag)
		wantStatus(t, w, 412)
		if p := decode[Problem](t, w); p.Current == nil || p.Current.Version != 1 {
			t.Errorf("If-Match: %s: %+v, want version 1 named", tag, p)
		}
	}
}

func TestAReadingWithTheTagOfTheVersionInForceIsNotModified(t *testing.T) {
	s, _, _ := newTestServer(t)
	for tag, status := range map[string]int{`"1"`: 304, `W/"1"`: 304, `"7", "1"`: 304, "*": 304, `"11"`: 200, `"7"`: 200, "1": 200} {
		if got := call(s, "GET", "/api/v1/policies/translate", "", "If-None-Match: "+tag).Code; got != status {
			t.Errorf("If-None-Match: %s: %d, want %d", tag, got, status)
		}
	}
}
