package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

var defaultDisk = jobs.EphemeralDisk{SizeMB: defaultDiskMB}

// parseFile parses a file of testdata that must raise no finding.
func parseFile(t *testing.T, name string) *jobs.Spec {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	s, findings := Parse(name, src)
	if len(findings) > 0 {
		t.Fatalf("findings: %v", findings)
	}
	if s.Source != string(src) || s.File != name {
		t.Errorf("the spec does not keep its source or its file name")
	}
	return s
}

func TestParseEvaluatesAsNomadDoes(t *testing.T) {
	s := parseFile(t, "expressions.nomad.hcl")
	want := []jobs.Group{{
		Name: "g", Line: 13, Count: 3, Restart: defaultRestart(),
		Migrate: defaultMigrate(), EphemeralDisk: defaultDisk,
		Tasks: []jobs.Task{{
			Name: "t", Line: 16, Driver: "raw_exec", Command: "/bin/echo",
			Args: []string{
				"${NOMAD_PORT_http}", "${NOMAD_ALLOC_ID}", `${env["HOME"]}`, "${attr.unique.network.ip-address}",
				"3", "true", "x-3${NOMAD_REGION}", "${meta.x}/${meta.y.z}",
			},
			KillTimeout: 7 * time.Second,
			GPUs:        3,
			Env: map[string]string{
				"HEREDOC":   "one 3\n  two ${NOMAD_TASK_DIR}\n",
				"JOINED":    "a,b",
				"DIRECTIVE": "big",
				"BARE":      "${NOMAD_META_x}",
				"NUMBER":    "1.5",
				"JSON":      `{"a":[1,"${node.class}"]}`,
				"ESCAPES":   "$$x ${foo} %{if}",
				"FORMAT":    "003-q",
				"CHANGED":   "${ATTR.CPU.ARCH}",
				"INDEXED":   `${meta["a-b"]}`,
				"TRIED":     "fallback",
				"REVERSED":  "cba",
				"LOOP":      "A",
			},
		}},
	}}
	if diff := cmp.Diff(want, s.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

func TestParseInheritsAsNomadDoes(t *testing.T) {
	s := parseFile(t, "inheritance.nomad.hcl")
	two := 2
	restart := func(attempts int, delay time.Duration) jobs.Restart {
		return jobs.Restart{Attempts: attempts, Delay: delay, Interval: 30 * time.Minute, Mode: "fail"}
	}
	own := restart(7, 9*time.Second)
	ofJob := &jobs.Reschedule{Unlimited: true, Delay: 7 * time.Second, DelayFunction: "exponential", Line: 14}
	want := &jobs.Spec{
		ID: "inner", Namespace: "apps", Type: "service", Line: 6,
		File: s.File, Source: s.Source,
		Groups: []jobs.Group{
			{
				Name: "a", Line: 19, Count: -1, ShutdownDelay: 4 * time.Second,
				Ports:             []jobs.Port{{Label: "http", Static: 8080, Line: 40}, {Label: "metrics", Line: 43}},
				UpdateMaxParallel: &two,
				Scaling:           &jobs.ScalingBounds{Min: 1, Max: 5, Line: 22},
				Restart:           restart(2, 9*time.Second),
				Reschedule:        &jobs.Reschedule{Unlimited: true, Delay: 7 * time.Second, DelayFunction: "constant", Line: 31},
				Checks: []jobs.Check{
					{Type: "http", Path: "/x", Port: "http", Line: 48},
					{Type: "tcp", Port: "http", Line: 83},
				},
				Tasks: []jobs.Task{
					{
						Name: "pre", Line: 56, Driver: "raw_exec", User: "nobody", Lifecycle: "prestart",
						Command: "/bin/true", KillTimeout: 5 * time.Second,
						Env: map[string]string{"Q": "1", "R": "${NOMAD_ALLOC_ID}"},
					},
					{
						Name: "main", Line: 71, Driver: "raw_exec", Leader: true, Command: "/bin/true",
						KillTimeout: 5 * time.Second, KillSignal: "SIGTERM", Restart: &own, Env: map[string]string{},
					},
				},
			},
			{
				Name: "b", Line: 93, Count: -1, UpdateMaxParallel: &two, Reschedule: ofJob,
				Scaling: &jobs.ScalingBounds{Min: 2, Max: 4, Enabled: true, Line: 94},
				Restart: defaultRestart(),
				Tasks:   []jobs.Task{{Name: "x", Line: 98, Driver: "exec", KillTimeout: 5 * time.Second, Env: map[string]string{}}},
			},
			{
				Name: "solo", Line: 103, Count: -1, UpdateMaxParallel: &two, Reschedule: ofJob,
				Restart: defaultRestart(),
				Tasks:   []jobs.Task{{Name: "solo", Line: 103, Driver: "raw_exec", KillTimeout: 10 * time.Second, Env: map[string]string{}}},
			},
		},
	}
	for i := range want.Groups { // nothing said of either
		want.Groups[i].Migrate, want.Groups[i].EphemeralDisk = defaultMigrate(), defaultDisk
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if got := s.Groups[0].Main(); got == nil || got.Name != "main" {
		t.Errorf("main task is %v", got)
	}
}

// finding is what tests compare of a jobs.Finding.
type finding struct {
	Line, Column         int
	Severity, Rule, Path string
}

func shortened(findings []jobs.Finding) []finding {
	var short []finding
	for _, f := range findings {
		short = append(short, finding{f.Line, f.Column, f.Severity, f.Rule, f.Path})
	}
	return short
}

func TestWhatCannotBeEvaluatedIsNotJudgedAndTheRestIsRead(t *testing.T) {
	const src = `variable "image" {
  type = string
}
variable "typed" {
  type    = number
  default = "many"
}
locals {
  a    = local.b
  b    = local.a
  from = "x-${var.image}"
}
job "x" {
  vault {}
  group "g" {
    count = filesha1("x")
    dynamic "service" {
      for_each = ["a"]
      content {}
    }
    task "t" {
      driver       = "raw_exec"
      user         = var.image
      kill_timeout = local.a
      kill_signal  = var.nobody
      leader       = attr.leader
      config {
        command = local.from
        args    = ["${attr.a}", "${attr.a.b}"]
      }
      env {
        GOOD  = "yes"
        TYPED = var.typed
      }
      template {
        data = "{{ key }}"
        env  = true
      }
    }
  }
}
`
	s, findings := Parse("x.hcl", []byte(src))
	warning := func(line, column int, path string) finding {
		return finding{line, column, jobs.SeverityWarning, RuleNotJudged, path}
	}
	want := []finding{
		warning(14, 3, "vault"),
		warning(16, 5, "group.g.count"),
		warning(17, 5, "group.g.service"),
		warning(23, 7, "group.g.task.t.user"),
		warning(24, 7, "group.g.task.t.kill_timeout"),
		warning(25, 7, "group.g.task.t.kill_signal"),
		warning(26, 7, "group.g.task.t.leader"),
		warning(28, 9, "group.g.task.t.config.command"),
		warning(29, 9, "group.g.task.t.config.args"),
		warning(33, 9, "group.g.task.t.env.TYPED"),
		warning(35, 7, "group.g.task.t.template"),
	}
	if diff := cmp.Diff(want, shortened(findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	for i, why := range []string{
		"Vault", "filesha1", "dynamic block", `variable "image" has no default`, "depends on itself", "nobody",
		"known only at the node", `variable "image" has no default`, "as a value and as a group", `default of variable "typed"`,
		"template",
	} {
		if !strings.HasPrefix(findings[i].Message, "not judged offline: ") || !strings.Contains(findings[i].Message, why) {
			t.Errorf("finding %d does not say %q: %s", i, why, findings[i].Message)
		}
	}
	wantTask := []jobs.Task{{
		Name: "t", Line: 21, Driver: "raw_exec", KillTimeout: defaultKillTimeout, Env: map[string]string{"GOOD": "yes"},
	}}
	if diff := cmp.Diff(wantTask, s.Groups[0].Tasks); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
}

func TestValuesThatNomadWouldRefuseAreErrors(t *testing.T) {
	const src = `job "x" {
  group "g" {
    count          = 1.5
    shutdown_delay = "soon"
    task "t" {
      leader       = "perhaps"
      kill_timeout = true
      config {
        args = ["a", null]
      }
      env = ["a"]
    }
  }
}
`
	_, findings := Parse("x.hcl", []byte(src))
	wrong := func(line, column int, path string) finding {
		return finding{line, column, jobs.SeverityError, RuleBadValue, path}
	}
	want := []finding{
		wrong(3, 5, "group.g.count"),
		wrong(4, 5, "group.g.shutdown_delay"),
		wrong(6, 7, "group.g.task.t.leader"),
		wrong(7, 7, "group.g.task.t.kill_timeout"),
		wrong(9, 9, "group.g.task.t.config.args"),
		wrong(11, 7, "group.g.task.t.env"),
	}
	if diff := cmp.Diff(want, shortened(findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	for _, f := range findings {
		if f.Message == "" || f.Allowed == "" {
			t.Errorf("no message, or nothing allowed: %+v", f)
		}
	}
}

func TestWhatIsNoJobInHCLIsASyntaxError(t *testing.T) {
	for _, c := range []struct {
		name, src    string
		line, column int
	}{
		{"an empty file", "", 1, 1},
		{"a file without a job", "locals {}\n", 1, 1},
		{"two jobs", "job \"a\" {}\n\njob \"b\" {}\n", 3, 1},
		{"a job without a name", "\njob {}\n", 2, 1},
		{"a job with two names", "job \"a\" \"b\" {}\n", 1, 1},
		{"an unclosed block", "job \"a\" {\n  group \"g\" {\n}\n", 1, 9},
		{"a missing value", "job \"a\" {\n  type =\n}\n", 2, 9},
		{"a stray character", "job \"a\" {\n  type = §\n}\n", 2, 10},
		{"JSON", "{\"job\": {}}\n", 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, findings := Parse("x.hcl", []byte(c.src))
			if s != nil {
				t.Errorf("spec %+v", s)
			}
			if len(findings) == 0 {
				t.Fatal("no finding")
			}
			want := finding{c.line, c.column, jobs.SeverityError, RuleSyntax, ""}
			if got := shortened(findings)[0]; got != want {
				t.Errorf("got %+v (%s), want %+v", got, findings[0].Message, want)
			}
			if findings[0].File != "x.hcl" || findings[0].Message == "" {
				t.Errorf("no file or no message: %+v", findings[0])
			}
		})
	}
}

func TestLocalsThatDependOnAllLocalsComeLast(t *testing.T) {
	const src = `locals {
  all = join(",", keys(local.one))
  one = { b = local.two, a = 1 }
  two = "2"
}
job "x" {
  group "g" {
    task "t" {
      env {
        ALL = "${local.all} ${local.one.b}"
      }
    }
  }
}
`
	s, findings := Parse("x.hcl", []byte(src))
	if len(findings) > 0 {
		t.Fatalf("findings: %v", findings)
	}
	if got := s.Groups[0].Tasks[0].Env["ALL"]; got != "a,b 2" {
		t.Errorf("ALL = %q", got)
	}
}

func TestAListWithOneUnknownElementIsNotJudged(t *testing.T) {
	const src = `variable "model" {}
job "x" {
  group "g" {
    task "t" {
      config {
        command = "serve"
        args    = ["--model", var.model]
      }
    }
  }
}
`
	s, findings := Parse("x.hcl", []byte(src))
	want := []finding{{7, 9, jobs.SeverityWarning, RuleNotJudged, "group.g.task.t.config.args"}}
	if diff := cmp.Diff(want, shortened(findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if task := s.Groups[0].Tasks[0]; task.Command != "serve" || task.Args != nil {
		t.Errorf("task %+v", task)
	}
}
