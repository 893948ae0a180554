package translate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Fields of the request body, as FieldError names them.
const (
	FieldBody   = "body" // the body as a whole
	FieldText   = "text"
	FieldSource = "source_lang"
	FieldTarget = "target_lang"
)

// Auto as a source language asks the backend to detect it; so does leaving it out.
const Auto = "auto"

// Request is one translation that a client asks for.
type Request struct {
	Text   string
	Source string // language code; "" and Auto: to be detected
	Target string // language code

	Raw []byte // the body as it came, for passthrough
}

// Detects reports whether the source language is left to the backend.
func (r Request) Detects() bool { return r.Source == "" || strings.EqualFold(r.Source, Auto) }

// Limits bound what Parse accepts; 0 is no limit.
type Limits struct {
	MaxTextBytes int // of text, decoded
}

// A FieldError is the client's fault: status 400.
type FieldError struct {
	Field   string // a field of the body, or FieldBody
	Message string // what is wrong, without quoting the text
	Allowed string // what would be right; "" if Message says it
}

func (e *FieldError) Error() string {
	s := e.Field + ": " + e.Message
	if e.Allowed != "" {
		s += " (allowed: " + e.Allowed + ")"
	}
	return s
}

// Parse reads the body of POST /translate. It checks what holds for every
// backend: JSON in valid UTF-8, each known field at most once and a string, text
// not empty and within limits, language codes that are well-formed BCP 47 and
// name a language. Field names are exact; other fields are tolerated. Its errors
// are *FieldError.
//
// The request keeps body in Raw; the caller must not change it afterwards.
func Parse(body []byte, limits Limits) (Request, error) {
	fields, err := readFields(body)
	if err != nil {
		return Request{}, err
	}
	req := Request{Raw: body}
	for _, f := range []struct {
		name     string
		value    *string
		required bool
	}{
		{FieldText, &req.Text, true},
		{FieldTarget, &req.Target, true},
		{FieldSource, &req.Source, false},
	} {
		raw, ok := fields[f.name]
		if !ok || string(raw) == "null" {
			if f.required {
				return Request{}, &FieldError{Field: f.name, Message: "is required"}
			}
			continue
		}
		if err := json.Unmarshal(raw, f.value); err != nil {
			return Request{}, &FieldError{Field: f.name, Message: "must be a string, not " + kindOf(raw)}
		}
	}
	if strings.TrimSpace(req.Text) == "" {
		return Request{}, &FieldError{Field: FieldText, Message: "must not be empty"}
	}
	if n := len(req.Text); limits.MaxTextBytes > 0 && n > limits.MaxTextBytes {
		return Request{}, &FieldError{Field: FieldText,
			Message: fmt.Sprintf("is %d bytes long", n),
			Allowed: fmt.Sprintf("at most %d bytes", limits.MaxTextBytes)}
	}
	if _, err := parseCode(req.Target); err != nil {
		return Request{}, codeError(FieldTarget, req.Target, err)
	}
	if !req.Detects() {
		if _, err := parseCode(req.Source); err != nil {
			return Request{}, codeError(FieldSource, req.Source, err)
		}
	}
	return req, nil
}

// readFields returns the known fields of the JSON object in body, undecoded. A
// field that comes twice is refused: the replica behind passthrough might read
// the other one than was checked here.
func readFields(body []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(body) {
		return nil, &FieldError{Field: FieldBody, Message: "is not valid UTF-8"}
	}
	if !json.Valid(body) {
		return nil, &FieldError{Field: FieldBody, Message: "is not valid JSON: " + syntaxProblem(body)}
	}
	// The body is valid JSON: from here on the decoder cannot fail.
	dec := json.NewDecoder(bytes.NewReader(body))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, &FieldError{Field: FieldBody, Message: "must be a JSON object, not " + kindOf(bytes.TrimSpace(body))}
	}
	fields := make(map[string]json.RawMessage, 3)
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, &FieldError{Field: FieldBody, Message: "is not valid JSON: " + err.Error()}
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, &FieldError{Field: FieldBody, Message: "is not valid JSON: " + err.Error()}
		}
		name, _ := key.(string)
		switch name {
		case FieldText, FieldSource, FieldTarget:
			if _, twice := fields[name]; twice {
				return nil, &FieldError{Field: name, Message: "is given twice"}
			}
			fields[name] = value
		}
	}
	return fields, nil
}

// syntaxProblem says where JSON goes wrong. encoding/json names at most one
// character of the input.
func syntaxProblem(body []byte) string {
	if len(bytes.TrimSpace(body)) == 0 {
		return "it is empty"
	}
	var ignored json.RawMessage
	var syntax *json.SyntaxError
	if err := json.Unmarshal(body, &ignored); errors.As(err, &syntax) {
		return fmt.Sprintf("%v at byte %d", syntax, syntax.Offset)
	}
	return "cannot be read"
}

// kindOf names the kind of a JSON value by its first byte.
func kindOf(value []byte) string {
	if len(value) == 0 {
		return "nothing"
	}
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}
