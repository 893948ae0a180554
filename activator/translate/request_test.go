package translate

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParseReadsTheFieldsAndKeepsTheBody(t *testing.T) {
	const body = `{"text":"Hello <b>\u00e9</b>","source_lang":"en","target_lang":"es","format":"html","nested":{"text":1}}`
	got, err := Parse([]byte(body), Limits{MaxTextBytes: 15})
	if err != nil {
		t.Fatal(err)
	}
	want := Request{Text: "Hello <b>é</b>", Source: "en", Target: "es", Raw: []byte(body)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseLeavesTheSourceToBeDetected(t *testing.T) {
	for _, body := range []string{
		`{"text":"x","target_lang":"es"}`,
		`{"text":"x","target_lang":"es","source_lang":null}`,
		`{"text":"x","target_lang":"es","source_lang":""}`,
		`{"text":"x","target_lang":"es","source_lang":"auto"}`,
		`{"text":"x","target_lang":"es","source_lang":"AUTO"}`,
	} {
		req, err := Parse([]byte(body), Limits{})
		if err != nil || !req.Detects() {
			t.Errorf("%s: %+v, error %v; want a source to detect", body, req, err)
		}
	}
}

func TestParseNamesTheFieldThatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       FieldError // Message and Allowed: a part of them
	}{
		{"empty body", ``, FieldError{"body", "it is empty", ""}},
		{"cut off", `{"text":"x",`, FieldError{"body", "unexpected end of JSON input at byte 12", ""}},
		{"not JSON", `text=x&target_lang=es`, FieldError{"body", "at byte 2", ""}},
		{"two values", `{"text":"x","target_lang":"es"} {}`, FieldError{"body", "at byte 33", ""}},
		{"trailing comma", `{"text":"x","target_lang":"es",}`, FieldError{"body", "at byte 32", ""}},
		{"array", `["x"]`, FieldError{"body", "must be a JSON object, not an array", ""}},
		{"string", ` "x"`, FieldError{"body", "must be a JSON object, not a string", ""}},
		{"null", `null`, FieldError{"body", "must be a JSON object, not null", ""}},
		{"invalid UTF-8", "{\"text\":\"\xff\",\"target_lang\":\"es\"}", FieldError{"body", "UTF-8", ""}},
		{"no text", `{"target_lang":"es"}`, FieldError{"text", "is required", ""}},
		{"null text", `{"text":null,"target_lang":"es"}`, FieldError{"text", "is required", ""}},
		{"text in capitals", `{"TEXT":"x","target_lang":"es"}`, FieldError{"text", "is required", ""}},
		{"empty text", `{"text":"","target_lang":"es"}`, FieldError{"text", "must not be empty", ""}},
		{"blank text", `{"text":" \n\t","target_lang":"es"}`, FieldError{"text", "must not be empty", ""}},
		{"number for text", `{"text":5,"target_lang":"es"}`, FieldError{"text", "must be a string, not a number", ""}},
		{"list for text", `{"text":["x"],"target_lang":"es"}`, FieldError{"text", "must be a string, not an array", ""}},
		{"text twice", `{"text":"x","target_lang":"es","text":"y"}`, FieldError{"text", "is given twice", ""}},
		{"text twice, once escaped", `{"text":"x","target_lang":"es","te\u0078t":"y"}`, FieldError{"text", "is given twice", ""}},
		{"text too long", `{"text":"éééé","target_lang":"es"}`, FieldError{"text", "is 8 bytes long", "at most 7 bytes"}},
		{"no target", `{"text":"x"}`, FieldError{"target_lang", "is required", ""}},
		{"empty target", `{"text":"x","target_lang":""}`, FieldError{"target_lang", "must not be empty", "BCP 47"}},
		{"boolean target", `{"text":"x","target_lang":true}`, FieldError{"target_lang", "must be a string, not a boolean", ""}},
		{"auto target", `{"text":"x","target_lang":"auto"}`, FieldError{"target_lang", `"auto" is not a well-formed`, "BCP 47"}},
		{"ill-formed target", `{"text":"x","target_lang":"e n"}`, FieldError{"target_lang", `"e n" is not a well-formed`, "BCP 47"}},
		{"name of a language", `{"text":"x","target_lang":"spanish"}`, FieldError{"target_lang", `"spanish" is not a well-formed`, "BCP 47"}},
		{"unknown target", `{"text":"x","target_lang":"xx"}`, FieldError{"target_lang", `"xx" is not a known language code`, ""}},
		{"undetermined target", `{"text":"x","target_lang":"und"}`, FieldError{"target_lang", "not a known", ""}},
		{"private target", `{"text":"x","target_lang":"x-foo"}`, FieldError{"target_lang", "not a known", ""}},
		{"ill-formed source", `{"text":"x","target_lang":"es","source_lang":"en--US"}`, FieldError{"source_lang", "not a well-formed", "BCP 47"}},
		{"unknown source", `{"text":"x","target_lang":"es","source_lang":"qx"}`, FieldError{"source_lang", "not a known", ""}},
		{"object for source", `{"text":"x","target_lang":"es","source_lang":{}}`, FieldError{"source_lang", "must be a string, not an object", ""}},
		{"source twice", `{"text":"x","target_lang":"es","source_lang":"en","source_lang":"fr"}`, FieldError{"source_lang", "is given twice", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.body), Limits{MaxTextBytes: 7})
			var got *FieldError
			if !errors.As(err, &got) {
				t.Fatalf("error %v, want a *FieldError", err)
			}
			if got.Field != c.want.Field || !strings.Contains(got.Message, c.want.Message) || !strings.Contains(got.Allowed, c.want.Allowed) {
				t.Errorf("got %+v, want %+v", *got, c.want)
			}
		})
	}
}

func TestALongCodeIsNotQuoted(t *testing.T) {
	_, err := Parse([]byte(`{"text":"x","target_lang":"`+strings.Repeat("en-", 1000)+`"}`), Limits{})
	if err == nil || len(err.Error()) > 200 {
		t.Errorf("error %v; want a short one", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"text":"Hello","source_lang":"en","target_lang":"es"}`,
		`{"text":"Hello","source_lang":"auto","target_lang":"zh_CN","x":[{"y":null}]}`,
		`{"te\u0078t":"\ud800","target_lang":"i-klingon"}`,
		`{"text":"x","text":"y","target_lang":"es"}`,
		`[]`, `{`, "\xff", `{"text":1e999,"target_lang":"es"}`,
	} {
		f.Add([]byte(seed))
	}
	adapters := []Adapter{Passthrough{}, Completions{}, Apertium{}, Apertium{Pairs: []Pair{{"eng", "spa"}}}}
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := Parse(body, Limits{MaxTextBytes: 1000})
		if err != nil {
			var field *FieldError
			if !errors.As(err, &field) || field.Field == "" || field.Message == "" {
				t.Fatalf("%v is no whole *FieldError", err)
			}
			return
		}
		// What Parse accepts, the standard library reads in the same way.
		var fields map[string]any
		if err := json.Unmarshal(body, &fields); err != nil {
			t.Fatalf("accepted what is not JSON: %v", err)
		}
		if fields["text"] != req.Text || fields["target_lang"] != req.Target {
			t.Fatalf("read %+v from %s", req, body)
		}
		if len(req.Text) > 1000 || strings.TrimSpace(req.Text) == "" {
			t.Fatalf("accepted a text of %d bytes", len(req.Text))
		}
		for _, a := range adapters {
			valid, err := a.Validate(req)
			if err != nil {
				var field *FieldError
				if !errors.As(err, &field) {
					t.Fatalf("%s: %v is no *FieldError", a.Name(), err)
				}
				continue
			}
			method, path, _, encoded := a.Encode(valid)
			if method != "POST" || path == "" || !utf8.Valid(encoded) {
				t.Fatalf("%s: %s %s %q", a.Name(), method, path, encoded)
			}
			again, err := a.Validate(valid)
			if err != nil {
				t.Fatalf("%s: refuses %+v, which it returned itself: %v", a.Name(), valid, err)
			}
			if diff := cmp.Diff(valid, again); diff != "" {
				t.Fatalf("%s: validating twice changes the request: %s", a.Name(), diff)
			}
		}
	})
}
