package policies

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ParseJSON reads one policy from its JSON document: an object with the names
// of HCL, blocks being objects, and "name". What is not written, or null, has
// its default. filename is for messages only and may be "". The error is
// ValidationErrors.
func ParseJSON(filename string, src []byte) (*Policy, error) {
	d := readJSON(filename, src)
	p, errs := d.judge()
	if len(errs) > 0 {
		return nil, errs.err()
	}
	return p, nil
}

// UnmarshalJSON replaces the policy by the one that the document describes, as
// ParseJSON does. On an error the policy is left as it was.
func (p *Policy) UnmarshalJSON(src []byte) error {
	parsed, err := ParseJSON("", src)
	if err != nil {
		return err
	}
	*p = *parsed
	return nil
}

// MarshalJSON writes the document that ParseJSON reads: every field that has a
// value, defaults too, durations as Go durations and sizes as "256MiB". Fields
// that this version does not act on are left out, unless what they say is what
// this version does. So is retry.repeat where the policy does not name it: its
// default depends on the path of each request (see Fields).
func (p Policy) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(`{"name":`)
	if err := writeJSON(&b, p.Name); err != nil {
		return nil, err
	}
	if err := p.writeFields(&b, "", true); err != nil {
		return nil, err
	}
	for i := range blocks {
		if blocks[i].present != nil && !blocks[i].present(&p) {
			continue
		}
		var inner bytes.Buffer
		if err := p.writeBlock(&inner, &blocks[i]); err != nil {
			return nil, err
		}
		if inner.Len() > 0 || blocks[i].present != nil {
			fmt.Fprintf(&b, ",%q:{%s}", blocks[i].name, inner.Bytes())
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// writeBlock writes the members of one block; those of a block that may be
// repeated are objects by its names.
func (p *Policy) writeBlock(b *bytes.Buffer, of *block) error {
	if of.entries == nil {
		return p.writeFields(b, of.name, false)
	}
	for i, name := range of.entries.names(p) {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := writeJSON(b, name); err != nil {
			return err
		}
		b.WriteString(":{")
		if err := p.writeFields(b, entryPath(of.name, name), false); err != nil {
			return err
		}
		b.WriteByte('}')
	}
	return nil
}

// writeFields writes the members of one block, a comma before each (before the
// first only if that is asked for).
func (p *Policy) writeFields(b *bytes.Buffer, blockName string, comma bool) error {
	for _, f := range fieldsOf(p) {
		inBlock, name := f.split()
		if inBlock != blockName || f.get == nil {
			continue
		}
		value := f.get(p)
		if value == nil || refusal(f.path, value) != nil {
			continue
		}
		if comma {
			b.WriteByte(',')
		}
		comma = true
		b.WriteString(strconv.Quote(name) + ":")
		if err := writeJSON(b, f.shape.plain(value)); err != nil {
			return fmt.Errorf("write %s: %w", f.path, err)
		}
	}
	return nil
}

func writeJSON(b *bytes.Buffer, plain any) error {
	if list, ok := plain.([]string); ok && list == nil {
		plain = []string{} // an empty list, not null
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return err
	}
	b.Write(text)
	return nil
}

// object is what stands where a value should.
type object struct{}

// jsonReader reads one document and knows where it is.
type jsonReader struct {
	*json.Decoder
	src    []byte
	offset int // up to which at is counted
	at     place
	doc    *document
}

func readJSON(filename string, src []byte) *document {
	r := &jsonReader{
		Decoder: json.NewDecoder(bytes.NewReader(src)),
		src:     src, at: place{line: 1}, doc: newDocument(filename),
	}
	r.UseNumber()
	r.doc.at = r.at
	if len(src) > maxText {
		r.doc.report(r.at, "", fmt.Sprintf("%d bytes are too many", len(src)), fmt.Sprintf("a document of at most %d bytes", maxText))
		r.doc.partial, r.doc.nameless = true, true
		return r.doc
	}
	if err := r.document(); err != nil {
		r.doc.partial = true
		r.doc.nameless = r.doc.name == ""
		message := strings.TrimPrefix(err.Error(), "json: ")
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			message = "the document ends too early"
		}
		r.doc.report(r.here(), "", message, "a JSON object")
	}
	return r.doc
}

var errNotAnObject = errors.New("is not an object")

func (r *jsonReader) document() error {
	if t, err := r.Token(); err != nil {
		return err
	} else if t != json.Delim('{') {
		return errNotAnObject
	}
	if err := r.members("", r.topMember); err != nil {
		return err
	}
	if _, err := r.Token(); err != io.EOF {
		return errors.New("something follows the object")
	}
	return nil
}

// members reads an object whose { has been read: for each name it calls member
// with its path, its place and the first token of its value.
func (r *jsonReader) members(prefix string, member func(path string, at place, value json.Token) error) error {
	for r.More() {
		name, err := r.Token()
		if err != nil {
			return err
		}
		at := r.here()
		value, err := r.Token()
		if err != nil {
			return err
		}
		if err := member(prefix+name.(string), at, value); err != nil {
			return err
		}
	}
	_, err := r.Token() // }
	return err
}

func (r *jsonReader) topMember(path string, at place, value json.Token) error {
	b := blockNamed(path)
	switch {
	case path == "name":
		name, ok := value.(string)
		if !ok {
			v, err := r.value(value)
			r.doc.report(at, "name", isNot(v, "text"), policyName)
			r.doc.nameless = true
			return err
		}
		r.doc.name, r.doc.at = name, at
		return nil
	case b != nil && value == nil:
		return nil
	case b != nil && b.entries != nil && value == json.Delim('{'):
		return r.members("", func(name string, at place, value json.Token) error { return r.entry(b, name, at, value) })
	case value == json.Delim('{'):
		if prefix, ok := r.doc.enter(path, at, nil); ok {
			return r.members(prefix, r.blockMember)
		}
		return r.skip(value)
	default:
		return r.blockMember(path, at, value)
	}
}

// entry reads one of the blocks that may be repeated: a member of an object
// with their names.
func (r *jsonReader) entry(b *block, name string, at place, value json.Token) error {
	if value != json.Delim('{') {
		r.doc.report(at, b.name, show(name)+" is not a block", b.name+`: {"name": { … }}`)
		return r.skip(value)
	}
	if prefix, ok := r.doc.enterEntry(b, name, at); ok {
		return r.members(prefix, r.blockMember)
	}
	return r.skip(value)
}

func (r *jsonReader) blockMember(path string, at place, value json.Token) error {
	if value == json.Delim('{') {
		r.doc.misplacedBlock(path, at)
		return r.skip(value)
	}
	v, err := r.value(value)
	if err != nil {
		return err
	}
	r.doc.attribute(path, v, at, at)
	return nil
}

// value turns the value that begins with a token into its written form.
func (r *jsonReader) value(first json.Token) (any, error) {
	switch t := first.(type) {
	case json.Delim:
		if t == '{' {
			return object{}, r.skip(t)
		}
		items := []any{}
		for r.More() {
			next, err := r.Token()
			if err != nil {
				return nil, err
			}
			if _, nested := next.(json.Delim); nested {
				items = append(items, object{})
				err = r.skip(next)
			} else {
				var item any
				item, err = r.value(next)
				items = append(items, item)
			}
			if err != nil {
				return nil, err
			}
		}
		_, err := r.Token() // ]
		return items, err
	case json.Number:
		f, _ := strconv.ParseFloat(t.String(), 64) // beyond its range: ±Inf, which no field accepts
		return f, nil
	default: // string, bool, nil
		return t, nil
	}
}

// skip reads to the end of the value that begins with a token.
func (r *jsonReader) skip(first json.Token) error {
	for depth, t := 0, first; ; {
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
		var err error
		if t, err = r.Token(); err != nil {
			return err
		}
	}
}

// here is the line of the token that was read last. It counts forward only, so
// that a document costs one pass.
func (r *jsonReader) here() place {
	end := min(int(r.InputOffset()), len(r.src))
	r.at.line += bytes.Count(r.src[r.offset:end], []byte{'\n'})
	r.offset = end
	return r.at
}
