package spec

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// scope reads the attributes and blocks of one body. Its methods leave what
// they are given alone if the file says nothing usable, so that defaults are
// simply what stood there before.
type scope struct {
	e     *evaluator
	body  *hclsyntax.Body
	label string // of the block, "" if it has none
	path  string // of the body; "" for the job
	at    hcl.Pos
}

// unread are blocks of which nothing is judged, whoever makes them.
var unread = map[string]bool{
	"affinity": true, "artifact": true, "constraint": true, "identity": true,
	"spread": true, "volume": true, "volume_mount": true,
}

// open starts reading a body and reports what in it only Nomad can expand.
func (e *evaluator) open(block *hclsyntax.Block, path string) scope {
	s := scope{e: e, body: block.Body, path: path, at: block.DefRange().Start}
	if len(block.Labels) > 0 {
		s.label = block.Labels[0]
	}
	for _, inner := range block.Body.Blocks {
		if inner.Type == "dynamic" && len(inner.Labels) == 1 && !unread[inner.Labels[0]] {
			e.notJudged(s.join(inner.Labels[0]), inner.DefRange().Start,
				fmt.Sprintf("the %s blocks that this dynamic block makes", inner.Labels[0]))
		}
	}
	return s
}

func (s scope) join(names ...string) string {
	if s.path != "" {
		names = append([]string{s.path}, names...)
	}
	return strings.Join(names, ".")
}

// blocks returns the inner blocks of a type, each with its own scope.
func (s scope) blocks(kind string) []scope {
	var found []scope
	for _, block := range s.body.Blocks {
		if block.Type == kind {
			found = append(found, s.e.open(block, s.join(append([]string{kind}, block.Labels...)...)))
		}
	}
	return found
}

// block returns the first inner block of a type.
func (s scope) block(kind string) (scope, bool) {
	for _, block := range s.body.Blocks {
		if block.Type == kind {
			return s.e.open(block, s.join(append([]string{kind}, block.Labels...)...)), true
		}
	}
	return scope{}, false
}

// value returns an attribute's value converted to a type; false if it is not
// there, null, or reported as not judged or wrong.
func (s scope) value(name string, ty cty.Type) (cty.Value, hcl.Pos, bool) {
	attr := s.body.Attributes[name]
	if attr == nil {
		return cty.NilVal, hcl.Pos{}, false
	}
	at := attr.SrcRange.Start
	value, err := s.e.evaluate(attr.Expr)
	if err != nil {
		s.e.notJudged(s.join(name), at, err.Error())
		return cty.NilVal, at, false
	}
	converted, err := convert.Convert(value, ty)
	switch {
	case err == nil:
	case isRuntimeText(value):
		s.e.notJudged(s.join(name), at, value.AsString()+" is known only at the node")
		return cty.NilVal, at, false
	default:
		s.e.badValue(s.join(name), at, name+": "+err.Error(), ty.FriendlyName())
		return cty.NilVal, at, false
	}
	return converted, at, !converted.IsNull()
}

func isRuntimeText(v cty.Value) bool {
	return v.Type() == cty.String && !v.IsNull() && strings.Contains(v.AsString(), "${")
}

func (s scope) text(name string, into *string) bool {
	value, _, ok := s.value(name, cty.String)
	if ok {
		*into = value.AsString()
	}
	return ok
}

func (s scope) flag(name string, into *bool) bool {
	value, _, ok := s.value(name, cty.Bool)
	if ok {
		*into = value.True()
	}
	return ok
}

func (s scope) integer(name string, into *int) bool {
	value, at, ok := s.value(name, cty.Number)
	if !ok {
		return false
	}
	n, accuracy := value.AsBigFloat().Int64()
	if accuracy != big.Exact || n < math.MinInt32 || n > math.MaxInt32 {
		s.e.badValue(s.join(name), at, name+" is not a whole number", "a whole number")
		return false
	}
	*into = int(n)
	return true
}

// duration reads "90s"; a bare number is nanoseconds, as in Nomad.
func (s scope) duration(name string, into *time.Duration) bool {
	value, at, ok := s.value(name, cty.DynamicPseudoType)
	if !ok {
		return false
	}
	d, err := durationOf(value)
	if err != nil {
		if isRuntimeText(value) {
			s.e.notJudged(s.join(name), at, value.AsString()+" is known only at the node")
		} else {
			s.e.badValue(s.join(name), at, name+": "+err.Error(), `a duration such as "90s" or "10m"`)
		}
		return false
	}
	*into = d
	return true
}

func durationOf(v cty.Value) (time.Duration, error) {
	switch v.Type() {
	case cty.String:
		return time.ParseDuration(v.AsString())
	case cty.Number:
		ns, accuracy := v.AsBigFloat().Int64()
		if accuracy != big.Exact {
			return 0, errors.New("not a whole number of nanoseconds")
		}
		return time.Duration(ns), nil
	}
	return 0, fmt.Errorf("a %s is not a duration", v.Type().FriendlyName())
}

// list reads a list of strings.
func (s scope) list(name string, into *[]string) bool {
	value, at, ok := s.value(name, cty.List(cty.String))
	if !ok {
		return false
	}
	var items []string
	for it := value.ElementIterator(); it.Next(); {
		_, item := it.Element()
		if item.IsNull() {
			s.e.badValue(s.join(name), at, name+" has a null element", "strings")
			return false
		}
		items = append(items, item.AsString())
	}
	*into = items
	return true
}

// pairs reads a map of strings from a block (name { A = … }), or an attribute
// (name = { A = … }). An entry that cannot be evaluated is left out alone.
func (s scope) pairs(name string) map[string]string {
	found := map[string]string{}
	for _, inner := range s.blocks(name) {
		for key := range inner.body.Attributes {
			var value string
			if inner.text(key, &value) {
				found[key] = value
			}
		}
	}
	if value, at, ok := s.value(name, cty.DynamicPseudoType); ok {
		all, err := convert.Convert(value, cty.Map(cty.String))
		if err != nil {
			s.e.badValue(s.join(name), at, name+": "+err.Error(), "a map of strings")
			return found
		}
		for it := all.ElementIterator(); it.Next(); {
			key, item := it.Element()
			if !item.IsNull() {
				found[key.AsString()] = item.AsString()
			}
		}
	}
	return found
}
