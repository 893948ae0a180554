package main

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/web"
)

// problemError is an error answer of Pilotlight's data or control plane
// (RFC 9457): all that either of them may say.
type problemError struct {
	Type        string             `json:"type"`
	Title       string             `json:"title"`
	Status      int                `json:"status"`
	Detail      string             `json:"detail"`
	Service     string             `json:"service"`
	RequestID   string             `json:"request_id"`
	Reason      string             `json:"reason"`
	Field       string             `json:"field"`
	Allowed     string             `json:"allowed"`
	RetryAfterS float64            `json:"retry_after_s"`
	Errors      []web.FieldProblem `json:"errors"`
	Current     *web.VersionInfo   `json:"current"`
}

// problemOf an answer that is not a success; one that is not Pilotlight's says
// so.
func problemOf(r *http.Response, body []byte) error {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var p problemError
	if media != "application/problem+json" || json.Unmarshal(body, &p) != nil || p.Title == "" {
		return fmt.Errorf("%s %s answered %d %s, which is no answer of Pilotlight's: is the address right?",
			r.Request.Method, r.Request.URL.Redacted(), r.StatusCode, http.StatusText(r.StatusCode))
	}
	p.Status = r.StatusCode
	if s, err := strconv.ParseFloat(r.Header.Get("Retry-After"), 64); err == nil && p.RetryAfterS == 0 {
		p.RetryAfterS = s
	}
	return &p
}

// Error gives title, status and detail, and what else is known in lines of its own.
func (p *problemError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%d)", oneLine(p.Title), p.Status)
	if p.Detail != "" && p.Detail != p.Title {
		b.WriteString(": " + oneLine(p.Detail))
	}
	line := func(format string, args ...any) { fmt.Fprintf(&b, "\n  "+format, args...) }
	if p.Reason != "" && p.Reason != p.Detail {
		line("reason: %s", oneLine(p.Reason))
	}
	if p.Allowed != "" && !strings.Contains(p.Detail, p.Allowed) {
		line("allowed: %s", oneLine(p.Allowed))
	}
	for _, e := range p.Errors {
		line("%s", fieldErrorOf(e))
	}
	if p.RetryAfterS > 0 {
		line("try again in %s", time.Duration(p.RetryAfterS*float64(time.Second)))
	}
	if p.RequestID != "" {
		line("request %s", oneLine(p.RequestID))
	}
	return b.String()
}

// fieldErrorOf is one wrong field in the words that policy validate has for it.
func fieldErrorOf(e web.FieldProblem) policies.FieldError {
	return policies.FieldError{Line: e.Line, Column: e.Column, Field: oneLine(e.Field), Message: oneLine(e.Message), Allowed: oneLine(e.Allowed)}
}
