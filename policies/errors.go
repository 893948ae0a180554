package policies

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// FieldError is one thing that is wrong with a policy, and where. As a JSON
// object it is what the control plane answers for a wrong policy.
type FieldError struct {
	File    string `json:"file,omitempty"`   // as it was given to Parse, "" if the policy came from no file
	Line    int    `json:"line,omitempty"`   // from 1; 0 is not known
	Column  int    `json:"column,omitempty"` // from 1, in characters; 0 is not known
	Policy  string `json:"policy,omitempty"` // "" if the error is in no policy block
	Field   string `json:"field,omitempty"`  // path as in HCL, "scale_up.window"; "" if it is about no single field
	Message string `json:"message"`
	Allowed string `json:"allowed,omitempty"` // what would be right
}

// Error gives the place, the field, what is wrong and what is allowed, in one
// line: `translate.hcl:12: scale_up.window: "5x" is not a duration; allowed: …`.
func (e FieldError) Error() string {
	var b strings.Builder
	switch {
	case e.File != "" && e.Line > 0:
		b.WriteString(e.File + ":" + strconv.Itoa(e.Line) + ": ")
	case e.File != "":
		b.WriteString(e.File + ": ")
	case e.Line > 0:
		b.WriteString("line " + strconv.Itoa(e.Line) + ": ")
	case e.Policy != "":
		b.WriteString("policy " + strconv.Quote(e.Policy) + ": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Message)
	if e.Allowed != "" {
		b.WriteString("; allowed: " + e.Allowed)
	}
	return b.String()
}

// ValidationErrors are all the errors of a document, by place. It is never
// empty when it is returned as an error.
type ValidationErrors []FieldError

// Error gives one line for each error.
func (v ValidationErrors) Error() string {
	lines := make([]string, len(v))
	for i, e := range v {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes each of the errors reachable by errors.As.
func (v ValidationErrors) Unwrap() []error {
	errs := make([]error, len(v))
	for i, e := range v {
		errs[i] = e
	}
	return errs
}

// err returns the errors by place, or nil if there are none: an empty
// ValidationErrors must not become a non-nil error.
func (v ValidationErrors) err() error {
	if len(v) == 0 {
		return nil
	}
	v.sort()
	return v
}

// sort orders by place; errors of one place keep the order they were found in.
func (v ValidationErrors) sort() {
	slices.SortStableFunc(v, func(a, b FieldError) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
