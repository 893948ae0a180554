package spec

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

const withVariables = `variable "count" {
  type = number
}
variable "args" {
  type    = list(string)
  default = []
}
variable "name" {
  default = "a"
}
variables {
  user = "nobody"
}
job "x" {
  group "g" {
    count = var.count
    task "t" {
      user = var.user
      config {
        command = var.name
        args    = var.args
      }
    }
  }
}
`

func TestGivenValuesComeBeforeDefaults(t *testing.T) {
	var given Variables
	if findings := given.ReadFile("prod.hcl", []byte("count = 1\nargs = [\"x\", \"y\"]\nuser = \"root\"\n")); len(findings) > 0 {
		t.Fatal(findings)
	}
	given.Set("count", "0") // wins
	given.Set("name", "b = c")
	s, findings := ParseWith("x.hcl", []byte(withVariables), &given)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	g := s.Groups[0]
	if task := g.Tasks[0]; g.Count != 0 || task.User != "root" || task.Command != "b = c" || !slices.Equal(task.Args, []string{"x", "y"}) {
		t.Errorf("got count %d and %+v", g.Count, task)
	}
	if unused := given.Unused(); len(unused) > 0 {
		t.Errorf("unused are %v", unused)
	}
}

func TestAListOnTheCommandLineIsAnExpression(t *testing.T) {
	var given Variables
	given.Set("count", "2")
	given.Set("args", `["x"]`)
	s, findings := ParseWith("x.hcl", []byte(withVariables), &given)
	if len(findings) > 0 || !slices.Equal(s.Groups[0].Tasks[0].Args, []string{"x"}) {
		t.Errorf("spec %+v, findings %v", s, findings)
	}
}

func TestAGivenValueOfTheWrongTypeIsNotJudged(t *testing.T) {
	for name, text := range map[string]string{"count": "many", "args": "[", "user": ""} {
		var given Variables
		given.Set("count", "1")
		given.Set(name, text)
		_, findings := ParseWith("x.hcl", []byte(withVariables), &given)
		if name == "user" {
			if len(findings) > 0 {
				t.Errorf("an empty text: %v", findings)
			}
			continue
		}
		if len(findings) != 1 || findings[0].Rule != RuleNotJudged || !strings.Contains(findings[0].Message, `value given to variable "`+name+`"`) {
			t.Errorf("%s = %s: %v", name, text, findings)
		}
	}
}

func TestWhatNoFileDeclaresIsUnused(t *testing.T) {
	var given Variables
	given.Set("count", "1")
	given.Set("cuont", "1")
	ParseWith("x.hcl", []byte(withVariables), &given)
	if diff := cmp.Diff([]string{"cuont"}, given.Unused()); diff != "" {
		t.Error(diff)
	}
}

// What is judged at its place is judged with the same values.
func TestFindingsKnowTheGivenValues(t *testing.T) {
	const src = `variable "max" {
  type = number
}
` + clean
	text := strings.Replace(src, "max_parallel = 0", "max_parallel = var.max", 1)
	var given Variables
	given.Set("max", "3")
	s, findings := ParseWith("m.nomad.hcl", []byte(text), &given)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	want := []finding{{9, 7, jobs.SeverityError, RuleUpdateBlock, "group.server.update.max_parallel"}}
	if diff := cmp.Diff(want, shortened(Check(s, "", Clients{}))); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestAWrongFileOfVariablesSaysWhere(t *testing.T) {
	for text, want := range map[string]finding{
		"a = ":                            {1, 5, jobs.SeverityError, RuleSyntax, ""},
		"ok = 1\nb {\n}\n":                {2, 1, jobs.SeverityError, RuleSyntax, ""},
		"a = var.b":                       {1, 1, jobs.SeverityError, RuleBadValue, "a"},
		"a = upper(\"x\")":                {1, 1, jobs.SeverityError, RuleBadValue, "a"},
		"a = 1e999999999":                 {1, 1, jobs.SeverityError, RuleBadValue, "a"},
		"a = " + strings.Repeat("[", 9e3): {1, 104, jobs.SeverityError, RuleSyntax, ""},
	} {
		var given Variables
		got := shortened(given.ReadFile("v.hcl", []byte(text)))
		if len(got) == 0 || got[0] != want {
			t.Errorf("%.20s: got %v, want %v", text, got, want)
		}
	}
}

func FuzzVariables(f *testing.F) {
	f.Add([]byte("count = 1\nargs = [\"x\"]\nname = null\n"), "args", "[1, {a = 2}]")
	f.Add([]byte(`name = "${a}"`), "count", "1e9")
	f.Fuzz(func(t *testing.T, src []byte, name, text string) {
		var given Variables
		given.ReadFile("v.hcl", src)
		given.Set(name, text)
		s, _ := ParseWith("x.hcl", []byte(withVariables), &given)
		if s == nil {
			t.Fatal("no spec")
		}
		Check(s, "", Clients{}) // reads the given values again from their text
	})
}
