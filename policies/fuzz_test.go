package policies

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/policies/examples"
)

func FuzzParse(f *testing.F) {
	files, err := examples.FS.ReadDir(".")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		src, err := examples.FS.ReadFile(file.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	for _, lines := range []string{
		"", "description = \"a\\u00e9\\n$${b}%%{c} \\\" \\\\\"", "description = <<EOT\na\nb\nEOT", "replicas { max = -0x5 }",
		"to_zero { after = \"1h1m1.5s\" }", "sizing { headroom = 1e-9 }", "scale_up { window = 5m }", "a = [{}, [], null]", "policy \"b\" {\n}",
		"translate {\n}\ncost {\n}", "regions = [for a in [1, 2]: a]",
	} {
		f.Add([]byte(policyText(lines)))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		parsed, err := Parse("fuzz.hcl", src)
		if err != nil {
			var errs ValidationErrors
			if !errors.As(err, &errs) || len(errs) == 0 || parsed != nil {
				t.Fatalf("%d policies and the error %T %v", len(parsed), err, err)
			}
			return
		}
		text := FormatFile(parsed)
		again, err := Parse("formatted.hcl", text)
		if err != nil {
			t.Fatalf("%v\nin\n%s", err, text)
		}
		if diff := cmp.Diff(parsed, again); diff != "" {
			t.Fatalf("%s\nin\n%s", diff, text)
		}
		if second := FormatFile(again); !bytes.Equal(text, second) {
			t.Fatalf("formatted again:\n%s\nat first:\n%s", second, text)
		}
		for _, p := range parsed {
			if err := p.Validate(); err != nil {
				t.Fatalf("Parse accepts what Validate does not: %v", err)
			}
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	for _, text := range []string{
		`{"name": "a", "job": "j", "route": {"models": ["m"]}, "to_zero": {"after": "90s"}, "cost": {"usd_per_hour": 2.5}}`,
		`{"name": "a", "job": "j", "route": {"hosts": ["h"], "path_prefixes": ["/a", "/\u00e9"]}, "translate": {}, "description": "\ud800 \u0000"}`,
		`{"name": "a", "replicas": {"max": 1e400, "min": -0}, "schedule": [{"x": [1, {}]}], "job": [[[]]]}`,
		`{"name": null, "job": {}, "route": [], "x": 1} {}`, `[]`, `{`, `null`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := ParseJSON("", src)
		if err != nil {
			var errs ValidationErrors
			if !errors.As(err, &errs) || len(errs) == 0 || p != nil {
				t.Fatalf("%v and the error %T %v", p, err, err)
			}
			return
		}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var again Policy
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatalf("%v\nin\n%s", err, text)
		}
		if diff := cmp.Diff(p, &again); diff != "" {
			t.Fatalf("%s\nin\n%s", diff, text)
		}
		written := Format(p)
		if diff := cmp.Diff(p, parseString(t, written)); diff != "" {
			t.Fatalf("%s\nin\n%s", diff, written)
		}
	})
}
