package web

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pilotlight/pilotlight/policies"
)

// newerStore holds version 2 of translate as a later version of the program
// would have written it, until somebody saves another one.
type newerStore struct {
	policies.Store
	text string
}

func (s *newerStore) newest(ctx context.Context) (policies.Version, bool) {
	v, err := s.Store.Get(ctx, "translate")
	if err != nil || v.Version != 2 {
		return v, false
	}
	v.Text, v.Policy = s.text, nil
	return v, true
}

func (s *newerStore) unreadable(v policies.Version) error {
	_, err := policies.Parse("", []byte(v.Text))
	return &policies.UnreadableError{Versions: []policies.Version{v}, Err: err}
}

func (s *newerStore) List(ctx context.Context) ([]policies.Version, error) {
	list, err := s.Store.List(ctx)
	v, bad := s.newest(ctx)
	if err != nil || !bad {
		return list, err
	}
	var readable []policies.Version
	for _, other := range list {
		if other.Name != v.Name {
			readable = append(readable, other)
		}
	}
	return readable, s.unreadable(v)
}

func (s *newerStore) Get(ctx context.Context, name string) (policies.Version, error) {
	if v, bad := s.newest(ctx); bad && name == v.Name {
		return v, s.unreadable(v)
	}
	return s.Store.Get(ctx, name)
}

const newerText = "policy \"translate\" {\n  job = \"translate-apertium\"\n  later = 1\n  route { models = [\"m\"] }\n}\n"

// newServerWithANewerPolicy has translate, which is not valid here, and zebra.
func newServerWithANewerPolicy(t *testing.T) (*Server, policies.Store) {
	t.Helper()
	s, _, store := newTestServer(t, func(c *Config) { c.Policies = &newerStore{Store: c.Policies, text: newerText} })
	if _, err := store.Put(t.Context(), "translate", translateText, 1, "eve", ""); err != nil {
		t.Fatal(err)
	}
	zebra := strings.NewReplacer(`"translate"`, `"zebra"`, "/translate", "/zebra", "translate-apertium", "zebra").Replace(translateText)
	if _, err := store.Put(t.Context(), "zebra", zebra, 0, "ada", ""); err != nil {
		t.Fatal(err)
	}
	return s, store
}

func TestAPolicyThatIsNotValidHereIsListedWithItsErrorsBesideTheOthers(t *testing.T) {
	s, _ := newServerWithANewerPolicy(t)
	list := decode[[]PolicyInfo](t, call(s, "GET", "/api/v1/policies", ""))
	if len(list) != 2 || list[0].Name != "translate" || list[1].Name != "zebra" || list[1].Policy == nil || len(list[1].Errors) != 0 {
		t.Fatalf("listed are %+v", list)
	}
	if bad := list[0]; bad.Version != 2 || bad.Policy != nil || len(bad.Errors) == 0 || bad.Errors[0].Line != 3 || bad.Errors[0].Field != "later" {
		t.Errorf("the one that is not valid here: %+v", bad)
	}
	asText := call(s, "GET", "/api/v1/policies", "", "Accept: text/hcl").Body.String()
	if !strings.Contains(asText, newerText) || !strings.Contains(asText, `"zebra"`) {
		t.Errorf("as one document:\n%s", asText)
	}
	for _, path := range []string{"/", "/policies", "/services/translate", "/services/zebra", "/api/v1/services", "/policies/zebra"} {
		wantStatus(t, call(s, "GET", path, ""), 200)
	}
	if page := call(s, "GET", "/policies", "").Body.String(); !strings.Contains(page, "not valid here") {
		t.Error("the page of policies does not say which one is not valid here")
	}
}

func TestAPolicyThatIsNotValidHereIsReadAsTextOnly(t *testing.T) {
	s, _ := newServerWithANewerPolicy(t)
	w := call(s, "GET", "/api/v1/policies/translate", "", "Accept: text/hcl")
	wantStatus(t, w, 200)
	if w.Body.String() != newerText || w.Header().Get("ETag") != `"2"` {
		t.Errorf("ETag %s:\n%s", w.Header().Get("ETag"), w.Body)
	}
	w = call(s, "GET", "/api/v1/policies/translate", "")
	wantStatus(t, w, 500)
	if p := decode[Problem](t, w); p.Type != problemURN+"policy-unreadable" || p.Service != "translate" || len(p.Errors) == 0 || p.Errors[0].Field != "later" {
		t.Errorf("as JSON: %+v", p)
	}
}

func TestAPolicyThatIsNotValidHereCanBePutRightInTheEditor(t *testing.T) {
	s, store := newServerWithANewerPolicy(t)
	w := call(s, "GET", "/policies/translate", "")
	wantStatus(t, w, 200)
	page := w.Body.String()
	if textOf(t, page) != newerText || !strings.Contains(page, `name="base" value="2"`) {
		t.Error("the editor does not begin with the stored text")
	}
	for _, want := range []string{"not valid in this version", "later", `class="wrong"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the editor does not say %q", want)
		}
	}
	wantStatus(t, post(s, "/policies/translate", "base", "2", "text", newerText, "do", "save"), 422)
	wantStatus(t, post(s, "/policies/translate", "base", "2", "text", translateText, "do", "check"), 200)
	wantStatus(t, post(s, "/policies/translate", "base", "2", "text", translateText, "do", "save"), 303)
	if v, err := store.Get(t.Context(), "translate"); err != nil || v.Version != 3 || v.Text != translateText {
		t.Errorf("saved is %+v, %v", v, err)
	}
	if page := call(s, "GET", "/policies/translate", "").Body.String(); strings.Contains(page, "not valid in this version") {
		t.Error("the editor still says so after the policy was put right")
	}
}

func TestAPolicyThatIsNotValidHereCanBeDeleted(t *testing.T) {
	s, store := newServerWithANewerPolicy(t)
	wantStatus(t, call(s, "DELETE", "/api/v1/policies/translate", "", "If-Match: *"), 204)
	if _, err := store.Get(t.Context(), "translate"); !errors.Is(err, policies.ErrNotFound) {
		t.Errorf("after its deletion: %v", err)
	}
}
