package policies

import (
	"fmt"
	"slices"
)

// document is one policy as somebody wrote it, in HCL or JSON, before it is
// judged. Reading it has found what has no place in a policy (errs); whether
// the rest makes sense is for judge.
type document struct {
	file    string
	name    string
	at      place // of the policy itself
	values  map[string]writtenValue
	blocks  map[string]place
	fields  map[string]field // of the entries
	entries []entry
	errs    ValidationErrors

	nameless bool // it has none that could be judged, which is reported already

	// partial: errors of syntax may have lost some of it, so nothing can be said
	// about what is missing.
	partial bool

	start, end int // bytes of the policy block in its file
}

// entry is a block with a name, of a kind that may be repeated.
type entry struct {
	of   *block
	name string
}

type writtenValue struct {
	value any // see shape
	at    place
}

// place is a position in a file; zero is not known.
type place struct{ line, column int }

func newDocument(file string) *document {
	return &document{file: file, values: map[string]writtenValue{}, blocks: map[string]place{}, fields: map[string]field{}}
}

// maxErrors of one policy are reported: nobody reads more, and a hostile text
// could ask for millions.
const maxErrors = 100

func (d *document) report(at place, path, message, allowed string) {
	if len(d.errs) == maxErrors {
		return
	}
	d.errs = append(d.errs, FieldError{
		File: d.file, Line: at.line, Column: at.column,
		Policy: d.name, Field: path, Message: message, Allowed: allowed,
	})
}

// enter notes that a block is written, and returns the prefix of its fields'
// paths. It returns false if its content is not to be read: it has no place
// here, or stands twice.
func (d *document) enter(name string, at place, labels []string) (prefix string, ok bool) {
	b := blockNamed(name)
	switch {
	case b == nil:
		d.misplacedBlock(name, at)
		return "", false
	case b.entries != nil && len(labels) != 1:
		d.report(at, name, fmt.Sprintf("has one name, this one has %d", len(labels)), name+` "name" { … }`)
		return "", false
	case b.entries != nil:
		return d.enterEntry(b, labels[0], at)
	}
	if len(labels) > 0 {
		d.report(at, name, "takes no name", name+" { … }")
	}
	return name + ".", d.first(name, at, "one "+name+" block")
}

// enterEntry notes that a block of a kind that may be repeated is written.
func (d *document) enterEntry(b *block, name string, at place) (prefix string, ok bool) {
	if !isEntryName(name) {
		d.report(at, b.name, show(name)+" is not a name of a "+b.name, entryName)
		return "", false
	}
	path := entryPath(b.name, name)
	if !d.first(path, at, "another name") {
		return "", false
	}
	n := 1
	for _, e := range d.entries {
		if e.of == b {
			n++
		}
	}
	if n > b.entries.most {
		if _, said := d.blocks[b.name]; !said {
			d.blocks[b.name] = at
			d.report(at, b.name, fmt.Sprintf("%d is one too many", n), fmt.Sprintf("at most %d %s blocks", b.entries.most, b.name))
		}
		return "", false
	}
	d.entries = append(d.entries, entry{b, name})
	for _, f := range b.of(name) {
		d.fields[f.path] = f
	}
	return path + ".", true
}

// first notes where a block is written, and reports one that is written twice.
func (d *document) first(path string, at place, allowed string) bool {
	first, twice := d.blocks[path]
	if !twice {
		d.blocks[path] = at
		return true
	}
	message := "is written twice"
	if first.line > 0 {
		message += fmt.Sprintf(", first in line %d", first.line)
	}
	d.report(at, path, message, allowed)
	return false
}

// knows reports whether the path is a field's.
func (d *document) knows(path string) bool {
	_, entry := d.fields[path]
	return entry || fieldAt(path) != nil
}

// attribute notes that a field is written.
func (d *document) attribute(path string, value any, at, valueAt place) {
	if !d.knows(path) {
		d.misplacedAttribute(path, at)
		return
	}
	if _, twice := d.values[path]; twice {
		d.report(at, path, "is set twice", "once")
		return
	}
	if value == nil { // null: as if it were not written
		return
	}
	d.values[path] = writtenValue{value: value, at: valueAt}
}

func (d *document) misplacedBlock(path string, at place) {
	if len(d.errs) == maxErrors { // no use in wording it
		return
	}
	switch blockName, _ := splitPath(path); {
	case fieldAt(path) != nil:
		d.report(at, path, "is a value, not a block", fieldAt(path).shape.allowed())
	case blockName != "":
		d.report(at, path, "is unknown: "+blockName+" holds no blocks", quoted(attributesOf(blockName)))
	default:
		d.report(at, path, unknownName(path, blockNames()), quoted(blockNames()))
	}
}

func (d *document) misplacedAttribute(path string, at place) {
	if len(d.errs) == maxErrors {
		return
	}
	blockName, name := splitPath(path)
	if blockName == "" && blockNamed(name) != nil {
		allowed := name + " { … }"
		if blockNamed(name).entries != nil {
			allowed = name + ` "name" { … }`
		}
		d.report(at, path, "is a block, not a value", allowed)
		return
	}
	known := attributesOf(blockName)
	allowed := quoted(known)
	if blockName == "" {
		known = append(known, blockNames()...)
		allowed += ", and the blocks " + quoted(blockNames())
	}
	d.report(at, path, unknownName(name, known), allowed)
}

// unknownName says that a name is unknown, and the one that was probably meant.
func unknownName(name string, known []string) string {
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("is unknown, did you mean %q?", near)
	}
	return "is unknown"
}

// placeOf returns where the field is written; else its block; else the policy.
func (d *document) placeOf(path string) place {
	if v, ok := d.values[path]; ok {
		return v.at
	}
	if blockName, name := splitPath(path); blockName != "" {
		path = blockName
	} else {
		path = name
	}
	if at, ok := d.blocks[path]; ok {
		return at
	}
	return d.at
}

// judge builds the policy that the document describes, and returns all that is
// wrong with it. The policy is nil if anything is.
func (d *document) judge() (*Policy, ValidationErrors) {
	p := New(d.name)
	if !d.nameless && !isPolicyName(d.name) {
		d.report(d.at, "name", show(d.name)+" is not a policy's name", policyName)
	}
	for i := range blocks {
		b := &blocks[i]
		at, written := d.blocks[b.name]
		if !written {
			continue
		}
		if u := refusal(b.name, nil); u != nil {
			d.report(at, b.name, notSupportedYet, u.instead())
		}
		if b.create != nil {
			b.create(p)
		}
	}

	for _, e := range d.entries {
		e.of.entries.add(p, e.name)
	}

	bad := map[string]bool{} // fields whose value says nothing
	for _, f := range fieldsOf(p) {
		written, ok := d.values[f.path]
		if !ok {
			continue
		}
		if message, allowed := f.take(p, written.value); message != "" {
			bad[f.path] = true
			d.report(written.at, f.path, message, allowed)
		}
	}
	if d.written("sizing.headroom") && d.written("sizing.target_utilization") {
		d.report(d.placeOf("sizing.target_utilization"), "sizing.target_utilization", headroomToo, "one of the two")
		bad["sizing.target_utilization"] = true
	}

	for _, q := range contradictions(p) {
		if q.concerns(bad) || d.partial && (q.missing || !d.allWritten(q.fields)) {
			continue
		}
		at := d.placeOf(q.fields[0])
		for _, path := range q.fields {
			if d.written(path) {
				at = d.placeOf(path)
				break
			}
		}
		d.report(at, q.fields[0], q.message, q.allowed)
	}
	if len(d.errs) > 0 {
		return nil, d.errs
	}
	return p, nil
}

func (d *document) written(path string) bool {
	_, ok := d.values[path]
	return ok
}

func (d *document) allWritten(paths []string) bool {
	return !slices.ContainsFunc(paths, func(path string) bool { return !d.written(path) })
}

// distrust forgets the values on a line with an error of syntax, which may have
// been cut short, and returns the path of one of them, "" if there is none.
func (d *document) distrust(line int) (path string) {
	for p, v := range d.values {
		if v.at.line == line {
			delete(d.values, p)
			path = p
		}
	}
	return path
}

// take reads, checks and sets a written value; message is "" if all is well.
func (f *field) take(p *Policy, written any) (message, allowed string) {
	value, problem := f.shape.read(written)
	if problem == "" {
		problem = f.shape.check(value)
	}
	if problem != "" {
		return problem, f.shape.allowed()
	}
	if u := refusal(f.path, value); u != nil {
		return notSupportedYet, u.instead()
	}
	if f.set != nil {
		f.set(p, value)
	}
	return "", ""
}
