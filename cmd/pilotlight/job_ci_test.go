package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// checkScript runs jobs/ci/check.sh with this build as pilotlight, and returns
// its exit status and all that it said.
func checkScript(t *testing.T, env []string, args ...string) (int, string) {
	t.Helper()
	script, err := filepath.Abs("../../jobs/ci/check.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{script}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), said.String()
}

// folder is a temporary one with the text files given.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTheCIScriptPassesOverTheShippedSpecs(t *testing.T) {
	files := map[string]string{}
	for _, name := range []string{"chatglm.hcl", "image-recognition.hcl", "translategemma-12b.hcl"} { // of those that route /translate, one
		text, err := os.ReadFile("../../policies/examples/" + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	code, said := checkScript(t, []string{"MAX_KILL_TIMEOUT=11m"}, "../../jobs/specs", folder(t, files))
	if code != 0 || !strings.Contains(said, "3 policies right") || !strings.Contains(said, "\n0 errors") {
		t.Errorf("exit status %d, said\n%s", code, said)
	}
}

func TestTheCIScriptChecksEverythingAndFailsOnAnyError(t *testing.T) {
	jobs := folder(t, map[string]string{
		"a.nomad.hcl": "job \"a {",
		"m.nomad.hcl": strings.Replace(rightSpec, "max_parallel = 0", "max_parallel = 1", 1),
	})
	policies := folder(t, map[string]string{"p.hcl": strings.Replace(rightPolicy, "max = 2", "max = -2", 1)})
	sarif := filepath.Join(t.TempDir(), "findings.sarif")
	code, said := checkScript(t, []string{"SARIF=" + sarif}, jobs, policies)
	if code != 1 {
		t.Errorf("exit status %d", code)
	}
	for _, want := range []string{"replicas.max", "[syntax]", "[update-block]"} {
		if !strings.Contains(said, want) {
			t.Errorf("does not say %q:\n%s", want, said)
		}
	}
	text, err := os.ReadFile(sarif)
	if err != nil {
		t.Fatal(err)
	}
	var log struct {
		Version string
		Runs    []struct{ Results []struct{ RuleID string } }
	}
	if err := json.Unmarshal(text, &log); err != nil || log.Version != "2.1.0" || len(log.Runs) != 1 || len(log.Runs[0].Results) < 3 {
		t.Errorf("SARIF (%v): %s", err, text)
	}
}

func TestTheCIScriptAsksTheClusterOnlyWhereThereIsOne(t *testing.T) {
	asked := filepath.Join(t.TempDir(), "asked")
	bin := filepath.Join(folder(t, map[string]string{"fake": "#!/bin/sh\necho \"$*\" >> '" + asked + "'\n[ \"$2\" != plan ]\n"}), "fake")
	jobs, policies := folder(t, map[string]string{"m.nomad.hcl": rightSpec}), folder(t, map[string]string{"p.hcl": rightPolicy})
	for addr, want := range map[string]int{"": 0, "http://127.0.0.1:4646": 1} {
		_ = os.Remove(asked)
		code, said := checkScript(t, []string{"PILOTLIGHT_BIN=" + bin, "NOMAD_ADDR=" + addr}, jobs, policies)
		if code != want {
			t.Errorf("NOMAD_ADDR=%s: exit status %d, want %d:\n%s", addr, code, want, said)
		}
		calls, err := os.ReadFile(asked)
		if err != nil {
			t.Fatal(err)
		}
		plan := "job plan --nomad " + addr + " --policies " + policies + " " + jobs + "/m.nomad.hcl\n"
		if got := strings.Contains(string(calls), "job plan"); got != (addr != "") || got && !strings.Contains(string(calls), plan) {
			t.Errorf("NOMAD_ADDR=%s: asked\n%s", addr, calls)
		}
	}
}

func TestTheCIScriptWithNothingToCheckIsWrongUse(t *testing.T) {
	if code, said := checkScript(t, nil, t.TempDir(), t.TempDir()); code != exitUsage || !strings.Contains(said, "no *.nomad.hcl") {
		t.Errorf("exit status %d, said %q", code, said)
	}
}

// What the workflow calls and sets is what the script has.
func TestTheWorkflowUsesTheScriptAsItIs(t *testing.T) {
	workflow, err := os.ReadFile("../../jobs/ci/pilotlight.yml")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("../../jobs/ci/check.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"MAX_KILL_TIMEOUT", "SARIF", "NOMAD_ADDR", "NOMAD_TOKEN"} {
		if !bytes.Contains(workflow, []byte("          "+name+": ")) || !bytes.Contains(script, []byte("#   "+name)) && name != "NOMAD_TOKEN" {
			t.Errorf("%s is not set by the workflow, or not explained by the script", name)
		}
	}
	if !bytes.Contains(workflow, []byte("sh jobs/ci/check.sh jobs policies")) {
		t.Error("the workflow does not run the script")
	}
}
