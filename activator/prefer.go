package activator

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// preference is what Prefer asks for (RFC 7240).
type preference struct {
	async   bool          // 202 instead of a connection that stays open
	wait    time.Duration // how long to wait before that
	applied string        // as Preference-Applied says it
}

// preferenceOf reads Prefer; what we do not know is ignored, as it is to be.
func preferenceOf(h http.Header) (p preference, err error) {
	var applied []string
	for _, line := range h["Prefer"] {
		for part := range strings.SplitSeq(line, ",") {
			part, _, _ = strings.Cut(part, ";")
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "respond-async":
				p.async = true
				applied = append(applied, "respond-async")
			case "wait":
				value = strings.Trim(strings.TrimSpace(value), `"`)
				seconds, err := strconv.Atoi(value)
				if err != nil || seconds < 0 || seconds > 86400 {
					return p, &BadRequestError{Field: "Prefer", Message: fmt.Sprintf("wait=%q is not a number of seconds from 0 to 86400", clip(value, 40))}
				}
				p.async, p.wait = true, time.Duration(seconds)*time.Second
				applied = append(applied, "wait="+value)
			}
		}
	}
	p.applied = strings.Join(applied, ", ")
	return p, nil
}
