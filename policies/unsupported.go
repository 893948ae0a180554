package policies

import (
	"reflect"
	"strconv"
)

// unsupported is one thing that a policy can say and that this version does not
// act on. A later version that does deletes its line.
type unsupported struct {
	path string // of a field, or the name of a block

	// What may be written nevertheless, because this version does just that; nil: nothing.
	but any
	// If only is not nil, that value alone is refused.
	only any
	// allowed is what to do instead; derived from but where it is empty.
	allowed string
}

// notYet is everything that is refused as "not supported yet".
var notYet = []unsupported{
	{path: "regions", but: []string(nil), allowed: "[], the agent's own region"},
	{path: "gpu_priority", but: 50},
	{path: "weight", but: 1.0},
	{path: "preempt", but: false},
}

const notSupportedYet = "not supported yet"

// refusal returns the line of notYet that refuses the value (any value of a
// block), nil if it may be written.
func refusal(path string, value any) *unsupported {
	u := unsupportedAt(path)
	switch {
	case u == nil,
		u.only != nil && !reflect.DeepEqual(u.only, value),
		u.but != nil && reflect.DeepEqual(u.but, value):
		return nil
	}
	return u
}

func (u *unsupported) instead() string {
	if u.allowed != "" {
		return u.allowed
	}
	switch v := u.but.(type) {
	case nil:
		return "leave it out"
	case int:
		return strconv.Itoa(v)
	default:
		return valueText(v)
	}
}

// unsupportedAt returns the line of notYet about a path, nil if there is none.
func unsupportedAt(path string) *unsupported {
	for i := range notYet {
		if notYet[i].path == path {
			return &notYet[i]
		}
	}
	return nil
}

// supported reports whether the field or block may be written at all.
func supported(path string) bool {
	u := unsupportedAt(path)
	return u == nil || u.but != nil || u.only != nil
}
