package policies

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAFieldThatIsNotActedOnIsRefusedNeverIgnored(t *testing.T) {
	for lines, want := range map[string]string{
		`regions = ["eu"]`:  `4: regions: not supported yet; allowed: [], the agent's own region`,
		`gpu_priority = 60`: `4: gpu_priority: not supported yet; allowed: 50`,
		`weight = 2`:        `4: weight: not supported yet; allowed: 1`,
		`preempt = true`:    `4: preempt: not supported yet; allowed: false`,
	} {
		if diff := cmp.Diff([]string{"translate.hcl:" + want}, problems(t, policyText(lines))); diff != "" {
			t.Errorf("%s:\n%s", lines, diff)
		}
	}
	for _, u := range notYet {
		if fieldAt(u.path) == nil && blockNamed(u.path) == nil {
			t.Errorf("%s is refused, but is neither a field nor a block", u.path)
		}
	}
}

func TestNamesAreFitForKeysURLsAndLabels(t *testing.T) {
	for _, name := range []string{"a", "0-a-9", strings.Repeat("x", 63)} {
		text := strings.Replace(policyText(""), "translate", name, 1)
		if got := problems(t, text); got != nil {
			t.Errorf("%q: %v", name, got)
		}
	}
	for _, name := range []string{"", "A", "a_b", "a.b", "a b", "ä", "a/b", "a{b}", strings.Repeat("x", 64)} {
		text := strings.Replace(policyText(""), "translate", name, 1)
		got := problems(t, text)
		if len(got) != 1 || !strings.Contains(got[0], "is not a policy's name") {
			t.Errorf("%q: %v", name, got)
		}
	}
	for _, text := range []string{"policy {\n}", "policy \"a\" \"b\" {\n}"} {
		if got := problems(t, text); !strings.Contains(got[0], "a policy has one name") {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestADocumentWithoutAPolicyIsAnError(t *testing.T) {
	for _, text := range []string{"", "# nothing\n"} {
		want := []string{`translate.hcl:1: there is no policy; allowed: policy "name" { … }`}
		if diff := cmp.Diff(want, problems(t, text)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestHostileTextIsRefusedAtABoundedCost(t *testing.T) {
	deep := strings.Repeat("[", 100_000)
	for name, text := range map[string]string{
		"nested brackets":     "a = " + deep,
		"nested blocks":       strings.Repeat("a {\n", 50_000),
		"nested templates":    "a = " + strings.Repeat(`"${`, 50_000),
		"chain of operators":  "a = " + strings.Repeat("!", 100_000) + "true",
		"chain of conditions": "a = " + strings.Repeat("b ? c : ", 50_000) + "d",
		"too long":            strings.Repeat("#", maxText+1),
		"many unknown names":  "policy \"a\" {\n" + many(10_000, "x%d = 1\n") + "}",
	} {
		_, err := Parse("x.hcl", []byte(text))
		var errs ValidationErrors
		if !errors.As(err, &errs) {
			t.Errorf("%s: the error is %v", name, err)
		} else if len(errs) > maxErrors+1 {
			t.Errorf("%s: %d errors", name, len(errs))
		}
	}
}

func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestAnErrorWithoutAFileStillSaysWhere(t *testing.T) {
	for _, test := range []struct {
		err  FieldError
		want string
	}{
		{FieldError{Line: 3, Policy: "a", Field: "job", Message: "is required"}, `line 3: job: is required`},
		{FieldError{Policy: "a", Field: "job", Message: "is required", Allowed: "text"}, `policy "a": job: is required; allowed: text`},
		{FieldError{File: "x.hcl", Message: "is too long"}, `x.hcl: is too long`},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
