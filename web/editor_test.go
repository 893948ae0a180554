package web

import (
	"context"
	"html"
	"regexp"
	"strings"
	"testing"

	"github.com/pilotlight/pilotlight/policies"
)

var textarea = regexp.MustCompile(`(?s)<textarea[^>]*>\n(.*?)</textarea>`)

func textOf(t *testing.T, body string) string {
	t.Helper()
	found := textarea.FindStringSubmatch(body)
	if found == nil {
		t.Fatal("the page has no text to edit")
	}
	return html.UnescapeString(found[1])
}

func TestTheEditorShowsThePolicyAsItWasWritten(t *testing.T) {
	s, _, _ := newTestServer(t)
	if got := textOf(t, call(s, "GET", "/policies/translate", "").Body.String()); got != translateText {
		t.Errorf("text is\n%s", got)
	}
}

func TestAWrongTextIsKeptWithItsErrorsAtTheirLines(t *testing.T) {
	s, _, store := newTestServer(t)
	wrong := strings.Replace(translateText, "max         = 3", "max         = -3", 1)
	for do, status := range map[string]int{"check": 200, "save": 422} {
		w := post(s, "/policies/translate", "base", "1", "text", wrong, "do", do, "comment", "my reason", "by", "ada")
		wantStatus(t, w, status)
		body := w.Body.String()
		if textOf(t, body) != wrong || !strings.Contains(body, `value="my reason"`) || !strings.Contains(body, `value="ada"`) {
			t.Errorf("%s: what was typed is not kept", do)
		}
		if !strings.Contains(body, `data-line="12"`) || !strings.Contains(body, `<li class="wrong">12</li>`) || strings.Count(body, `class="wrong"`) != 1 {
			t.Errorf("%s: line 12, and only it, is not marked", do)
		}
	}
	if v, err := store.Get(t.Context(), "translate"); err != nil || v.Version != 1 {
		t.Errorf("version %d in force, want 1", v.Version)
	}
}

func TestASavedPolicyIsInForceWithItsReasonAndAuthor(t *testing.T) {
	s, _, store := newTestServer(t)
	better := strings.Replace(translateText, "max         = 3", "max         = 4", 1)
	w := post(s, "/policies/translate", "base", "1", "text", strings.ReplaceAll(better, "\n", "\r\n"), "do", "save", "comment", "lunch", "by", "ada")
	wantStatus(t, w, 303)
	if got := w.Header().Get("Location"); got != "/policies/translate?saved=2" {
		t.Errorf("leads to %s", got)
	}
	v, err := store.Get(t.Context(), "translate")
	if err != nil || v.Text != better || v.Author != "ada" || v.Comment != "lunch" {
		t.Errorf("saved %+v, %v", v, err)
	}
	if cookie := w.Header().Get("Set-Cookie"); !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Strict") {
		t.Errorf("cookie %q", cookie)
	}
}

func TestALostRaceShowsBothChangesAndKeepsTheText(t *testing.T) {
	s, _, store := newTestServer(t)
	theirs := strings.Replace(translateText, "max         = 3", "max         = 5", 1)
	mine := strings.Replace(translateText, `"30s"`, `"45s"`, 1)
	if _, err := store.Put(t.Context(), "translate", theirs, 1, "grace", "more room"); err != nil {
		t.Fatal(err)
	}
	w := post(s, "/policies/translate", "base", "1", "text", mine, "do", "save", "comment", "longer", "by", "ada")
	wantStatus(t, w, 409)
	body := w.Body.String()
	if textOf(t, body) != mine {
		t.Error("the text is lost")
	}
	plain := html.UnescapeString(body)
	for _, want := range []string{"grace saved version 2 meanwhile", "more room", "max         = 5", `after = "45s"`, "Save mine over version 2", `name="base" value="2"`} {
		if !strings.Contains(plain, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if v, err := store.Get(t.Context(), "translate"); err != nil || v.Text != theirs {
		t.Error("the other's change was overwritten")
	}
	wantStatus(t, post(s, "/policies/translate", "base", "2", "text", mine, "do", "save"), 303)
}

func TestSavingOverADeletionIsAConflictThatCanCreateItAgain(t *testing.T) {
	s, _, store := newTestServer(t)
	if _, err := store.Delete(t.Context(), "translate", 1, "grace", "unused"); err != nil {
		t.Fatal(err)
	}
	mine := strings.Replace(translateText, `"30s"`, `"45s"`, 1)
	w := post(s, "/policies/translate", "base", "1", "text", mine, "do", "save")
	wantStatus(t, w, 409)
	if body := w.Body.String(); !strings.Contains(body, "grace deleted this policy meanwhile") || !strings.Contains(body, `name="base" value="0"`) || textOf(t, body) != mine {
		t.Error("the deletion is not told, or the text is lost")
	}
	wantStatus(t, post(s, "/policies/translate", "base", "0", "text", mine, "do", "save"), 303)
}

func TestTwoPeopleWhoCreateTheSamePolicyMeetInAConflict(t *testing.T) {
	s, _, _ := newTestServer(t)
	w := post(s, "/policies/translate", "base", "0", "text", translateText+"# mine\n", "do", "save")
	wantStatus(t, w, 409)
	if !strings.Contains(w.Body.String(), "ada saved version 1 meanwhile") {
		t.Error("the other's version is not shown")
	}
}

func TestANewPolicyBeginsWithATextThatIsValid(t *testing.T) {
	s, _, _ := newTestServer(t)
	wantStatus(t, call(s, "GET", "/policies?new=brand-new", ""), 303)
	text := textOf(t, call(s, "GET", "/policies/brand-new", "").Body.String())
	if _, err := parseDraft("brand-new", text); err != nil {
		t.Errorf("the first text is wrong: %v", err)
	}
	wantStatus(t, post(s, "/policies/brand-new", "base", "0", "text", text, "do", "save"), 303)
	if w := call(s, "GET", "/policies?new=Not+A+Name", ""); w.Code != 422 || !strings.Contains(w.Body.String(), `value="Not A Name"`) {
		t.Errorf("a wrong name: %d", w.Code)
	}
}

func TestHistoryComparesVersionsAndRollsBack(t *testing.T) {
	s, _, store := newTestServer(t)
	if _, err := store.Put(t.Context(), "translate", strings.Replace(translateText, "max         = 3", "max         = 5", 1), 1, "grace", "more room"); err != nil {
		t.Fatal(err)
	}
	body := html.UnescapeString(call(s, "GET", "/policies/translate/history", "").Body.String())
	for _, want := range []string{"grace", "more room", "Version 1 → 2", "max         = 5", "replicas.max"} {
		if !strings.Contains(body, want) {
			t.Errorf("history lacks %q", want)
		}
	}
	if !strings.Contains(body, "<option>1</option>") || strings.Contains(body, "<option>2</option>") {
		t.Error("version 1, and only it, is not offered to roll back to")
	}
	body = html.UnescapeString(call(s, "GET", "/policies/translate?version=1", "").Body.String())
	if textOf(t, body) != translateText {
		t.Error("the text of version 1 is not in the editor")
	}
	for _, want := range []string{"the text of version 1", "by ada", "“first”", "Against version 2", "Roll back to version 1", `value="roll back to version 1"`, `name="base" value="2"`,
		`<code>replicas.max</code> <del>5</del> → <ins>3</ins>`} {
		if !strings.Contains(body, want) {
			t.Errorf("the editor lacks %q", want)
		}
	}
	if v, err := store.Get(t.Context(), "translate"); err != nil || v.Version != 2 {
		t.Errorf("looking at it has changed it: version %d, %v", v.Version, err)
	}
	wantStatus(t, post(s, "/policies/translate", "base", "2", "text", translateText, "do", "save", "comment", "too much", "by", "ada"), 303)
	if v, err := store.Get(t.Context(), "translate"); err != nil || v.Version != 3 || v.Text != translateText || v.Comment != "too much" {
		t.Errorf("in force %+v, %v", v, err)
	}
	for _, version := range []string{"9", "0", "x"} {
		wantStatus(t, call(s, "GET", "/policies/translate?version="+version, ""), 404)
	}
}

func TestADeletedPolicyIsRolledBackByCreatingIt(t *testing.T) {
	s, _, store := newTestServer(t)
	if _, err := store.Delete(t.Context(), "translate", 1, "grace", ""); err != nil {
		t.Fatal(err)
	}
	body := call(s, "GET", "/policies/translate?version=1", "").Body.String()
	if textOf(t, body) != translateText || !strings.Contains(body, `name="base" value="0"`) || !strings.Contains(body, "Roll back to version 1") {
		t.Error("the editor does not offer version 1 to begin with")
	}
	wantStatus(t, call(s, "GET", "/policies/translate?version=2", ""), 404) // the deletion has no text
}

func TestAVersionThatIsNotValidAnyMoreOpensWithItsErrorsAndIsNotSaved(t *testing.T) {
	old := strings.Replace(translateText, "max         = 3", "max         = 3\n    queue       = 9", 1)
	s, _, store := newTestServer(t, func(c *Config) { c.Policies = agedStore{c.Policies, old} })
	wantStatus(t, call(s, "PUT", "/api/v1/policies/translate", "# new\n"+translateText, asHCL, takeV1), 200)
	body := html.UnescapeString(call(s, "GET", "/policies/translate?version=1", "").Body.String())
	if textOf(t, body) != old || !strings.Contains(body, `<li data-line="13">`) || !strings.Contains(body, "replicas.queue") || !strings.Contains(body, `<li class="wrong">13</li>`) {
		t.Errorf("the editor does not show what is wrong with it:\n%s", body)
	}
	wantStatus(t, post(s, "/policies/translate", "base", "2", "text", old, "do", "save"), 422)
	w := call(s, "POST", "/api/v1/policies/translate/rollback", `{"version":1}`, asJSON)
	wantStatus(t, w, 422)
	if p := decode[Problem](t, w); len(p.Errors) != 1 || p.Errors[0].Line != 13 || p.Errors[0].Field != "replicas.queue" {
		t.Errorf("the API says %+v", p)
	}
	if v, err := store.Get(t.Context(), "translate"); err != nil || v.Version != 2 {
		t.Errorf("version %d in force, %v; want 2", v.Version, err)
	}
}

// agedStore has a first version that an earlier version of the program took.
type agedStore struct {
	policies.Store
	first string
}

func (s agedStore) Versions(ctx context.Context, name string) ([]policies.Version, error) {
	list, err := s.Store.Versions(ctx, name)
	for i := range list {
		if list[i].Version == 1 {
			list[i].Text, list[i].Policy = s.first, nil
		}
	}
	return list, err
}
