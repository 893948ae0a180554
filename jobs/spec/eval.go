package spec

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/pilotlight/pilotlight/jobs"
)

// Roots of the names that a job file itself defines; every other name belongs
// to the node and is kept as text.
const (
	variableRoot = "var"
	localRoot    = "local"
)

// evaluator turns expressions of one file into values and collects findings.
type evaluator struct {
	file      string
	src       []byte
	given     *Variables
	variables map[string]cty.Value // unknown: see problems
	locals    map[string]cty.Value // unknown: see problems
	problems  map[string]error     // "local.NAME" or "var.NAME" → why it is unknown
	functions map[string]function.Function
	findings  []jobs.Finding
}

func newEvaluator(file string, src []byte) *evaluator {
	return &evaluator{
		file:      file,
		src:       src,
		given:     &Variables{},
		variables: map[string]cty.Value{},
		locals:    map[string]cty.Value{},
		problems:  map[string]error{},
		functions: functions(),
	}
}

// evaluate returns the value of expr, wholly known, or why there is none.
func (e *evaluator) evaluate(expr hclsyntax.Expression) (cty.Value, error) {
	if err := checkExpression(expr, e.functions); err != nil {
		return cty.NilVal, err
	}
	names := map[string]cty.Value{
		variableRoot: cty.ObjectVal(e.variables),
		localRoot:    cty.ObjectVal(e.locals),
	}
	traversals := expr.Variables()
	runtime, err := e.runtimeNames(traversals)
	if err != nil {
		return cty.NilVal, err
	}
	for name, value := range runtime {
		names[name] = value
	}
	value, diags := expr.Value(&hcl.EvalContext{Variables: names, Functions: e.functions})
	if diags.HasErrors() {
		return cty.NilVal, diagnosticError(diags)
	}
	value, _ = value.UnmarkDeep()
	if !value.IsWhollyKnown() {
		return cty.NilVal, e.whyUnknown(traversals)
	}
	return value, nil
}

// diagnosticError is the first error of diags in one line.
func diagnosticError(diags hcl.Diagnostics) error {
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			return errors.New(diagnosticText(d))
		}
	}
	return diags
}

func diagnosticText(d *hcl.Diagnostic) string {
	text := d.Summary
	if d.Detail != "" {
		text += ": " + d.Detail
	}
	return strings.Join(strings.Fields(text), " ")
}

// whyUnknown names the first variable or local that has no value.
func (e *evaluator) whyUnknown(traversals []hcl.Traversal) error {
	for _, traversal := range traversals {
		if len(traversal) < 2 {
			continue
		}
		if attr, ok := traversal[1].(hcl.TraverseAttr); ok {
			if err := e.problems[traversal.RootName()+"."+attr.Name]; err != nil {
				return err
			}
		}
	}
	return errors.New("its value is not known")
}

// runtimeName is a place in the names that only the node knows.
type runtimeName struct {
	text string // ${…} as written, "" if the name only leads to others
	sub  map[string]*runtimeName
}

// runtimeNames gives each name that the file does not define its own text as
// its value: ${attr.kernel.name} becomes an object attr with an object kernel
// with the string "${attr.kernel.name}". Nomad does the same with a patched HCL
// library, which is not to be had as a module.
func (e *evaluator) runtimeNames(traversals []hcl.Traversal) (map[string]cty.Value, error) {
	root := &runtimeName{}
	for _, traversal := range traversals {
		if name := traversal.RootName(); name == variableRoot || name == localRoot {
			continue
		}
		text := string(traversal.SourceRange().SliceBytes(e.src))
		at := root.child(traversal.RootName())
		for _, step := range traversal[1:] {
			name, ok := stepName(step)
			if !ok {
				return nil, fmt.Errorf("%s cannot be kept for the node to interpolate", text)
			}
			at = at.child(name)
		}
		at.text = "${" + text + "}"
	}
	values := map[string]cty.Value{}
	for _, name := range slices.Sorted(maps.Keys(root.sub)) {
		value, err := root.sub[name].value()
		if err != nil {
			return nil, err
		}
		values[name] = value
	}
	return values, nil
}

func (n *runtimeName) child(name string) *runtimeName {
	if n.sub == nil {
		n.sub = map[string]*runtimeName{}
	}
	if n.sub[name] == nil {
		n.sub[name] = &runtimeName{}
	}
	return n.sub[name]
}

func (n *runtimeName) value() (cty.Value, error) {
	if n.sub == nil {
		return cty.StringVal(n.text), nil
	}
	if n.text != "" {
		return cty.NilVal, fmt.Errorf("%s is used as a value and as a group of values", n.text)
	}
	values := map[string]cty.Value{}
	for _, name := range slices.Sorted(maps.Keys(n.sub)) {
		value, err := n.sub[name].value()
		if err != nil {
			return cty.NilVal, err
		}
		values[name] = value
	}
	return cty.ObjectVal(values), nil
}

// stepName returns NAME of .NAME and of ["NAME"].
func stepName(step hcl.Traverser) (string, bool) {
	switch s := step.(type) {
	case hcl.TraverseAttr:
		return s.Name, true
	case hcl.TraverseIndex:
		key, err := convert.Convert(s.Key, cty.String)
		if err != nil || key.IsNull() || !key.IsKnown() {
			return "", false
		}
		return key.AsString(), true
	}
	return "", false
}

// notJudged reports that what stands at path could not be evaluated.
func (e *evaluator) notJudged(path string, at hcl.Pos, why string) {
	e.report(at, jobs.SeverityWarning, RuleNotJudged, path, "not judged offline: "+why, "")
}

func (e *evaluator) badValue(path string, at hcl.Pos, message, allowed string) {
	e.report(at, jobs.SeverityError, RuleBadValue, path, message, allowed)
}

func (e *evaluator) report(at hcl.Pos, severity, rule, path, message, allowed string) {
	e.findings = append(e.findings, jobs.Finding{
		File: e.file, Line: max(at.Line, 1), Column: max(at.Column, 1),
		Severity: severity, Rule: rule, Path: path, Message: message, Allowed: allowed,
	})
}

// sorted returns findings by file and place, in the order found where equal.
func sorted(findings []jobs.Finding) []jobs.Finding {
	slices.SortStableFunc(findings, func(a, b jobs.Finding) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return findings
}
