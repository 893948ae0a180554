package spec

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// readVariables takes the values of variable and variables blocks: those given,
// else their defaults. A variable without a usable one is unknown, and only what uses it is not judged.
func (e *evaluator) readVariables(blocks hclsyntax.Blocks) {
	for _, block := range blocks {
		switch {
		case block.Type == "variable" && len(block.Labels) == 1:
			name := block.Labels[0]
			value, err := e.variableValue(name, block.Body.Attributes)
			e.define(variableRoot, name, value, err)
		case block.Type == "variables":
			for name, attr := range block.Body.Attributes {
				value, given, err := e.given.take(name, cty.DynamicPseudoType)
				if !given {
					value, err = e.evaluate(attr.Expr)
				}
				e.define(variableRoot, name, value, err)
			}
		}
	}
}

// variableValue is the value given to a variable, else its default.
func (e *evaluator) variableValue(name string, attrs hclsyntax.Attributes) (cty.Value, error) {
	declared := cty.DynamicPseudoType
	if attr := attrs["type"]; attr != nil {
		ty, diags := typeexpr.TypeConstraint(attr.Expr)
		if diags.HasErrors() {
			return cty.NilVal, fmt.Errorf("type of variable %q: %w", name, diagnosticError(diags))
		}
		declared = ty
	}
	if value, ok, err := e.given.take(name, declared); ok {
		return value, err
	}
	attr := attrs["default"]
	if attr == nil {
		return cty.NilVal, fmt.Errorf("variable %q has no default", name)
	}
	value, err := e.evaluate(attr.Expr)
	if err != nil {
		return cty.NilVal, fmt.Errorf("default of variable %q: %w", name, err)
	}
	if value, err = convert.Convert(value, declared); err != nil {
		return cty.NilVal, fmt.Errorf("default of variable %q: %w", name, err)
	}
	return value, nil
}

// readLocals evaluates locals in the order of their dependencies: each round
// takes those that need no local which is still open. What is left over when a
// round brings nothing depends on itself.
func (e *evaluator) readLocals(blocks hclsyntax.Blocks) {
	open := map[string]hclsyntax.Expression{}
	for _, block := range blocks {
		if block.Type == "locals" {
			for name, attr := range block.Body.Attributes {
				open[name] = attr.Expr
			}
		}
	}
	for len(open) > 0 {
		var ready []string
		for name, expr := range open {
			if !needsOpenLocal(expr, open) {
				ready = append(ready, name)
			}
		}
		if len(ready) == 0 {
			for name := range open {
				e.define(localRoot, name, cty.NilVal, fmt.Errorf("local.%s depends on itself", name))
			}
			return
		}
		slices.Sort(ready)
		for _, name := range ready {
			value, err := e.evaluate(open[name])
			e.define(localRoot, name, value, err)
			delete(open, name)
		}
	}
}

func needsOpenLocal(expr hclsyntax.Expression, open map[string]hclsyntax.Expression) bool {
	for _, traversal := range expr.Variables() {
		if traversal.RootName() != localRoot {
			continue
		}
		if len(traversal) < 2 {
			return len(open) > 1 // all locals as one object: after all the others
		}
		if name, ok := stepName(traversal[1]); ok && open[name] != nil {
			return true
		}
	}
	return false
}

// define gives a name its value, or remembers why it has none.
func (e *evaluator) define(root, name string, value cty.Value, err error) {
	if err == nil {
		if _, ok := sizeOf(value); !ok {
			err = fmt.Errorf("%s.%s is too large", root, name)
		}
	}
	if err != nil {
		value = cty.DynamicVal
		e.problems[root+"."+name] = err
	}
	if root == variableRoot {
		e.variables[name] = value
	} else {
		e.locals[name] = value
	}
}
