package activator

import (
	"bytes"
	"encoding/json"
)

// modelOf reads the "model" of an OpenAI body, by exactly that name as the engine
// will.
func modelOf(body []byte) (string, error) {
	if !json.Valid(body) {
		return "", &BadRequestError{Field: "body", Message: "not a JSON object: " + syntaxOf(body)}
	}
	raw, object := fieldOf(body, "model")
	if !object {
		return "", &BadRequestError{Field: "body", Message: "not a JSON object"}
	}
	var model string
	if raw != nil {
		if err := json.Unmarshal(raw, &model); err != nil {
			return "", &BadRequestError{Field: "model", Message: "not a text"}
		}
	}
	if model == "" {
		return "", &BadRequestError{Field: "model", Message: "required: which model the request is for; GET /v1/models lists them"}
	}
	return model, nil
}

func syntaxOf(body []byte) string {
	var ignored struct{}
	if err := json.Unmarshal(body, &ignored); err != nil {
		return err.Error()
	}
	return "it cannot be read"
}

// fieldOf returns the value of one field of a JSON object, nil if there is none,
// and whether it is an object at all; of a field that comes twice the last one, as
// most readers do. body must be valid JSON. It keeps no copy of anything: a body
// of a million small fields must not cost many times its size.
func fieldOf(body []byte, name string) (value []byte, object bool) {
	at := space(body, 0)
	if body[at] != '{' {
		return nil, false
	}
	for at = space(body, at+1); body[at] != '}'; {
		end := skip(body, at)
		key := body[at:end]
		at = space(body, space(body, end)+1) // past the colon
		end = skip(body, at)
		if isText(key, name) {
			value = body[at:end]
		}
		if at = space(body, end); body[at] == ',' {
			at = space(body, at+1)
		}
	}
	return value, true
}

// isText reports whether a JSON string is this text.
func isText(raw []byte, text string) bool {
	if len(raw) == len(text)+2 && string(raw[1:len(raw)-1]) == text {
		return true
	}
	if bytes.IndexByte(raw, '\\') < 0 || len(raw) > 6*len(text)+2 { // longer than with every byte escaped
		return false
	}
	var s string
	return json.Unmarshal(raw, &s) == nil && s == text
}

// space returns where white space that begins at a place ends.
func space(body []byte, at int) int {
	for at < len(body) && (body[at] == ' ' || body[at] == '\n' || body[at] == '\t' || body[at] == '\r') {
		at++
	}
	return at
}

// skip returns where the value that begins at a place ends.
func skip(body []byte, at int) int {
	depth := 0
	for ; at < len(body); at++ {
		switch body[at] {
		case '"':
			for at++; body[at] != '"'; at++ {
				if body[at] == '\\' {
					at++
				}
			}
			if depth == 0 {
				return at + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return at // a bare value's end
			}
			if depth--; depth == 0 {
				return at + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return at
			}
		}
	}
	return at
}
