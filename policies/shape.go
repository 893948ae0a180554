package policies

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// shape is how the values of a field look. A value has three forms:
//
//   - written: what a document says, the same for HCL and JSON: string,
//     float64, bool, []any of these, expression, or nil for null;
//   - the Go value of the Policy: string, []string, bool, int, int64, float64,
//     time.Duration, or wait;
//   - plain: what Format and MarshalJSON write: string, bool, int, float64 or
//     []string.
type shape interface {
	kind() string
	allowed() string
	// read turns a written value into a Go value, or says what is wrong with it.
	// It judges what it is; check judges whether it is within bounds.
	read(written any) (value any, problem string)
	check(value any) (problem string)
	plain(value any) any
}

// expression stands for whatever is written in place of a plain value; bare is
// the name if it is a single one without quotes.
type expression struct{ bare string }

// show renders a written value for a message.
func show(written any) string {
	switch v := written.(type) {
	case nil:
		return "null"
	case string:
		const limit = 60
		if utf8.RuneCountInString(v) > limit {
			v = string([]rune(v)[:limit]) + "…"
		}
		return strconv.Quote(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case []any:
		return "a list"
	case expression:
		if v.bare != "" {
			return v.bare + " without quotes"
		}
		return "an expression"
	default:
		return "a block"
	}
}

func isNot(written any, what string) string { return show(written) + " is not " + what }

// text is a string that a pattern accepts.
type text struct {
	limit int                 // greatest number of characters
	ok    func(s string) bool // nil accepts any
	want  string
}

func (text) kind() string      { return "text" }
func (t text) allowed() string { return t.want }

func (t text) read(written any) (any, string) {
	s, ok := written.(string)
	if !ok {
		return nil, isNot(written, "text")
	}
	// HCL reads text in this normal form, so every other way in must, too.
	return norm.NFC.String(s), ""
}

func (t text) check(value any) string {
	s := value.(string)
	if n := utf8.RuneCountInString(s); n > t.limit {
		return fmt.Sprintf("%d characters are too many", n)
	}
	if !utf8.ValidString(s) || (t.ok != nil && !t.ok(s)) {
		return show(s) + " is not accepted"
	}
	return ""
}

func (t text) plain(value any) any { return value }

// choice is one of several words.
type choice []string

func (choice) kind() string      { return "one of" }
func (c choice) allowed() string { return quoted(c) }

func (c choice) read(written any) (any, string) {
	s, ok := written.(string)
	if !ok {
		return nil, isNot(written, "text")
	}
	return s, ""
}

func (c choice) check(value any) string {
	s := value.(string)
	if slices.Contains(c, s) {
		return ""
	}
	if near := nearest(s, c); near != "" {
		return fmt.Sprintf("%s is not one of the choices, did you mean %q?", show(s), near)
	}
	return show(s) + " is not one of the choices"
}

func (c choice) plain(value any) any { return value }

func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = strconv.Quote(w)
	}
	return strings.Join(q, ", ")
}

// list is several texts, each at most once.
type list struct {
	limit int
	of    text
}

func (list) kind() string      { return "list of text" }
func (l list) allowed() string { return l.of.want }

func (l list) read(written any) (any, string) {
	items, ok := written.([]any)
	if !ok {
		return nil, isNot(written, "a list")
	}
	var texts []string // nil when empty: an empty list and none are the same
	for _, item := range items {
		v, problem := l.of.read(item)
		if problem != "" {
			return nil, problem
		}
		texts = append(texts, v.(string))
	}
	return texts, ""
}

func (l list) check(value any) string {
	texts := value.([]string)
	if len(texts) > l.limit {
		return fmt.Sprintf("%d are too many, the limit is %d", len(texts), l.limit)
	}
	for i, s := range texts {
		if problem := l.of.check(s); problem != "" {
			return problem
		}
		if slices.Contains(texts[:i], s) {
			return show(s) + " is listed twice"
		}
	}
	return ""
}

func (l list) plain(value any) any { return slices.Clone(value.([]string)) }

// flag is true or false.
type flag struct{}

func (flag) kind() string    { return "true or false" }
func (flag) allowed() string { return "true, false" }

func (flag) read(written any) (any, string) {
	b, ok := written.(bool)
	if !ok {
		return nil, isNot(written, "true or false")
	}
	return b, ""
}

func (flag) check(any) string    { return "" }
func (flag) plain(value any) any { return value }

// count is a whole number.
type count struct{ min, max int }

func (count) kind() string      { return "whole number" }
func (c count) allowed() string { return fmt.Sprintf("a whole number from %d to %d", c.min, c.max) }

func (c count) read(written any) (any, string) {
	f, ok := written.(float64)
	if !ok || f != math.Trunc(f) {
		return nil, isNot(written, "a whole number")
	}
	if f < float64(c.min) || f > float64(c.max) { // checked here, too: an int may not hold it
		return nil, show(f) + " is out of range"
	}
	return int(f), ""
}

func (c count) check(value any) string {
	if n := value.(int); n < c.min || n > c.max {
		return strconv.Itoa(n) + " is out of range"
	}
	return ""
}

func (c count) plain(value any) any { return value }

// number is a real one.
type number struct {
	min, max float64
	above    bool // min itself is excluded
}

func (number) kind() string { return "number" }

func (n number) allowed() string {
	from, to := strconv.FormatFloat(n.min, 'f', -1, 64), strconv.FormatFloat(n.max, 'f', -1, 64)
	if n.above {
		return "a number above " + from + ", at most " + to
	}
	return "a number from " + from + " to " + to
}

func (n number) read(written any) (any, string) {
	f, ok := written.(float64)
	if !ok {
		return nil, isNot(written, "a number")
	}
	return f + 0, "" // + 0 makes 0 of -0
}

func (n number) check(value any) string {
	f := value.(float64)
	if !(f >= n.min && f <= n.max) || n.above && f == n.min { // ! … also refuses NaN
		return show(f) + " is out of range"
	}
	return ""
}

func (n number) plain(value any) any { return value.(float64) + 0 } // nor is -0 written
