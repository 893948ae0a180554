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
	maxSourceBytes  = 512 << 10
	maxNesting      = 100      // brackets, quotes, templates
	maxUnary        = 100      // operators in a row
	maxConditionals = 1000     // in the whole file
	maxValueBytes   = 64 << 10 // of one variable or local
	maxArgBytes     = 16 << 10 // of the arguments of one function call
	maxNumberBits   = 4096     // of the exponent of a number
)

// checkSource refuses what the HCL parser, which recurses, must not be given.
func checkSource(filename string, src []byte) (problem string, at hcl.Pos) {
	start := hcl.Pos{Line: 1, Column: 1}
	if len(src) > maxSourceBytes {
		return fmt.Sprintf("the file has %d bytes", len(src)), start
	}
	// Problems that the lexer finds are found again, and reported, by the parser.
	tokens, _ := hclsyntax.LexConfig(src, filename, start)
	depth, unary, conditionals := 0, 0, 0
	for _, token := range tokens {
		switch token.Type {
		case hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenOBrace, hclsyntax.TokenOQuote,
			hclsyntax.TokenOHeredoc, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
		case hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCBrace, hclsyntax.TokenCQuote,
			hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			depth = max(depth-1, 0)
		case hclsyntax.TokenQuestion:
			conditionals++
		}
		if token.Type == hclsyntax.TokenBang || token.Type == hclsyntax.TokenMinus {
			unary++
		} else if token.Type != hclsyntax.TokenNewline {
			unary = 0
		}
		if depth > maxNesting || unary > maxUnary || conditionals > maxConditionals {
			return "expressions are nested too deeply", token.Range.Start
		}
	}
	return "", start
}

// checkExpression refuses expressions whose evaluation could take for ever.
func checkExpression(expr hclsyntax.Expression) error {
	w := &expressionWalk{}
	hclsyntax.Walk(expr, w)
	return w.err
}

type expressionWalk struct {
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
