package translate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Bounds of what TranslateGemma is asked.
const (
	// maxInputTokens is the model's input context; longer texts are to be split
	// at sentence ends before they get here.
	maxInputTokens = 2000
	// contextTokens is what an engine must be started with at least: prompt and
	// answer together.
	contextTokens = 4096
	// A translation has seldom more than twice the tokens of its text.
	outputPerInput = 2
	outputExtra    = 64
)

// Completions asks TranslateGemma through an OpenAI-style POST /v1/completions,
// as vLLM, llama.cpp, TGI and SGLang have it, with the prompt of the model's own
// template written out: no template support is needed.
type Completions struct {
	Model string // as the engine calls it; "" names none
}

// Name is "completions".
func (Completions) Name() string { return BackendCompletions }

// Validate normalises the codes to ones that the model knows, removes control
// tokens from the text, and refuses a text that the model's input cannot hold. A
// source language is needed: the prompt names it.
func (c Completions) Validate(req Request) (Request, error) {
	if req.Detects() {
		return Request{}, &FieldError{Field: FieldSource,
			Message: "is required: this model does not detect the source language",
			Allowed: strings.Join(modelCodes(), ", ")}
	}
	for _, code := range []struct {
		field string
		value *string
	}{{FieldSource, &req.Source}, {FieldTarget, &req.Target}} {
		normal, err := modelCode(code.field, *code.value)
		if err != nil {
			return Request{}, err
		}
		*code.value = normal
	}
	req.Text = strings.TrimSpace(removeControlTokens(req.Text))
	if req.Text == "" {
		return Request{}, &FieldError{Field: FieldText, Message: "has nothing but control tokens"}
	}
	if n := estimateTokens(req.Text); n > maxInputTokens {
		return Request{}, &FieldError{Field: FieldText,
			Message: fmt.Sprintf("is too long: about %d tokens", n),
			Allowed: fmt.Sprintf("at most %d tokens, about %d characters of English", maxInputTokens, 3*maxInputTokens)}
	}
	return req, nil
}

// completion is the request to the engine. Temperature 0 must be written: the
// engines' default is another.
type completion struct {
	Model       string   `json:"model,omitempty"`
	Prompt      string   `json:"prompt"`
	MaxTokens   int      `json:"max_tokens"`
	Temperature float64  `json:"temperature"`
	Stop        []string `json:"stop"`
}

// Encode builds the completion request.
func (c Completions) Encode(req Request) (method, path string, header http.Header, body []byte) {
	text := strings.TrimSpace(removeControlTokens(req.Text))
	prompt := prompt(req.Source, req.Target, text)
	return http.MethodPost, "/v1/completions", http.Header{"Content-Type": {"application/json"}}, encodeJSON(completion{
		Model:       c.Model,
		Prompt:      prompt,
		MaxTokens:   min(outputPerInput*estimateTokens(text)+outputExtra, contextTokens-estimateTokens(prompt)),
		Temperature: 0,
		Stop:        []string{endOfTurn},
	})
}

// Decode takes the first choice. A translation that was cut off at max_tokens is
// an error: half a translation must not pass for a whole one.
func (c Completions) Decode(req Request, status int, _ http.Header, body []byte) (int, []byte, error) {
	if status != http.StatusOK {
		return c.decodeError(status, body)
	}
	var answer struct {
		Choices []struct {
			Text         *string `json:"text"`
			FinishReason string  `json:"finish_reason"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return c.fail(status, "it is not a JSON completion")
	}
	if len(answer.Choices) == 0 || answer.Choices[0].Text == nil {
		return c.fail(status, "it has no choice with a text")
	}
	choice := answer.Choices[0]
	if choice.FinishReason == "length" {
		return c.fail(status, "the translation was cut off at max_tokens")
	}
	// Engines that ignore stop strings leave the end of the turn in.
	text, _, _ := strings.Cut(*choice.Text, endOfTurn)
	return http.StatusOK, encodeAnswer(req, strings.TrimSpace(text)), nil
}

// contextPhrases are how engines say that prompt and answer do not fit.
var contextPhrases = [][]byte{
	[]byte("maximum context length"),  // vLLM, SGLang
	[]byte("exceed_context_size"),     // llama.cpp
	[]byte("context size"),            // llama.cpp
	[]byte("`inputs` must have less"), // TGI
	[]byte("inputs tokens + max_new_tokens"),
}

// decodeError judges by the engine's words but never passes them on: they may
// quote the prompt.
func (c Completions) decodeError(status int, body []byte) (int, []byte, error) {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		lower := bytes.ToLower(body)
		for _, phrase := range contextPhrases {
			if bytes.Contains(lower, phrase) {
				return http.StatusBadRequest, nil, &FieldError{Field: FieldText,
					Message: "is too long for the context that this engine was started with"}
			}
		}
		return c.fail(status, "it refused the completion request")
	case http.StatusNotFound:
		return c.fail(status, fmt.Sprintf("it has no /v1/completions, or serves no model %q", c.Model))
	}
	return c.fail(status, http.StatusText(status))
}

func (c Completions) fail(status int, detail string) (int, []byte, error) {
	return http.StatusBadGateway, nil, &AnswerError{Backend: BackendCompletions, Status: status, Detail: detail}
}
