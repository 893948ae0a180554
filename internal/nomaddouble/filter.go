package nomaddouble

import (
	"fmt"
	"strconv"
	"strings"
	"text/scanner"
)

// predicate of a filter expression.
type predicate func(document) (bool, error)

// parseFilter understands the part of Nomad's filter expressions that selects
// by top-level fields: Field == "x", !=, and, or, not, parentheses.
func parseFilter(text string) (predicate, error) {
	p := &filterParser{}
	p.scan.Init(strings.NewReader(text))
	p.scan.Error = func(*scanner.Scanner, string) {} // what is wrong shows as an unexpected token
	p.next()
	keep, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.token != scanner.EOF {
		return nil, fmt.Errorf("unexpected %q in filter", p.text)
	}
	return keep, nil
}

type filterParser struct {
	scan  scanner.Scanner
	token rune
	text  string
}

func (p *filterParser) next() {
	p.token = p.scan.Scan()
	p.text = p.scan.TokenText()
}

func (p *filterParser) or() (predicate, error) {
	left, err := p.and()
	for err == nil && p.text == "or" {
		p.next()
		var right predicate
		if right, err = p.and(); err == nil {
			left = either(left, right)
		}
	}
	return left, err
}

func (p *filterParser) and() (predicate, error) {
	left, err := p.term()
	for err == nil && p.text == "and" {
		p.next()
		var right predicate
		if right, err = p.term(); err == nil {
			left = both(left, right)
		}
	}
	return left, err
}

func (p *filterParser) term() (predicate, error) {
	switch {
	case p.text == "not":
		p.next()
		inner, err := p.term()
		if err != nil {
			return nil, err
		}
		return func(d document) (bool, error) {
			ok, err := inner(d)
			return !ok, err
		}, nil
	case p.text == "(":
		p.next()
		inner, err := p.or()
		if err != nil {
			return nil, err
		}
		if p.text != ")" {
			return nil, fmt.Errorf("missing ) before %q in filter", p.text)
		}
		p.next()
		return inner, nil
	case p.token == scanner.Ident:
		return p.comparison()
	}
	return nil, fmt.Errorf("unexpected %q in filter", p.text)
}

func (p *filterParser) comparison() (predicate, error) {
	field := p.text
	p.next()
	first := p.text
	p.next()
	if (first != "=" && first != "!") || p.text != "=" {
		return nil, fmt.Errorf("expected == or != after %s in filter", field)
	}
	p.next()
	want, err := strconv.Unquote(p.text)
	if err != nil {
		return nil, fmt.Errorf("expected a quoted text, found %q in filter", p.text)
	}
	p.next()
	return func(d document) (bool, error) {
		got, ok := d[field]
		if !ok {
			return false, fmt.Errorf("error finding value in datum: /%s at part 0: couldn't find key: struct field with name %q", field, field)
		}
		return (got == want) == (first == "="), nil
	}, nil
}

func either(a, b predicate) predicate {
	return func(d document) (bool, error) {
		if ok, err := a(d); ok || err != nil {
			return ok, err
		}
		return b(d)
	}
}

func both(a, b predicate) predicate {
	return func(d document) (bool, error) {
		if ok, err := a(d); !ok || err != nil {
			return ok, err
		}
		return b(d)
	}
}
