package policies

import (
	"bytes"

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
	defaults := full(p.Name)
	appendFields(body, p, defaults, "")
	for i := range blocks {
		b := &blocks[i]
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

// appendFields writes the fields of one block that differ from their defaults
// and reports whether there were any.
func appendFields(body *hclwrite.Body, p, defaults *Policy, blockName string) bool {
	written := false
	for i := range fields {
		f := &fields[i]
		inBlock, name := f.split()
		if inBlock != blockName || !f.differs(p, defaults) {
			continue
		}
		plain := f.plainValue(p)
		if plain == nil {
			continue
		}
		body.SetAttributeValue(name, ctyValue(plain))
		written = true
	}
	return written
}

func ctyValue(plain any) cty.Value {
	switch v := plain.(type) {
	case string:
		return cty.StringVal(v)
	case bool:
		return cty.BoolVal(v)
	case int:
		return cty.NumberIntVal(int64(v))
	case float64:
		return cty.NumberFloatVal(v)
	case []string:
		items := make([]cty.Value, len(v))
		for i, s := range v {
			items[i] = cty.StringVal(s)
		}
		return cty.TupleVal(items)
	default:
		panic("policies: a plain value of an unknown type")
	}
}
