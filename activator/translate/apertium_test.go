package translate

import (
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var record = flag.Bool("record", false, "write the live engine's answers to testdata")

// exchange is one recorded conversation with a real apertium-apy (0.11.7 with
// apertium-eng-spa 0.8.1).
type exchange struct {
	Name   string `json:"name"`
	Text   string `json:"text"`
	Source string `json:"source"`
	Target string `json:"target"`

	Status int    `json:"status"` // of the engine's answer
	Body   string `json:"body"`
}

const recorded = "testdata/apertium.json"

func readExchanges(t *testing.T) []exchange {
	t.Helper()
	content, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	var all []exchange
	if err := json.Unmarshal(content, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRecordedAnswersOfApertiumBecomeTheClients(t *testing.T) {
	want := map[string]string{
		"greeting":       `{"translation":"Hola, cómo eres hoy?","source_lang":"en","target_lang":"es"}`,
		"back":           `{"translation":"The red car","source_lang":"es","target_lang":"en"}`,
		"unknown word":   `{"translation":"El xyzzyfoo sueños.","source_lang":"en","target_lang":"es"}`,
		"markup":         `{"translation":"Un < b & c > d <b>hola</b> [ahora] \\ ^ $ / @","source_lang":"en","target_lang":"es"}`,
		"lines":          `{"translation":"Primera línea\n\nSegunda línea. Título\nEl perro","source_lang":"en","target_lang":"es"}`,
		"other scripts":  `{"translation":"日本語 😀 Perro ☃","source_lang":"en","target_lang":"es"}`,
		"no such pair":   `target_lang: the engine has no pair eng|fra`,
		"no such source": `target_lang: the engine has no pair deu|spa`,
	}
	all := readExchanges(t)
	if len(all) != len(want) {
		t.Errorf("%d recorded exchanges, want %d", len(all), len(want))
	}
	for _, x := range all {
		t.Run(x.Name, func(t *testing.T) {
			req := valid(t, Apertium{}, x.Text, x.Source, x.Target)
			status, answer, err := Apertium{}.Decode(req, x.Status, nil, []byte(x.Body))
			got, wantStatus := string(answer), http.StatusOK
			if err != nil {
				got, wantStatus = err.Error(), http.StatusBadRequest
			}
			if diff := cmp.Diff(want[x.Name], got); diff != "" {
				t.Error(diff)
			}
			if status != wantStatus {
				t.Errorf("status %d, want %d", status, wantStatus)
			}
		})
	}
}

func TestApertiumIsAskedWithAFormInItsOwnCodes(t *testing.T) {
	const text = "50% & more = ñ+\n?"
	method, path, header, body := Apertium{}.Encode(valid(t, Apertium{}, text, "en-GB", "es_MX"))
	if method != http.MethodPost || path != "/translate" || header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("%s %s %v", method, path, header)
	}
	got, err := url.ParseQuery(string(body))
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{"langpair": {"eng|spa"}, "q": {text}, "markUnknown": {"no"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestApertiumDoesNotDetectTheSource(t *testing.T) {
	for _, source := range []string{"", "auto", "Auto"} {
		_, err := Apertium{Pairs: []Pair{{"eng", "spa"}}}.Validate(Request{Text: "x", Source: source, Target: "es"})
		wantField(t, err, FieldSource, "Apertium does not detect the source language")
	}
}

func TestAPairThatIsKnownNotToExistIsRefusedBeforeAnyWake(t *testing.T) {
	a := Apertium{Pairs: []Pair{{"eng", "spa"}, {"spa", "eng_US"}, {"spa", "eng"}}}
	_, err := a.Validate(Request{Text: "x", Source: "en", Target: "fr"})
	wantField(t, err, FieldTarget, "the engine has no pair eng|fra")
	if want := "(allowed: eng|spa, spa|eng, spa|eng_US)"; !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not list the pairs, %s", err, want)
	}
	_, err = a.Validate(Request{Text: "x", Source: "de", Target: "es"})
	wantField(t, err, FieldSource, "the engine has no pair deu|spa")

	for _, c := range []struct{ source, target, langpair, answered string }{
		{"en-GB", "es-MX", "eng|spa", "es"},
		{"es", "en-US", "spa|eng_US", "en-US"},
		{"es", "en-GB", "spa|eng", "en"},
	} {
		req := valid(t, a, "x", c.source, c.target)
		_, _, _, body := a.Encode(req)
		if form, _ := url.ParseQuery(string(body)); form.Get("langpair") != c.langpair || req.Target != c.answered {
			t.Errorf("%s to %s: langpair %s, answered as %s; want %s, %s",
				c.source, c.target, form.Get("langpair"), req.Target, c.langpair, c.answered)
		}
	}
}

func TestATextThatApertiumWouldCutIsRefused(t *testing.T) {
	whole := strings.Repeat("ñ", maxApertiumCharacters)
	if _, err := (Apertium{}).Validate(Request{Text: whole, Source: "es", Target: "en"}); err != nil {
		t.Errorf("%d characters: %v", utf8.RuneCountInString(whole), err)
	}
	_, err := Apertium{}.Validate(Request{Text: whole + "n", Source: "es", Target: "en"})
	wantField(t, err, FieldText, "5519 characters")
}

func TestWhatIsNoAnswerOfApertiumIsTheReplicasFault(t *testing.T) {
	const secret = "the text of the client"
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"timeout of a pipe", 503, `{"status": "error", "code": 503, "message": "Service Unavailable", "explanation": "internal error"}`, "503: Service Unavailable"},
		{"broken", 500, `{"status": "error", "code": 500, "message": "Internal Server Error", "explanation": "Internal Server Error"}`, "500: Internal Server Error"},
		{"quotes the text", 400, `{"status": "error", "code": 400, "message": "Bad Request", "explanation": "Invalid unicode in q: b'` + secret + `'"}`, "400: Bad Request"},
		{"not found", 404, `<html><title>404: Not Found</title><body>404: Not Found</body></html>`, "404: Not Found"},
		{"not JSON", 200, `<html>` + secret, "not JSON"},
		{"empty", 200, ``, "not JSON"},
		{"no data", 200, `{"responseData": null, "responseStatus": 200}`, "no responseData"},
		{"no text", 200, `{"responseData": {}, "responseStatus": 200}`, "no responseData.translatedText"},
		{"refused inside", 200, `{"responseData": {"translatedText": "x"}, "responseStatus": 451}`, "451"},
	} {
		status, answer, err := Apertium{}.Decode(Request{Source: "en", Target: "es"}, c.status, nil, []byte(c.body))
		var fault *AnswerError
		if status != http.StatusBadGateway || answer != nil || !errors.As(err, &fault) {
			t.Errorf("%s: %d %s, error %v; want 502 and an *AnswerError", c.name, status, answer, err)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
}

func TestThePairsOfARealEngineCanBeRead(t *testing.T) {
	const list = `{"responseData": [{"sourceLanguage": "spa", "targetLanguage": "eng"}, {"sourceLanguage": "spa", "targetLanguage": "eng_US"}, {"sourceLanguage": "eng", "targetLanguage": "spa"}], "responseDetails": null, "responseStatus": 200}`
	got, err := ParsePairs([]byte(list))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Pair{{"spa", "eng"}, {"spa", "eng_US"}, {"eng", "spa"}}, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{``, `{"responseData":[{}]}`} {
		if _, err := ParsePairs([]byte(bad)); err == nil {
			t.Errorf("%q was read as a list of pairs", bad)
		}
	}
}
