package translate

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestForNamesTheBackendsThatThereAre(t *testing.T) {
	for _, name := range []string{"passthrough", "completions", "apertium"} {
		if a, err := For(name, "m"); err != nil || a.Name() != name {
			t.Errorf("%s: %v, error %v", name, a, err)
		}
	}
	if _, err := For("google", ""); err == nil || !strings.Contains(err.Error(), "passthrough, completions, apertium") {
		t.Errorf("error %v; want the list of backends", err)
	}
}

func TestPassthroughForwardsBodyAndAnswerUnchanged(t *testing.T) {
	const body = ` {"target_lang":"zh_CN","text":"\u0048i","extra":[1]}`
	req, err := Parse([]byte(body), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if req, err = (Passthrough{}).Validate(req); err != nil {
		t.Fatal(err)
	}
	_, path, _, encoded := Passthrough{}.Encode(req)
	if path != "/translate" || string(encoded) != body {
		t.Errorf("%s %s, want the body unchanged", path, encoded)
	}
	status, answer, err := Passthrough{}.Decode(req, 418, nil, []byte("teapot"))
	if status != 418 || string(answer) != "teapot" || err != nil {
		t.Errorf("%d %s, error %v; want the answer unchanged", status, answer, err)
	}
	_, _, _, built := Passthrough{}.Encode(Request{Text: "<hi>", Target: "es"})
	if want := `{"text":"<hi>","target_lang":"es"}`; string(built) != want {
		t.Errorf("built %s, want %s", built, want)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"choices":[{"text":"Hola","finish_reason":"stop"}]}`, `{"choices":[{"text":"<end_of_turn>"}]}`,
		`{"responseData":{"translatedText":"Hola"},"responseStatus":200}`, `{"responseData":null}`,
		`{"status":"error","code":400,"explanation":"That pair is not installed"}`, `null`, `[]`, "\xff",
	} {
		f.Add(200, []byte(seed))
		f.Add(400, []byte(seed))
	}
	req := Request{Text: "Hello", Source: "en", Target: "es"}
	adapters := []Adapter{Completions{}, Apertium{}, Apertium{Pairs: []Pair{{"spa", "eng"}}}}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		for _, a := range adapters {
			out, answer, err := a.Decode(req, status, nil, body)
			var field *FieldError
			var fault *AnswerError
			switch {
			case err == nil && out == http.StatusOK && status == http.StatusOK:
				var got translation
				if err := json.Unmarshal(answer, &got); err != nil || got.SourceLang != "en" || got.TargetLang != "es" {
					t.Fatalf("%s: answer %s, error %v", a.Name(), answer, err)
				}
			case errors.As(err, &field) && out == http.StatusBadRequest && answer == nil:
			case errors.As(err, &fault) && out == http.StatusBadGateway && answer == nil:
			default:
				t.Fatalf("%s: %d %s, error %v", a.Name(), out, answer, err)
			}
		}
	})
}
