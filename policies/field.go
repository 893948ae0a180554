package policies

import (
	"reflect"
	"strconv"
	"strings"
)

// field is one attribute of a policy: where it is written, what its values look
// like, and where the Policy keeps it.
type field struct {
	path    string // "job", "scale_up.window"
	shape   shape
	unit    string // of a number, and what it is counted per; "" if the shape says it all
	meaning string

	// get returns the Go value of the shape, nil if the policy does not name the
	// field. get and set are nil for a field that no version acts on yet and that
	// Policy therefore has no place for.
	get func(*Policy) any
	set func(*Policy, any)
}

// block is a block within a policy block.
type block struct {
	name    string
	meaning string
	// A block that may be absent, and is kept as such: present and create are nil
	// for the others, whose fields have their defaults when it is not written.
	present func(*Policy) bool
	create  func(*Policy)
	// A block that may be repeated, each with a name; nil for the others.
	entries *entries
}

// one is a field that always has a value; at returns nil when its block is absent.
func one[T any](path string, s shape, unit, meaning string, at func(*Policy) *T) field {
	return field{
		path: path, shape: s, unit: unit, meaning: meaning,
		get: func(p *Policy) any {
			if v := at(p); v != nil {
				return *v
			}
			return nil
		},
		set: func(p *Policy, v any) { *at(p) = v.(T) },
	}
}

// maybe is a field whose absence means something: nil, or the zero value of a
// text. at returns nil when its block is absent.
func maybe[T any](path string, s shape, unit, meaning string, at func(*Policy) **T) field {
	return field{
		path: path, shape: s, unit: unit, meaning: meaning,
		get: func(p *Policy) any {
			if v := at(p); v != nil && *v != nil {
				return **v
			}
			return nil
		},
		set: func(p *Policy, v any) { t := v.(T); *at(p) = &t },
	}
}

// later is a field with a name and a shape only.
func later(path string, s shape, meaning string) field {
	return field{path: path, shape: s, meaning: meaning}
}

// split returns the block's name ("" at the top) and the attribute's.
func (f field) split() (blockName, name string) { return splitPath(f.path) }

func splitPath(path string) (blockName, name string) {
	if b, n, ok := strings.Cut(path, "."); ok {
		return b, n
	}
	return "", path
}

// fieldAt returns the field with that path, nil if there is none.
func fieldAt(path string) *field {
	for i := range fields {
		if fields[i].path == path {
			return &fields[i]
		}
	}
	return nil
}

func blockNamed(name string) *block {
	for i := range blocks {
		if blocks[i].name == name {
			return &blocks[i]
		}
	}
	return nil
}

// attributesOf returns the names of the attributes in a block, "" being the
// policy block itself, in the order of the table.
func attributesOf(blockName string) []string {
	var names []string
	kind, _, entry := strings.Cut(blockName, " ")
	if b := blockNamed(kind); entry && b != nil && b.entries != nil {
		for _, f := range b.entries.fields("", "") {
			names = append(names, f.path)
		}
		return names
	}
	for i := range fields {
		if b, n := fields[i].split(); b == blockName {
			names = append(names, n)
		}
	}
	return names
}

func blockNames() []string {
	names := make([]string, len(blocks))
	for i := range blocks {
		names[i] = blocks[i].name
	}
	return names
}

// full is a policy with every default and every block that may be absent.
func full(name string) *Policy {
	p := New(name)
	for _, b := range blocks {
		if b.create != nil {
			b.create(p)
		}
	}
	return p
}

// plainValue is the field's value as Format and MarshalJSON write it, nil if it
// is not named.
func (f field) plainValue(p *Policy) any {
	if f.get == nil {
		return nil
	}
	if v := f.get(p); v != nil {
		return f.shape.plain(v)
	}
	return nil
}

// differs reports whether the field has another value than its default.
func (f field) differs(p, defaults *Policy) bool {
	if f.get == nil {
		return false
	}
	return !reflect.DeepEqual(f.get(p), f.get(defaults))
}

// valueText renders a plain value as it is written in HCL.
func valueText(plain any) string {
	switch v := plain.(type) {
	case nil:
		return ""
	case string:
		return strconv.Quote(v)
	case []string:
		return "[" + quoted(v) + "]"
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		panic("policies: a plain value of an unknown type")
	}
}
