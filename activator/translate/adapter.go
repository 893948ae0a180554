package translate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// Names of the backends of a policy's translate block.
const (
	BackendPassthrough = "passthrough"
	BackendCompletions = "completions"
	BackendApertium    = "apertium"
)

// An Adapter speaks one kind of replica. It is stateless and safe for
// concurrent use.
type Adapter interface {
	// Name is the backend's name in a policy.
	Name() string

	// Validate says whether the replica can be asked this, and returns the
	// request with its language codes in the form that the backend uses. Its
	// errors are *FieldError.
	Validate(Request) (Request, error)

	// Encode builds the replica's request from one that Validate returned.
	Encode(Request) (method, path string, header http.Header, body []byte)

	// Decode turns a replica's whole answer to the encoded request into the
	// client's: its status and JSON body. If err is not nil there is no answer,
	// and outStatus is the status of the error: 400 with a *FieldError, 502 with
	// an *AnswerError.
	Decode(req Request, status int, header http.Header, body []byte) (outStatus int, answer []byte, err error)
}

// For returns the adapter of a policy's translate block. The model is the one
// that completions asks for ("" asks for none: the engine's only one) and means
// nothing to the others.
func For(backend, model string) (Adapter, error) {
	switch backend {
	case BackendPassthrough:
		return Passthrough{}, nil
	case BackendCompletions:
		return Completions{Model: model}, nil
	case BackendApertium:
		return Apertium{}, nil
	}
	return nil, fmt.Errorf("unknown translate backend %q, allowed: %s, %s, %s",
		backend, BackendPassthrough, BackendCompletions, BackendApertium)
}

// An AnswerError says that a replica's answer is no translation.
type AnswerError struct {
	Backend string // name of the adapter
	Status  int    // of the replica's answer
	Detail  string // what is wrong with it, without anything the client sent
}

func (e *AnswerError) Error() string {
	return fmt.Sprintf("the %s replica answered %d: %s", e.Backend, e.Status, e.Detail)
}

// translation is the answer that clients get.
type translation struct {
	Translation string `json:"translation"`
	SourceLang  string `json:"source_lang"`
	TargetLang  string `json:"target_lang"`
}

func encodeAnswer(req Request, text string) []byte {
	return encodeJSON(translation{Translation: text, SourceLang: req.Source, TargetLang: req.Target})
}

// encodeJSON writes v on one line and leaves <, > and & readable: nothing here
// is embedded in HTML. v must be a plain struct of this package.
func encodeJSON(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err)) // strings and numbers cannot fail
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
