package policies

import (
	"bytes"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// Format writes the policy as HCL in its canonical form: the fields that differ
// from their defaults, in the order of the documentation. For a valid policy
// Parse(Format(p)) equals p; fields that this version does not act on have
// their defaults there and are not written.
func Format(p *Policy) []byte {
	file := hclwrite.NewEmptyFile()
	appendPolicy(file.Body(), p)
	return hclwrite.Format(file.Bytes())
}

// FormatFile writes several policies as one file.
func FormatFile(ps []*Policy) []byte {
	texts := make([][]byte, len(ps))
	for i, p := range ps {
		texts[i] = Format(p)
	}
	return bytes.Join(texts, []byte("\n"))
}

func appendPolicy(file *hclwrite.Body, p *Policy) {
	body := file.AppendNewBlock("policy", []string{p.Name}).Body()
	defaults := fullLike(p)
	appendFields(body, p, defaults, "")
	for i := range blocks {
		b := &blocks[i]
		if b.entries != nil {
			appendEntries(body, p, defaults, b)
			continue
		}
		optional := b.present != nil
		if optional && !b.present(p) {
			continue
		}
		inner := hclwrite.NewBlock(b.name, nil)
		if appendFields(inner.Body(), p, defaults, b.name) || optional {
			body.AppendNewline()
			body.AppendBlock(inner)
		}
	}
}

func appendEntries(body *hclwrite.Body, p, defaults *Policy, b *block) {
	for _, name := range b.entries.names(p) {
		inner := hclwrite.NewBlock(b.name, []string{name})
		appendFields(inner.Body(), p, defaults, entryPath(b.name, name))
		body.AppendNewline()
		body.AppendBlock(inner)
	}
}

// appendFields writes the fields of one block that differ from their defaults
// and reports whether there were any.
func appendFields(body *hclwrite.Body, p, defaults *Policy, blockName string) bool {
	written := false
	for _, f := range fieldsOf(p) {
		inBlock, name := f.split()
		if inBlock != blockName || !f.differs(p, defaults) {
			continue
		}
		plain := f.plainValue(p)
		if plain == nil {
			continue
		}
		body.SetAttributeRaw(name, tokensOf(plain))
		written = true
	}
	return written
}

func tokensOf(plain any) hclwrite.Tokens {
	switch v := plain.(type) {
	case string:
		return hclwrite.TokensForValue(cty.StringVal(v))
	case []string:
		items := make([]hclwrite.Tokens, len(v))
		for i, s := range v {
			items[i] = tokensOf(s)
		}
		return hclwrite.TokensForTuple(items)
	case bool:
		return hclwrite.TokensForValue(cty.BoolVal(v))
	default:
		// hclwrite's own text of a number does not always read back as that number.
		return hclwrite.Tokens{{Type: hclsyntax.TokenNumberLit, Bytes: []byte(valueText(v))}}
	}
}
