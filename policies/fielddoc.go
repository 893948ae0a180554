package policies

// FieldDoc documents one field of a policy.
type FieldDoc struct {
	Path      string `json:"path"`              // "scale_up.window"
	Type      string `json:"type"`              // "duration", "whole number", …; "block" for a block that may be repeated
	Unit      string `json:"unit,omitempty"`    // of a number
	Default   string `json:"default,omitempty"` // as it is written in HCL; "" if there is none
	Meaning   string `json:"meaning"`
	Allowed   string `json:"allowed,omitempty"`
	Supported bool   `json:"supported"` // false: refused in this version, whatever its value
}

// Fields documents every field, in the order in which they are written.
func Fields() []FieldDoc {
	defaults := full("")
	all := fields
	for i := range blocks {
		if b := &blocks[i]; b.entries != nil { // an entry without a name stands for all of them
			b.entries.add(defaults, "")
			all = append(all[:len(all):len(all)], b.entries.fields(b.name+".", "")...)
		}
	}
	var docs []FieldDoc
	add := func(blockName string) {
		for _, f := range all {
			if inBlock, _ := f.split(); inBlock != blockName {
				continue
			}
			allowed := f.shape.allowed()
			if u := unsupportedAt(f.path); u != nil && (u.but != nil || u.only != nil) {
				allowed = "in this version " + u.instead()
			}
			docs = append(docs, FieldDoc{
				Path: f.path, Type: f.shape.kind(), Unit: f.unit,
				Default: valueText(f.plainValue(defaults)),
				Meaning: f.meaning, Allowed: allowed, Supported: supported(f.path),
			})
		}
	}
	add("")
	for i := range blocks {
		b := &blocks[i]
		if b.entries != nil {
			docs = append(docs, FieldDoc{Path: b.name, Type: "block", Meaning: b.meaning, Supported: supported(b.name)})
		}
		add(b.name)
	}
	return docs
}
