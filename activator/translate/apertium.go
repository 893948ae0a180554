package translate

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxApertiumCharacters is how much text apertium-apy surely translates whole.
// It cuts a text into at most ten pieces and silently drops what is left. With
// more than two users of a pipe a piece may be as short as 502 characters, the
// last one 1,000 long (split_for_translation in apertium-apy 0.11).
const maxApertiumCharacters = 9*502 + 1000

// Apertium speaks to apertium-apy: POST /translate with form fields, ISO 639-3
// codes. It translates fixed pairs and cannot detect a language.
type Apertium struct {
	// Pairs are those that the engine has, as ParsePairs read them. If nil they
	// are unknown, and a pair that does not exist is refused only by the engine.
	Pairs []Pair
}

// A Pair of languages that an Apertium engine translates, in its own codes: ISO
// 639-3, some with a variant (eng_US).
type Pair struct {
	Source, Target string
}

func (p Pair) String() string { return p.Source + "|" + p.Target }

// ParsePairs reads the answer of GET /listPairs.
func ParsePairs(body []byte) ([]Pair, error) {
	var answer struct {
		ResponseData []struct {
			SourceLanguage string `json:"sourceLanguage"`
			TargetLanguage string `json:"targetLanguage"`
		} `json:"responseData"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("read the list of pairs: %w", err)
	}
	pairs := make([]Pair, 0, len(answer.ResponseData))
	for _, p := range answer.ResponseData {
		if p.SourceLanguage == "" || p.TargetLanguage == "" {
			return nil, fmt.Errorf("read the list of pairs: one without a language")
		}
		pairs = append(pairs, Pair{p.SourceLanguage, p.TargetLanguage})
	}
	return pairs, nil
}

// Name is "apertium".
func (Apertium) Name() string { return BackendApertium }

// Validate wants a source language, and a pair that exists if the pairs are
// known. Codes fall back to their base language: es-MX → es.
func (a Apertium) Validate(req Request) (Request, error) {
	if req.Detects() {
		return Request{}, &FieldError{Field: FieldSource,
			Message: "is required: Apertium does not detect the source language", Allowed: a.allowed()}
	}
	if n := utf8.RuneCountInString(req.Text); n > maxApertiumCharacters {
		return Request{}, &FieldError{Field: FieldText,
			Message: fmt.Sprintf("is too long: %d characters", n),
			Allowed: fmt.Sprintf("at most %d characters; the engine would drop the rest", maxApertiumCharacters)}
	}
	source, err := Normalise(req.Source)
	if err != nil {
		return Request{}, codeError(FieldSource, req.Source, err)
	}
	target, err := Normalise(req.Target)
	if err != nil {
		return Request{}, codeError(FieldTarget, req.Target, err)
	}
	if a.Pairs == nil {
		req.Source, req.Target = baseOf(source), baseOf(target)
		return req, nil
	}
	var ok bool
	if req.Source, req.Target, ok = a.choose(source, target); !ok {
		return Request{}, a.noPair(source, target)
	}
	return req, nil
}

// choose picks the closest existing pair: the codes with their regions first.
func (a Apertium) choose(source, target string) (s, t string, ok bool) {
	for _, s := range []string{source, baseOf(source)} {
		for _, t := range []string{target, baseOf(target)} {
			if slices.Contains(a.Pairs, Pair{apertiumCode(s), apertiumCode(t)}) {
				return s, t, true
			}
		}
	}
	return "", "", false
}

// noPair names the field that is to blame: the target, unless nothing can be
// translated from the source.
func (a Apertium) noPair(source, target string) *FieldError {
	fromSource := func(p Pair) bool {
		return p.Source == apertiumCode(source) || p.Source == apertiumCode(baseOf(source))
	}
	field := FieldTarget
	if a.Pairs != nil && !slices.ContainsFunc(a.Pairs, fromSource) {
		field = FieldSource
	}
	return &FieldError{Field: field,
		Message: fmt.Sprintf("the engine has no pair %s", Pair{apertiumCode(source), apertiumCode(target)}),
		Allowed: a.allowed()}
}

// allowed lists the pairs, "" if they are unknown.
func (a Apertium) allowed() string {
	pairs := make([]string, len(a.Pairs))
	for i, p := range a.Pairs {
		pairs[i] = p.String()
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ", ")
}

// apertiumCode is the engine's code: en → eng, en-US → eng_US.
func apertiumCode(code string) string {
	_, rest, found := strings.Cut(code, "-")
	if !found {
		return ISO3(code)
	}
	return ISO3(code) + "_" + strings.ReplaceAll(rest, "-", "_")
}

// Encode builds the form. Unknown words come back without the engine's mark, an
// asterisk before the word.
func (a Apertium) Encode(req Request) (method, path string, header http.Header, body []byte) {
	form := url.Values{
		"langpair":    {Pair{apertiumCode(req.Source), apertiumCode(req.Target)}.String()},
		"markUnknown": {"no"},
		"q":           {req.Text},
	}
	return http.MethodPost, "/translate",
		http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, []byte(form.Encode())
}

// Explanations of apertium-apy that are the client's fault.
const (
	explainNotInstalled = "That pair is not installed"
	explainInvalid      = "That pair is invalid"
)

// Decode reads responseData.translatedText. A pair that the engine does not have
// is the client's fault.
func (a Apertium) Decode(req Request, status int, _ http.Header, body []byte) (int, []byte, error) {
	var answer struct {
		ResponseData *struct {
			TranslatedText *string `json:"translatedText"`
		} `json:"responseData"`
		ResponseStatus int    `json:"responseStatus"`
		Explanation    string `json:"explanation"`
	}
	err := json.Unmarshal(body, &answer)
	if status != http.StatusOK {
		if status == http.StatusBadRequest &&
			(strings.HasPrefix(answer.Explanation, explainNotInstalled) || strings.HasPrefix(answer.Explanation, explainInvalid)) {
			return http.StatusBadRequest, nil, a.noPair(req.Source, req.Target)
		}
		// The engine's explanation may quote the text: it stays here.
		return a.fail(status, http.StatusText(status))
	}
	if err != nil {
		return a.fail(status, "it is not JSON of apertium-apy")
	}
	if answer.ResponseStatus != http.StatusOK && answer.ResponseStatus != 0 {
		return a.fail(answer.ResponseStatus, "responseStatus says so")
	}
	if answer.ResponseData == nil || answer.ResponseData.TranslatedText == nil {
		return a.fail(status, "it has no responseData.translatedText")
	}
	return http.StatusOK, encodeAnswer(req, *answer.ResponseData.TranslatedText), nil
}

func (Apertium) fail(status int, detail string) (int, []byte, error) {
	return http.StatusBadGateway, nil, &AnswerError{Backend: BackendApertium, Status: status, Detail: detail}
}
