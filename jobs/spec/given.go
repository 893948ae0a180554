package spec

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/pilotlight/pilotlight/jobs"
)

// Variables are values given besides a job spec, as `nomad job run -var` and
// -var-file give them; the later ones win. The zero value holds none.
type Variables struct {
	values map[string]cty.Value
	used   map[string]bool // declared by a file that was parsed with them
}

// Set gives a variable a value as a command line has it: text as it is where the
// variable is a string, a number or a bool, and an expression otherwise.
func (v *Variables) Set(name, text string) { v.set(name, cty.StringVal(text)) }

func (v *Variables) set(name string, value cty.Value) {
	if v.values == nil {
		v.values = map[string]cty.Value{}
	}
	v.values[name] = value
}

// ReadFile takes the values of a variable file: NAME = value, in HCL. Findings
// are errors with rule "syntax" or "bad-value"; what is right is taken.
func (v *Variables) ReadFile(filename string, src []byte) []jobs.Finding {
	e := newEvaluator(filename, src)
	start := hcl.Pos{Line: 1, Column: 1}
	if problem, at := checkSource(filename, src); problem != "" {
		e.syntax(at, problem, "")
		return e.findings
	}
	file, diags := hclsyntax.ParseConfig(src, filename, start)
	e.syntaxErrors(diags)
	if diags.HasErrors() {
		return sorted(e.findings)
	}
	body := file.Body.(*hclsyntax.Body) // as documented for ParseConfig
	for _, block := range body.Blocks {
		e.syntax(block.DefRange().Start, fmt.Sprintf("a %s block in a file of variables", block.Type), "NAME = value")
	}
	for name, attr := range body.Attributes {
		value, diags := attr.Expr.Value(nil)
		_, small := sizeOf(value)
		switch {
		case diags.HasErrors():
			e.badValue(name, attr.SrcRange.Start, diagnosticError(diags).Error(), "a value: no names, no functions")
		case !small:
			e.badValue(name, attr.SrcRange.Start, "the value is too large", fmt.Sprintf("%d bytes", maxValueBytes))
		default:
			v.set(name, value)
		}
	}
	return sorted(e.findings)
}

// Unused returns the names, sorted, that no file parsed with v declares.
func (v *Variables) Unused() []string {
	var unused []string
	for _, name := range slices.Sorted(maps.Keys(v.values)) {
		if !v.used[name] {
			unused = append(unused, name)
		}
	}
	return unused
}

// text is v as a variable file, "" if it is empty.
func (v *Variables) text() string {
	if len(v.values) == 0 {
		return ""
	}
	file := hclwrite.NewEmptyFile()
	for _, name := range slices.Sorted(maps.Keys(v.values)) {
		file.Body().SetAttributeValue(name, v.values[name])
	}
	return string(file.Bytes())
}

// take returns the value given to a variable that the file declares, converted
// to its type; false if none is given.
func (v *Variables) take(name string, declared cty.Type) (cty.Value, bool, error) {
	value, ok := v.values[name]
	if !ok {
		return cty.NilVal, false, nil
	}
	if v.used == nil {
		v.used = map[string]bool{}
	}
	v.used[name] = true
	if value.Type() == cty.String && !value.IsNull() && !declared.IsPrimitiveType() && declared != cty.DynamicPseudoType {
		parsed, err := parseGiven(value.AsString())
		if err != nil {
			return cty.NilVal, true, fmt.Errorf("value given to variable %q: %w", name, err)
		}
		value = parsed
	}
	value, err := convert.Convert(value, declared)
	if err != nil {
		return cty.NilVal, true, fmt.Errorf("value given to variable %q: %w", name, err)
	}
	return value, true, nil
}

func parseGiven(text string) (cty.Value, error) {
	const where = "<value>"
	if problem, _ := checkSource(where, []byte(text)); problem != "" {
		return cty.NilVal, fmt.Errorf("%s", problem)
	}
	expr, diags := hclsyntax.ParseExpression([]byte(text), where, hcl.Pos{Line: 1, Column: 1})
	if diags.HasErrors() {
		return cty.NilVal, diagnosticError(diags)
	}
	value, diags := expr.Value(nil)
	if diags.HasErrors() {
		return cty.NilVal, diagnosticError(diags)
	}
	return value, nil
}
