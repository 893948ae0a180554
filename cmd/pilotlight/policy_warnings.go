package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/web"
)

// warnings of the control plane about texts that are to be in force, at their
// places in the files: what it knows of the service and of the cluster, besides
// what the files themselves say (known).
func (c *control) warnings(ctx context.Context, changes []policyChange, known []policies.FieldError) ([]policies.FieldError, error) {
	var found []policies.FieldError
	for _, ch := range changes {
		if ch.after == "" {
			continue
		}
		r, err := c.do(ctx, call{method: http.MethodPost, path: []string{"policies", ch.name, "validate"}, media: mediaHCL, body: []byte(ch.after)})
		if err != nil {
			return found, about(ch.name, err)
		}
		var verdict struct {
			Warnings []web.FieldProblem `json:"warnings"`
		}
		if err := json.Unmarshal(r.body, &verdict); err != nil {
			return found, fmt.Errorf("%s does not answer as a control plane of Pilotlight does: %w", c.base.Redacted(), err)
		}
		for _, w := range verdict.Warnings {
			at := ch.at(w)
			same := func(k policies.FieldError) bool {
				return k.Policy == at.Policy && k.Field == at.Field && k.Message == at.Message
			}
			if !slices.ContainsFunc(known, same) {
				found = append(found, at)
			}
		}
	}
	return found, nil
}

// tellWarnings writes them to w. That they cannot be had stops nothing.
func (c *control) tellWarnings(ctx context.Context, w io.Writer, changes []policyChange, known []policies.FieldError) {
	found, err := c.warnings(ctx, changes, known)
	for _, e := range found {
		_, _ = fmt.Fprintf(w, "warning: %s\n", e.Error())
	}
	if err != nil {
		_, _ = fmt.Fprintf(w, "Whether the control plane warns of something is not known: %v\n", err)
	}
}

// at is what is said of a text at its place in the file that it is from.
func (ch policyChange) at(p web.FieldProblem) policies.FieldError {
	e := fieldErrorOf(p)
	e.File, e.Policy = ch.file, ch.name
	if e.Line > 0 {
		e.Line += ch.skip
	}
	return e
}

// wantedBy are the policies of files, as if none of them were in force.
func wantedBy(files []policies.File) []policyChange {
	var all []policyChange
	for _, f := range files {
		skip := 0
		for i, p := range f.Policies {
			all = append(all, policyChange{name: p.Name, after: tidy(f.Sources[i]), file: f.Path, skip: skip + blankLines(f.Sources[i])})
			skip += strings.Count(f.Sources[i], "\n")
		}
	}
	return all
}
