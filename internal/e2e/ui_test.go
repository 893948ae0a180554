package e2e

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	uiFolder = "ui"             // where the browser tests live
	uiStart  = 60 * time.Second // for Pilotlight to say where it listens
	uiStop   = 30 * time.Second // for it to drain and end
)

// TestUI runs the specs of ui/ in headless Chromium against a Pilotlight of its
// own: `pilotlight dev` with the policies and job specs of ui/fleet, Apertium
// among them. UI_GREP chooses specs by their names.
func TestUI(t *testing.T) {
	if testing.Short() {
		t.Skip("the browser tests take minutes; run them without -short")
	}
	needForUI(t)
	at := startUIFleet(t)

	args := []string{"test"}
	if grep := os.Getenv("UI_GREP"); grep != "" {
		args = append(args, "--grep", grep)
	}
	// What npx playwright runs, without npx, which would go and fetch a missing one.
	cmd := exec.CommandContext(t.Context(), filepath.Join("node_modules", ".bin", "playwright"), args...)
	cmd.Dir = uiFolder
	cmd.Env = append(os.Environ(), "FORCE_COLOR=0",
		"PILOTLIGHT_UI_DATA="+at["requests"], "PILOTLIGHT_UI_CONTROL="+at["web UI"], "PILOTLIGHT_UI_METRICS="+at["metrics"])
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) } // the browser too
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		t.Log(lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("playwright: %v; pictures of what failed are in artifacts/ui/failures", err)
	}
}

// needForUI skips where Node.js, the packages of ui/, a browser or the engine
// are missing.
func needForUI(t *testing.T) {
	t.Helper()
	for _, program := range []string{"node", "apertium-apy"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is missing: make setup installs it, or says how", program)
		}
	}
	if !there(filepath.Join(uiFolder, "node_modules", ".bin", "playwright")) {
		t.Skipf("the packages of internal/e2e/%s are missing: make setup installs them, or npm ci there", uiFolder)
	}
	if os.Getenv("PILOTLIGHT_UI_CHROMIUM") == "" && !there("/usr/bin/chromium") && !there("/usr/bin/chromium-browser") {
		t.Skip("chromium is missing: make setup installs it; PILOTLIGHT_UI_CHROMIUM names one that is elsewhere")
	}
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// greetingLine of dev, such as "  web UI    http://127.0.0.1:8081/".
var greetingLine = regexp.MustCompile(`^ +(requests|web UI|metrics) +(http://[^/]+)`)

// startUIFleet starts Pilotlight at zero, with an empty store, on ports of its
// own, and ends it with the test. It returns the three addresses by the names
// that dev greets with.
func startUIFleet(t *testing.T) map[string]string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "pilotlight") // the name that job specs call
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "github.com/pilotlight/pilotlight/cmd/pilotlight")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	// Not the test's context: it ends before the cleanup, which lets dev drain.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), bin, "dev", "--state", t.TempDir(),
		"--policies", filepath.Join(uiFolder, "fleet", "policies"), "--jobs", filepath.Join(uiFolder, "fleet", "jobs"),
		"--data", "127.0.0.1:0", "--control", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(bin)+string(os.PathListSeparator)+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	said := &transcript{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var failure error
	go func() {
		defer close(ended)
		failure = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(uiStop):
			t.Errorf("dev has not ended %s after SIGTERM", uiStop)
			_ = cmd.Process.Kill()
			<-ended
		}
		if failure != nil {
			t.Errorf("dev ended with: %v", failure)
		}
		if t.Failed() {
			t.Logf("dev said:\n%s", said)
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(uiStart)
	for {
		at := map[string]string{}
		for line := range strings.Lines(said.String()) {
			if m := greetingLine.FindStringSubmatch(line); m != nil {
				at[m[1]] = m[2]
			}
		}
		if len(at) == 3 {
			return at
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatal("dev ended before it said where it listens")
		case <-late:
			t.Fatalf("dev has not said within %s where it listens", uiStart)
		}
	}
}

// transcript is what a process has said so far.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
