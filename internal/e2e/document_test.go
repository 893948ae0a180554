package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stubJob is a job spec that runs the stub with these further arguments.
func stubJob(id string, args ...string) string {
	return commandJob(id, "pilotlight", append([]string{"stub", "--listen", "${NOMAD_ADDR_http}"}, args...)...)
}

// commandJob is a job spec that runs a command.
func commandJob(id, command string, args ...string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = `"` + a + `"`
	}
	return fmt.Sprintf(`job %q {
  type = "service"

  group "server" {
    count = 0

    update {
      max_parallel = 0
    }

    network {
      port "http" {}
    }

    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      unlimited      = true
      delay          = "1s"
      delay_function = "constant"
    }

    task "model" {
      driver = "raw_exec"

      config {
        command = %q
        args    = [%s]
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "10s"
    }
  }
}
`, id, command, strings.Join(quoted, ", "))
}

// merciless is a job spec whose task is killed where others are told to stop, so
// that what has not been drained is cut.
func merciless(job string) string {
	return strings.Replace(job, `kill_signal  = "SIGTERM"`, `kill_signal  = "SIGKILL"`, 1)
}

// policyOf a service that runs the job of its own name: POST /translate if that
// is its name, else everything below /NAME. body are further lines.
func policyOf(name string, body ...string) string {
	lines := []string{
		fmt.Sprintf("policy %q {", name),
		fmt.Sprintf("  job = %q", name),
		fmt.Sprintf("  route {\n    path_prefixes = [%q]\n    strip_prefix = %t\n  }", "/"+name, name != "translate"),
	}
	if name == "translate" {
		lines = append(lines, "  translate {\n    backend = \"passthrough\"\n  }")
	}
	for _, b := range body {
		lines = append(lines, "  "+b)
	}
	return strings.Join(append(lines, "}"), "\n") + "\n"
}

// replicas is the block with these bounds.
func replicas(least, most, concurrency int) string {
	return fmt.Sprintf("replicas {\n    min = %d\n    max = %d\n    concurrency = %d\n  }", least, most, concurrency)
}

// toZero is the block with this keep-alive.
func toZero(after string) string { return fmt.Sprintf("to_zero {\n    after = %q\n  }", after) }

// folder writes files, by name, into a new folder.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
