package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/spec"
)

// rightSpec and rightPolicy raise no finding; the cases below break one of them.
const rightSpec = `job "m" {
  type = "service"
  update {
    max_parallel = 0
  }
  reschedule {
    unlimited      = true
    delay          = "5s"
    delay_function = "constant"
  }
  group "server" {
    count = 0
    network {
      port "http" {}
    }
    service {
      port = "http"
      check {
        type = "http"
        path = "/health"
      }
    }
    restart {
      attempts = 0
      mode     = "fail"
    }
    task "model" {
      driver       = "raw_exec"
      kill_timeout = "20s"
      resources {
      }
    }
  }
}
`

const rightPolicy = `policy "p" {
  job = "m"
  route {
    models = ["m"]
  }
  replicas {
    max = 2
  }
  scale_down {
    drain_timeout = "20s"
  }
}
`

// here marks the line on which a finding is expected.
const here = "# HERE"

// Each rule finds what it is for, and says on which line.
func TestEveryRuleFindsItsFaultOnItsLine(t *testing.T) {
	cases := map[string]struct {
		old, new string // in spec or policy, whichever has old
		severity string
	}{
		"syntax":                {"\njob \"m\" {", "\njob \"m {  " + here, jobs.SeverityError},
		"bad-value":             {`"20s"` + "\n      res", `"20 s" ` + here + "\n      res", jobs.SeverityError},
		"not-judged":            {"\n    count = 0", "\n    count = file(\"count\") " + here, jobs.SeverityWarning},
		"job-type":              {`type = "service"`, `type = "batch" ` + here, jobs.SeverityError},
		"unknown-group":         {"job = \"m\"\n", "job = \"m\"\n  group = \"other\"\n", jobs.SeverityError},
		"no-port":               {"network {\n      port \"http\" {}", "network { " + here + "\n      port \"api\" {}", jobs.SeverityError},
		"static-port":           {`port "http" {}`, "port \"http\" {\n static = 80 " + here + "\n}", jobs.SeverityError},
		"count":                 {"count = 0", "count = 2 " + here, jobs.SeverityWarning},
		"update-block":          {"max_parallel = 0", "max_parallel = 1 " + here, jobs.SeverityError},
		"refused-by-nomad":      {"mode     = \"fail\"", "mode = \"delay\" " + here, jobs.SeverityError},
		"reschedule":            {"unlimited      = true", "unlimited = false " + here, jobs.SeverityError},
		"scaling-block":         {"count = 0", "count = 0\n scaling {\n min = 0\n max = 1 " + here + "\n}", jobs.SeverityError},
		"disconnect":            {"count = 0", "count = 0\n disconnect {\n replace = false " + here + "\n}", jobs.SeverityError},
		"no-main-task":          {`task "model" {`, "task \"model\" {\n lifecycle {\n hook = \"prestart\"\n}\n", jobs.SeverityError},
		"task-leader":           {`task "model" {`, "task \"model\" { " + here + "\n}\n task \"proxy\" {", jobs.SeverityWarning},
		"restart-hides-failure": {"attempts = 0\n      mode     = \"fail\"", "attempts = 1\n mode = \"delay\" " + here, jobs.SeverityWarning},
		"no-check":              {`type = "http"`, `type = "tcp"`, jobs.SeverityWarning},
		"kill-signal":           {`driver       = "raw_exec"`, `kill_signal = "SIGKILL" ` + here, jobs.SeverityError},
		"kill-timeout":          {`kill_timeout = "20s"`, `kill_timeout = "19s" ` + here, jobs.SeverityError},
		"shutdown-delay":        {"count = 0", "count = 0\n shutdown_delay = \"5m\" " + here, jobs.SeverityWarning},
		"ephemeral-disk":        {"count = 0", "count = 0\n ephemeral_disk {\n migrate = true " + here + "\n}", jobs.SeverityWarning},
		"not-scaled":            {"update {", "meta {\n pilotlight = \"not-scaled\" " + here + "\n}\n update {", jobs.SeverityError},
		"namespace":             {`job "m" {`, "job \"m\" {\n namespace = \"gpu\" " + here, jobs.SeverityError},
		"no-gpu-device":         {"scale_down {", "scale_up {\n gpu_utilization = 80\n}\n scale_down {", jobs.SeverityError},
		"check-restart":         {`path = "/health"`, "path = \"/health\"\n check_restart {\n limit = 3\n grace = \"1m\" " + here + "\n}", jobs.SeverityWarning},
		"migrate":               {"resources {", "resources {\n device \"nvidia/gpu\" {}", jobs.SeverityWarning},
		"invalid-policy":        {"max = 2", "max = -1 " + here, jobs.SeverityError},
		"unknown-job":           {"job = \"m\"\n", "job = \"n\" " + here + "\n", jobs.SeverityWarning},
	}
	// Where the fault is that nothing is there: the line of the block around it.
	around := map[string]string{"unknown-group": `job "m"`, "no-check": "check {", "no-main-task": `group "server"`, "no-gpu-device": "resources {", "migrate": `group "server"`}

	for _, rule := range spec.Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			c, ok := cases[rule.Name]
			if !ok {
				t.Fatal("the rule has no case")
			}
			text, policy := "# a job\n"+rightSpec, rightPolicy
			if strings.Contains(text, c.old) {
				text = strings.Replace(text, c.old, c.new, 1)
			} else if strings.Contains(policy, c.old) {
				policy = strings.Replace(policy, c.old, c.new, 1)
			} else {
				t.Fatalf("neither spec nor policy has %q", c.old)
			}
			files := map[string]string{"m.nomad.hcl": text, "p.hcl": policy}
			found := checkedTexts(t, files)
			i := slices.IndexFunc(found, func(f jobs.Finding) bool { return f.Rule == rule.Name && f.Severity == c.severity })
			if i < 0 {
				t.Fatalf("no %s of the rule in %+v", c.severity, found)
			}
			mark := here
			if around[rule.Name] != "" {
				mark = around[rule.Name]
			}
			lines := strings.Split(files[filepath.Base(found[i].File)], "\n")
			if line := lines[found[i].Line-1]; !strings.Contains(line, mark) {
				t.Errorf("on line %d, %q; want the one with %q", found[i].Line, line, mark)
			}
		})
	}
	if found := checkedTexts(t, map[string]string{"m.nomad.hcl": rightSpec, "p.hcl": rightPolicy}); len(found) > 0 {
		t.Errorf("what is right raises %+v", found)
	}
}

// checkedTexts checks m.nomad.hcl together with p.hcl.
func checkedTexts(t *testing.T, files map[string]string) []jobs.Finding {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return checked(t, filepath.Join(dir, "m.nomad.hcl"), "--policies", filepath.Join(dir, "p.hcl"))
}

// checked runs job check and returns what it finds; exit status 1 means that
// there are errors, and nothing else does.
func checked(t *testing.T, args ...string) []jobs.Finding {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(append([]string{"job", "check", "-o", "json"}, args...), streams{strings.NewReader(""), &out, &errs})
	var report struct {
		Findings []jobs.Finding `json:"findings"`
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v; %s%s", err, out.String(), errs.String())
	}
	want := exitDone
	if slices.ContainsFunc(report.Findings, isError) {
		want = exitFailure
	}
	if code != want {
		t.Errorf("exit status %d, want %d", code, want)
	}
	return report.Findings
}
