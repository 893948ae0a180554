package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Bounds of a document, so that text from anybody is parsed at a bounded cost.
const (
	maxText    = 1 << 20 // bytes of a file
	maxNesting = 200     // of brackets and operators; a policy needs 3
)

// Parse reads the policy blocks of a file, in their order. filename is for
// messages only. The error is ValidationErrors: all that is wrong, including
// what can be said about the rest of a file with errors of syntax; then no
// policies are returned.
func Parse(filename string, src []byte) ([]*Policy, error) {
	docs, errs := readHCL(filename, src)
	parsed, more := judgeAll(docs)
	errs = append(errs, more...)
	if len(errs) > 0 {
		return nil, errs.err()
	}
	return parsed, nil
}

// judgeAll judges each document and that no two have the same name. The policy
// of a document that is wrong is nil.
func judgeAll(docs []*document) ([]*Policy, ValidationErrors) {
	var errs ValidationErrors
	parsed := make([]*Policy, len(docs))
	for i, d := range docs {
		p, wrong := d.judge()
		parsed[i] = p
		errs = append(errs, wrong...)
		first := slices.IndexFunc(docs[:i], func(other *document) bool { return other.name == d.name })
		if first >= 0 && d.name != "" {
			errs = append(errs, FieldError{
				File: d.file, Line: d.at.line, Column: d.at.column, Policy: d.name, Field: "name",
				Message: fmt.Sprintf("%q names a second policy, the first is in line %d", d.name, docs[first].at.line),
				Allowed: "another name",
			})
		}
	}
	return parsed, errs
}

// readHCL returns the policy blocks of a file as far as they could be read, and
// the errors that belong to none of them.
func readHCL(filename string, src []byte) ([]*document, ValidationErrors) {
	fail := func(at place, message, allowed string) ValidationErrors {
		return ValidationErrors{{File: filename, Line: at.line, Column: at.column, Message: message, Allowed: allowed}}
	}
	if len(src) > maxText {
		return nil, fail(place{}, fmt.Sprintf("%d bytes are too many", len(src)), fmt.Sprintf("a file of at most %d bytes", maxText))
	}
	// The parser recurses, the lexer does not.
	tokens, _ := hclsyntax.LexConfig(src, filename, hcl.InitialPos)
	if at, ok := tooDeep(tokens); ok {
		return nil, fail(at, "brackets and operators are nested too deeply", "plain values in blocks")
	}
	file, diags := hclsyntax.ParseConfig(src, filename, hcl.InitialPos)
	body := file.Body.(*hclsyntax.Body)

	var docs []*document
	var errs ValidationErrors
	for _, block := range body.Blocks {
		if block.Type != "policy" {
			errs = append(errs, fail(placeAt(block.TypeRange), fmt.Sprintf("%q %s", block.Type, unknownName(block.Type, []string{"policy"})), `policy "name" { … }`)...)
			continue
		}
		docs = append(docs, readBlock(filename, block))
	}
	for _, a := range body.Attributes {
		errs = append(errs, fail(placeAt(a.NameRange), fmt.Sprintf("%q stands outside of a policy", a.Name), `policy "name" { … }`)...)
	}
	for _, diag := range diags {
		if diag.Severity == hcl.DiagError {
			e := syntaxError(filename, src, docs, diag)
			for _, d := range docs {
				if path := d.distrust(e.Line); path != "" {
					e.Field = path
				}
			}
			errs = append(errs, e)
		}
	}
	if diags.HasErrors() {
		for _, d := range docs {
			d.partial = true
		}
	}
	if len(docs) == 0 && len(errs) == 0 {
		errs = fail(place{1, 1}, "there is no policy", `policy "name" { … }`)
	}
	return docs, errs
}

func readBlock(filename string, b *hclsyntax.Block) *document {
	d := newDocument(filename)
	d.at = placeAt(b.TypeRange)
	d.start, d.end = b.TypeRange.Start.Byte, b.CloseBraceRange.End.Byte
	if len(b.Labels) == 1 {
		d.name = b.Labels[0]
		d.at = placeAt(b.LabelRanges[0])
	} else {
		d.report(d.at, "", fmt.Sprintf("a policy has one name, this one has %d", len(b.Labels)), `policy "name" { … }`)
		d.nameless = true
	}
	if b.Body == nil {
		return d
	}
	d.readAttributes("", b.Body)
	for _, inner := range b.Body.Blocks {
		if prefix, ok := d.enter(inner.Type, placeAt(inner.TypeRange), inner.Labels); ok && inner.Body != nil {
			d.readAttributes(prefix, inner.Body)
			for _, deeper := range inner.Body.Blocks {
				d.misplacedBlock(prefix+deeper.Type, placeAt(deeper.TypeRange))
			}
		}
	}
	return d
}

func (d *document) readAttributes(prefix string, body *hclsyntax.Body) {
	for name, a := range body.Attributes {
		if a == nil || a.Expr == nil {
			continue
		}
		d.attribute(prefix+name, literal(a.Expr), placeAt(a.NameRange), placeAt(a.Expr.Range()))
	}
}

func placeAt(r hcl.Range) place { return place{r.Start.Line, r.Start.Column} }

// literal returns the plain value that an expression is, without evaluating
// anything: what is not plain is an expression{}.
func literal(e hclsyntax.Expression) any {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		return plainCty(e.Val)
	case *hclsyntax.TemplateExpr:
		var b strings.Builder
		for _, part := range e.Parts {
			lit, ok := part.(*hclsyntax.LiteralValueExpr)
			if !ok || lit.Val.IsNull() || lit.Val.Type() != cty.String {
				return expression{}
			}
			b.WriteString(lit.Val.AsString())
		}
		return b.String()
	case *hclsyntax.TupleConsExpr:
		items := []any{}
		for _, item := range e.Exprs {
			items = append(items, literal(item))
		}
		return items
	case *hclsyntax.UnaryOpExpr:
		if f, ok := literal(e.Val).(float64); ok && e.Op == hclsyntax.OpNegate {
			return -f
		}
	case *hclsyntax.ScopeTraversalExpr:
		if len(e.Traversal) == 1 {
			return expression{bare: e.Traversal.RootName()}
		}
	}
	return expression{}
}

func plainCty(v cty.Value) any {
	switch {
	case v.IsNull():
		return nil
	case v.Type() == cty.String:
		return v.AsString()
	case v.Type() == cty.Bool:
		return v.True()
	case v.Type() == cty.Number:
		f, _ := v.AsBigFloat().Float64()
		return f
	default:
		return expression{}
	}
}

// tooDeep finds where brackets, or operators that the parser recurses on, nest
// deeper than maxNesting.
func tooDeep(tokens hclsyntax.Tokens) (place, bool) {
	depth, operators := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen,
			hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl,
			hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen,
			hclsyntax.TokenTemplateSeqEnd, hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc:
			depth = max(depth-1, 0)
		case hclsyntax.TokenMinus, hclsyntax.TokenBang, hclsyntax.TokenQuestion:
			operators++
		}
		if depth+operators > maxNesting {
			return placeAt(t.Range), true
		}
	}
	return place{}, false
}

// syntaxError says in one line what the parser says, and knows the mistake that
// is made most: a duration without quotes.
func syntaxError(filename string, src []byte, docs []*document, diag *hcl.Diagnostic) FieldError {
	e := FieldError{File: filename, Message: diag.Detail}
	if e.Message == "" {
		e.Message = diag.Summary
	}
	e.Message = strings.TrimSuffix(strings.Join(strings.Fields(e.Message), " "), ".")
	if diag.Subject == nil {
		return e
	}
	at := diag.Subject.Start
	e.Line, e.Column = at.Line, at.Column
	for _, d := range docs {
		if d.start <= at.Byte {
			e.Policy = d.name
		}
	}
	if word := numberWithUnit(src, at.Byte); word != "" {
		e.Message = word + " is not a plain value"
		e.Allowed = fmt.Sprintf("quotes around it: %q", word)
	}
	return e
}

// numberWithUnit returns the word around src[at] if that is where letters begin
// in a word that begins with digits, as in 5m, else "".
func numberWithUnit(src []byte, at int) string {
	isDigit := func(c byte) bool { return c >= '0' && c <= '9' || c == '.' }
	isLetter := func(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
	if at <= 0 || at >= len(src) || !isLetter(src[at]) || !isDigit(src[at-1]) {
		return ""
	}
	from, to := at, at
	for from > 0 && isDigit(src[from-1]) {
		from--
	}
	for to < len(src) && (isDigit(src[to]) || isLetter(src[to])) {
		to++
	}
	return string(src[from:to])
}
