package translate

import "net/http"

// Passthrough is for replicas that have /translate themselves. The body has been
// checked by Parse and goes on unchanged, byte for byte, with whatever other
// fields it has; so does the answer, whatever its status.
type Passthrough struct{}

// Name is "passthrough".
func (Passthrough) Name() string { return BackendPassthrough }

// Validate accepts what Parse does: which languages there are, and whether one
// can be detected, only the replica knows.
func (Passthrough) Validate(req Request) (Request, error) { return req, nil }

// Encode sends the client's own body. A request that was not parsed from one is
// written out.
func (Passthrough) Encode(req Request) (method, path string, header http.Header, body []byte) {
	body = req.Raw
	if body == nil {
		body = encodeJSON(struct {
			Text   string `json:"text"`
			Source string `json:"source_lang,omitempty"`
			Target string `json:"target_lang"`
		}{req.Text, req.Source, req.Target})
	}
	return http.MethodPost, "/translate", http.Header{"Content-Type": {"application/json"}}, body
}

// Decode returns the replica's answer as it is.
func (Passthrough) Decode(_ Request, status int, _ http.Header, body []byte) (int, []byte, error) {
	return status, body, nil
}
