package web

import (
	"strings"

	"github.com/pilotlight/pilotlight/policies"
)

// policyKinds are the JSON types of the kinds of a policy's fields.
var policyKinds = map[string]string{
	"text": "string", "one of": "string", "duration": "string", "duration or word": "string", "size": "string", "cron": "string",
	"whole number": "integer", "number": "number", "true or false": "boolean", "list of text": "array",
}

// policySchema is the schema of a policy as JSON, from the table that everything
// reads which knows a policy's fields: their kinds, defaults and meanings.
func policySchema() map[string]any {
	root := map[string]any{"name": described("string", "of the policy, and of its service")}
	blocks := map[string]map[string]any{"": root}
	for _, f := range policies.Fields() {
		if !f.Supported {
			continue
		}
		name, attribute, nested := strings.Cut(f.Path, ".")
		if f.Type == "block" { // repeated: an object for each, by its name
			entry := map[string]any{}
			blocks[f.Path] = entry
			root[f.Path] = map[string]any{"type": "object", "description": f.Meaning + "; by name",
				"additionalProperties": map[string]any{"type": "object", "properties": entry}}
			continue
		}
		if !nested {
			name, attribute = "", f.Path
		}
		if blocks[name] == nil {
			blocks[name] = map[string]any{}
			root[name] = map[string]any{"type": "object", "properties": blocks[name]}
		}
		blocks[name][attribute] = policyField(f)
	}
	return map[string]any{"type": "object", "properties": root,
		"description": "a policy with the field names of HCL; blocks are objects, durations and sizes text"}
}

func policyField(f policies.FieldDoc) map[string]any {
	words := f.Meaning
	if f.Unit != "" {
		words += "; " + f.Unit
	}
	if f.Allowed != "" {
		words += ". Allowed: " + f.Allowed
	}
	if f.Default != "" {
		words += ". Default: " + f.Default
	}
	return described(policyKinds[f.Type], words)
}

func described(kind, words string) map[string]any {
	out := map[string]any{"type": kind, "description": words}
	if kind == "array" {
		out["items"] = map[string]any{"type": "string"}
	}
	return out
}
