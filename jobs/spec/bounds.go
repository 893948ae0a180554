package spec

import (
	"errors"
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// Bounds of what Parse takes on. Real job specs stay far below all of them;
// without them a few lines of HCL could fill the memory (locals that double
// each other, 1e999999999 written out) or overflow the stack, which Go cannot
// recover from (a hundred thousand brackets).
const (
	maxSourceBytes = 512 << 10
	maxNesting     = 100      // brackets, quotes and templates in one another
	maxRun         = 1000     // tokens of one expression, those in its brackets apart
	maxValueBytes  = 64 << 10 // of one variable or local
	maxArgBytes    = 16 << 10 // of the arguments of one function call
	maxNumberBits  = 4096     // of the exponent of a number
)

// nest is what checkSource knows of one open bracket, quote or template.
type nest struct {
	lines bool // a newline ends an expression here: in a body or an object
	run   int  // tokens of the present expression
}

// checkSource refuses what the HCL parser must not be given: it recurses for
// each bracket, and for each operator, index or conditional of a chain. So it
// bounds both, with the tokens of one expression standing for the latter.
func checkSource(filename string, src []byte) (problem string, at hcl.Pos) {
	start := hcl.Pos{Line: 1, Column: 1}
	if len(src) > maxSourceBytes {
		return fmt.Sprintf("the file has %d bytes", len(src)), start
	}
	// What the lexer finds wrong, the parser finds again and reports.
	tokens, _ := hclsyntax.LexConfig(src, filename, start)
	open := []nest{{lines: true}}
	for _, token := range tokens {
		top := &open[len(open)-1]
		switch token.Type {
		case hclsyntax.TokenOBrace:
			open = append(open, nest{lines: true})
		case hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc,
			hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			open = append(open, nest{})
		case hclsyntax.TokenCBrace, hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCQuote,
			hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			if len(open) > 1 {
				open = open[:len(open)-1]
				open[len(open)-1].run++
			}
		case hclsyntax.TokenNewline:
			if top.lines {
				top.run = 0
			}
		case hclsyntax.TokenComma:
			top.run = 0
		case hclsyntax.TokenStringLit, hclsyntax.TokenQuotedLit, hclsyntax.TokenComment:
		default:
			top.run++
		}
		if len(open) > maxNesting || open[len(open)-1].run > maxRun {
			return "an expression is nested too deeply, or too long", token.Range.Start
		}
	}
	return "", start
}

// checkExpression refuses expressions whose evaluation could take for ever, and
// those that call a function which is not evaluated offline.
func checkExpression(expr hclsyntax.Expression, known map[string]function.Function) error {
	w := &expressionWalk{known: known}
	hclsyntax.Walk(expr, w)
	return w.err
}

type expressionWalk struct {
	known map[string]function.Function
	loops int
	err   error
}

func (w *expressionWalk) Enter(node hclsyntax.Node) hcl.Diagnostics {
	switch n := node.(type) {
	case *hclsyntax.ForExpr:
		w.loops++
		if w.loops > 1 {
			w.err = errors.New("nested for expressions")
		}
	case *hclsyntax.FunctionCallExpr:
		if _, ok := w.known[n.Name]; !ok {
			w.err = fmt.Errorf("function %q", n.Name)
		}
	case *hclsyntax.LiteralValueExpr:
		if _, ok := sizeOf(n.Val); !ok {
			w.err = errors.New("a number too large to write out")
		}
	}
	return nil
}

func (w *expressionWalk) Exit(node hclsyntax.Node) hcl.Diagnostics {
	if _, ok := node.(*hclsyntax.ForExpr); ok {
		w.loops--
	}
	return nil
}

// sizeOf estimates the bytes of a value; false if it is above maxValueBytes or
// holds a number of absurd magnitude.
func sizeOf(v cty.Value) (int, bool) {
	size := 0
	ok := addSize(v, &size)
	return size, ok
}

func addSize(v cty.Value, size *int) bool {
	*size += 8
	v, _ = v.Unmark()
	if v.IsNull() || !v.IsKnown() {
		return true
	}
	switch ty := v.Type(); {
	case ty == cty.String:
		*size += len(v.AsString())
	case ty == cty.Number:
		number := v.AsBigFloat()
		if exponent := number.MantExp(nil); number.IsInf() || exponent > maxNumberBits || exponent < -maxNumberBits {
			return false
		}
	case ty.IsCapsuleType():
	case v.CanIterateElements():
		for it := v.ElementIterator(); it.Next(); {
			key, element := it.Element()
			if !addSize(key, size) || !addSize(element, size) {
				return false
			}
		}
	}
	return *size <= maxValueBytes
}

// bounded wraps a function so that its arguments, and with them its result,
// stay small: replace("aa…", "a", "bb…") multiplies lengths.
func bounded(name string, f function.Function) function.Function {
	check := func(args []cty.Value) error {
		total := 0
		for _, arg := range args {
			size, ok := sizeOf(arg)
			total += size
			if !ok || total > maxArgBytes {
				return fmt.Errorf("the arguments of %s are too large", name)
			}
		}
		return nil
	}
	return function.New(&function.Spec{
		Params:   f.Params(),
		VarParam: f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			if err := check(args); err != nil {
				return cty.DynamicPseudoType, err
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return f.Call(args)
		},
	})
}
