package stub

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// phrases are translated properly, so that a demo looks like one; everything else
// is echoed behind its target language.
var phrases = map[string]map[string]string{
	"es": {
		"hello":                     "hola",
		"hello, how are you today?": "hola, ¿cómo estás hoy?",
		"good morning":              "buenos días",
		"thank you":                 "gracias",
	},
	"en": {
		"hola":  "hello",
		"adiós": "goodbye",
	},
}

// fakeTranslation is the same for the same text and target, at any replica.
func fakeTranslation(text, target string) string {
	trimmed := strings.TrimSpace(text)
	lower := strings.ToLower(trimmed)
	if phrase, ok := phrases[target][lower]; ok {
		if trimmed != lower { // phrases begin with a letter of ASCII
			phrase = strings.ToUpper(phrase[:1]) + phrase[1:]
		}
		return phrase
	}
	return "[" + target + "] " + text
}

// tokensOf is what the stub calls tokens: words.
func tokensOf(text string) []string { return strings.Fields(text) }

// translate answers POST /translate: JSON as Pilotlight's clients speak it, or a
// form as apertium-apy does.
func (s *Server) translate(w http.ResponseWriter, r *http.Request, body []byte) error {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/x-www-form-urlencoded" {
		return s.translateForm(w, r, body)
	}
	var req struct {
		Text       string `json:"text"`
		SourceLang string `json:"source_lang"`
		TargetLang string `json:"target_lang"`
	}
	if err := json.Unmarshal(body, &req); err != nil || req.Text == "" || req.TargetLang == "" {
		writeError(w, http.StatusBadRequest, "text and target_lang are required")
		return nil
	}
	if req.SourceLang == "" || req.SourceLang == "auto" {
		req.SourceLang = "en" // the stub's idea of detection
	}
	answer := fakeTranslation(req.Text, req.TargetLang)
	if err := s.computeAll(r.Context(), len(tokensOf(answer))); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{
		"translation": answer,
		"source_lang": req.SourceLang,
		"target_lang": req.TargetLang,
	})
	return nil
}

// twoLetters are the languages of the stub's Apertium side, by either code.
var twoLetters = map[string]string{"eng": "en", "en": "en", "spa": "es", "es": "es", "fra": "fr", "fr": "fr"}

// pairs are those of the stub's Apertium side.
var pairs = [][2]string{{"eng", "spa"}, {"spa", "eng"}, {"fra", "spa"}}

func listPairs(w http.ResponseWriter, _ *http.Request) {
	list := make([]map[string]string, len(pairs))
	for i, p := range pairs {
		list[i] = map[string]string{"sourceLanguage": p[0], "targetLanguage": p[1]}
	}
	writeJSON(w, http.StatusOK, map[string]any{"responseData": list, "responseDetails": nil, "responseStatus": http.StatusOK})
}

// translateForm answers as apertium-apy does, errors included.
func (s *Server) translateForm(w http.ResponseWriter, r *http.Request, body []byte) error {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		apertiumError(w, "Request not properly formatted")
		return nil
	}
	for _, name := range []string{"langpair", "q"} {
		if !form.Has(name) {
			apertiumError(w, "Missing argument "+name)
			return nil
		}
	}
	source, target, ok := strings.Cut(form.Get("langpair"), "|")
	if !ok {
		apertiumError(w, "That pair is invalid, use e.g. eng|spa")
		return nil
	}
	installed := false
	for _, p := range pairs {
		installed = installed || twoLetters[p[0]] == twoLetters[source] && twoLetters[p[1]] == twoLetters[target]
	}
	if !installed {
		apertiumError(w, "That pair is not installed")
		return nil
	}
	text := ""
	if q := strings.TrimSpace(form.Get("q")); q != "" {
		text = fakeTranslation(q, twoLetters[target])
	}
	if err := s.computeAll(r.Context(), len(tokensOf(text))); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"responseData":    map[string]string{"translatedText": text},
		"responseDetails": nil,
		"responseStatus":  http.StatusOK,
	})
	return nil
}

func apertiumError(w http.ResponseWriter, explanation string) {
	writeJSON(w, http.StatusBadRequest, map[string]any{
		"status": "error", "code": http.StatusBadRequest, "message": "Bad Request", "explanation": explanation,
	})
}
