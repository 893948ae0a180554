package spec

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pilotlight/pilotlight/jobs"
)

// jobWithCount wraps an expression into a spec in which Parse evaluates it.
func jobWithCount(expr string) string {
	return "job \"x\" {\n  group \"g\" {\n    count = " + expr + "\n  }\n}\n"
}

// Each of these overflows the stack, which no recover can catch, or takes the
// memory, if it reaches the HCL library as it is.
func TestParseRefusesWhatWouldOverflowTheStack(t *testing.T) {
	long := func(s string) string { return strings.Repeat(s, maxSourceBytes/8/len(s)) }
	for name, expr := range map[string]string{
		"brackets":                 long("("),
		"indices":                  "a" + long("[0]"),
		"indices of several words": "a" + long("[f(1,1)]"),
		"attributes":               "a" + long(".b"),
		"operators":                long("1+") + "1",
		"operators over lines":     "(" + long("1+\n") + "1)",
		"unary operators":          long("-") + "1",
		"conditionals":             long("true?1:") + "1",
		"calls":                    long("upper("),
		"template directives":      `"` + long("%{if true}") + `"`,
		"template interpolations":  `"` + long("${") + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			s, findings := Parse("x.hcl", []byte(jobWithCount(expr)))
			if s != nil || len(findings) != 1 || findings[0].Rule != RuleSyntax || findings[0].Line < 3 {
				t.Errorf("spec %v, findings %v; want one syntax finding at the expression", s, findings)
			}
		})
	}
}

func TestParseRefusesALargeFile(t *testing.T) {
	_, findings := Parse("x.hcl", []byte(jobWithCount("0")+strings.Repeat("#", maxSourceBytes)))
	if len(findings) != 1 || findings[0].Rule != RuleSyntax {
		t.Errorf("got %v, want one syntax finding", findings)
	}
}

func TestParseTakesLongListsAndLongHeredocs(t *testing.T) {
	src := jobWithCount("length([" + strings.Repeat("1, ", 400) + "])")
	src += "locals {\n  text = <<EOT\n" + strings.Repeat("a line\n", 5000) + "EOT\n}\n"
	s, findings := Parse("x.hcl", []byte(src))
	if len(findings) != 0 || s.Groups[0].Count != 400 {
		t.Errorf("spec %+v, findings %v", s, findings)
	}
}

func TestWhatGrowsWithoutLimitIsNotJudged(t *testing.T) {
	var doubling strings.Builder
	doubling.WriteString("locals {\n  l0 = \"0123456789\"\n")
	for i := 1; i <= 60; i++ {
		fmt.Fprintf(&doubling, "  l%d = \"${local.l%d}${local.l%d}\"\n", i, i-1, i-1)
	}
	doubling.WriteString("}\n")
	replace := `"aaaaaaaaaaaaaaaa"`
	for range 30 {
		replace = fmt.Sprintf(`replace(%s, "a", "aaaaaaaaaaaaaaaa")`, replace)
	}
	for _, c := range []struct{ name, before, expr, why string }{
		{"locals that double each other", doubling.String(), "length(local.l60)", "is too large"},
		{"replacements in replacements", "", "strlen(" + replace + ")", "arguments of replace are too large"},
		{"a function of a long text", doubling.String(), "strlen(local.l11)", "arguments of strlen are too large"},
		{"a large number", "", `strlen("${1e5000}")`, "too large to write out"},
		{"a number with a huge exponent", "", `strlen("${1e999999999}")`, "too large to write out"},
		{"a number made huge", "locals {\n  n = pow(10, 3000)\n}\n", `"${local.n}"`, "local.n is too large"},
		{"loops in loops", "", "length([for a in [1, 2] : [for b in [1, 2] : a]])", "nested for"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, findings := Parse("x.hcl", []byte(c.before+jobWithCount(c.expr)))
			if s == nil || len(findings) != 1 || findings[0].Rule != RuleNotJudged ||
				findings[0].Severity != jobs.SeverityWarning || !strings.Contains(findings[0].Message, c.why) {
				t.Errorf("spec %v, findings %v; want one not-judged finding with %q", s, findings, c.why)
			}
		})
	}
}
