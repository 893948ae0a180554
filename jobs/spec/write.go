package spec

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/pilotlight/pilotlight/jobs"
)

// WriteText writes findings for people: one line each, what is allowed below
// it, and a summary as the last line.
func WriteText(w io.Writer, findings []jobs.Finding) error {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%s:%d:%d: %s: %s [%s]", f.File, f.Line, f.Column, f.Severity, f.Message, f.Rule)
		if f.Path != "" {
			fmt.Fprintf(&b, " at %s", f.Path)
		}
		b.WriteByte('\n')
		if f.Allowed != "" {
			fmt.Fprintf(&b, "    allowed: %s\n", f.Allowed)
		}
	}
	errors, warnings := tally(findings)
	fmt.Fprintf(&b, "%s, %s\n", plural(errors, "error"), plural(warnings, "warning"))
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes {"findings": […], "errors": n, "warnings": n}; findings is
// never null.
func WriteJSON(w io.Writer, findings []jobs.Finding) error {
	report := struct {
		Findings []jobs.Finding `json:"findings"`
		Errors   int            `json:"errors"`
		Warnings int            `json:"warnings"`
	}{Findings: append([]jobs.Finding{}, findings...)}
	report.Errors, report.Warnings = tally(findings)
	return writeIndented(w, report)
}

func writeIndented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func tally(findings []jobs.Finding) (errors, warnings int) {
	for _, f := range findings {
		if f.Severity == jobs.SeverityError {
			errors++
		} else {
			warnings++
		}
	}
	return errors, warnings
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
