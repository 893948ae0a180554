package stub

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
)

func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"object": "list",
		"data": []map[string]any{
			{"id": s.cfg.Model, "object": "model", "created": s.started.Unix(), "owned_by": "pilotlight"},
		},
	})
}

// completionRequest is what the stub reads of both completion routes.
type completionRequest struct {
	Model     string    `json:"model"`
	Prompt    string    `json:"prompt"`
	Messages  []message `json:"messages"`
	MaxTokens int       `json:"max_tokens"`
	Stream    bool      `json:"stream"`
}

type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"` // a string, or parts with a text
}

func (m message) text() string {
	var text string
	if json.Unmarshal(m.Content, &text) == nil {
		return text
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(m.Content, &parts) != nil {
		return ""
	}
	for _, p := range parts {
		text += p.Text
	}
	return text
}

// translationPrompt finds target and text in TranslateGemma's prompt.
var translationPrompt = regexp.MustCompile(`(?s)^<start_of_turn>user\n.* to [^()]+ \(([A-Za-z-]+)\) translator\..*?:\n\n\n(.*)<end_of_turn>\n<start_of_turn>model\n$`)

func (s *Server) completions(w http.ResponseWriter, r *http.Request, body []byte) error {
	var req completionRequest
	if err := json.Unmarshal(body, &req); err != nil || req.Prompt == "" {
		writeError(w, http.StatusBadRequest, "prompt is required")
		return nil
	}
	answer := "echo: " + req.Prompt
	if m := translationPrompt.FindStringSubmatch(req.Prompt); m != nil {
		answer = fakeTranslation(m[2], m[1])
	}
	return s.complete(r.Context(), w, req, completionShape{
		id: "cmpl-" + requestID(r), object: "text_completion", chunkObject: "text_completion",
		whole: func(text string) map[string]any { return map[string]any{"text": text, "logprobs": nil} },
		delta: func(text string, _ bool) map[string]any { return map[string]any{"text": text, "logprobs": nil} },
	}, req.Prompt, answer)
}

func (s *Server) chatCompletions(w http.ResponseWriter, r *http.Request, body []byte) error {
	var req completionRequest
	if err := json.Unmarshal(body, &req); err != nil || len(req.Messages) == 0 {
		writeError(w, http.StatusBadRequest, "messages are required")
		return nil
	}
	asked := req.Messages[len(req.Messages)-1].text()
	return s.complete(r.Context(), w, req, completionShape{
		id: "chatcmpl-" + requestID(r), object: "chat.completion", chunkObject: "chat.completion.chunk",
		whole: func(text string) map[string]any {
			return map[string]any{"message": map[string]string{"role": "assistant", "content": text}}
		},
		delta: func(text string, first bool) map[string]any {
			delta := map[string]string{"content": text}
			if first {
				delta["role"] = "assistant"
			}
			return map[string]any{"delta": delta}
		},
	}, asked, "echo: "+asked)
}

func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); id != "" {
		return id
	}
	return "stub"
}

// completionShape is where the two routes differ.
type completionShape struct {
	id, object, chunkObject string
	whole                   func(text string) map[string]any
	delta                   func(text string, first bool) map[string]any
}

// complete sends answer, whole or as a stream of server-sent events of a token
// each, no longer than max_tokens.
func (s *Server) complete(ctx context.Context, w http.ResponseWriter, req completionRequest, shape completionShape, prompt, answer string) error {
	tokens, finish := strings.SplitAfter(answer, " "), "stop"
	if req.MaxTokens > 0 && len(tokens) > req.MaxTokens {
		tokens, finish = tokens[:req.MaxTokens], "length"
	}
	model := req.Model
	if model == "" {
		model = s.cfg.Model
	}
	envelope := func(object string, choice map[string]any, finish any) map[string]any {
		choice["index"], choice["finish_reason"] = 0, finish
		return map[string]any{
			"id": shape.id, "object": object, "created": time.Now().Unix(), "model": model,
			"choices": []map[string]any{choice},
		}
	}
	if !req.Stream {
		if err := s.computeAll(ctx, len(tokens)); err != nil {
			return err
		}
		whole := envelope(shape.object, shape.whole(strings.Join(tokens, "")), finish)
		asked := len(tokensOf(prompt))
		whole["usage"] = map[string]int{
			"prompt_tokens": asked, "completion_tokens": len(tokens), "total_tokens": asked + len(tokens),
		}
		writeJSON(w, http.StatusOK, whole)
		return nil
	}

	stream := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	for i, token := range tokens {
		wait := s.cfg.tokenTime()
		if i == 0 {
			wait += s.cfg.Latency
		}
		if err := compute(ctx, wait); err != nil {
			return err
		}
		var last any
		if i == len(tokens)-1 {
			last = finish
		}
		chunk, err := json.Marshal(envelope(shape.chunkObject, shape.delta(token, i == 0), last))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", chunk); err != nil {
			return err
		}
		if err := stream.Flush(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprint(w, "data: [DONE]\n\n")
	return err
}
