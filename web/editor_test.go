package web

import (
	"html"
	"regexp"
	"strings"
	"testing"
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
	wantStatus(t, post(s, "/policies/translate/rollback", "version", "1", "base", "2", "comment", "too much", "by", "ada"), 303)
	if v, err := store.Get(t.Context(), "translate"); err != nil || v.Version != 3 || v.Text != translateText || v.Comment != "too much" {
		t.Errorf("in force %+v, %v", v, err)
	}
	wantStatus(t, post(s, "/policies/translate/rollback", "version", "1", "base", "2"), 412)
}
