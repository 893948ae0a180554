package activator

import (
	"fmt"
	"net/http"
	"strings"
)

// maxFields bounds the fields of a header. Its bytes are bounded by the server,
// but many short ones cost many times their bytes.
const maxFields = 128

// HeaderError says that a header has too many fields.
type HeaderError struct{ Fields int }

func (e *HeaderError) Error() string {
	return fmt.Sprintf("it has %d fields; at most %d are taken", e.Fields, maxFields)
}

func checkHeader(h http.Header) error {
	n := 0
	for _, values := range h {
		n += len(values)
	}
	if n > maxFields {
		return &HeaderError{Fields: n}
	}
	return nil
}

// plainUpgrade leaves WebSockets alone and makes an ordinary request of one that
// asks for another protocol. Above all h2c: over such a connection a client could
// send a replica requests that nobody routes, admits or counts.
func plainUpgrade(h http.Header) {
	if v := h.Get("Upgrade"); v != "" && !strings.EqualFold(strings.TrimSpace(v), "websocket") || len(h["Upgrade"]) > 1 {
		h.Del("Upgrade")
		h.Del("Http2-Settings")
	}
}
