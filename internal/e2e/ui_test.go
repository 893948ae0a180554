package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// uiFolder is where the specs live.
const uiFolder = "ui"

// TestUI runs the specs of ui/ in headless Chromium against a Pilotlight of its
// own: `pilotlight dev` with the policies and job specs of ui/fleet, Apertium
// among them. UI_GREP chooses specs by their names.
func TestUI(t *testing.T) {
	skipIfShort(t)
	needForUI(t)
	h := startDev(t, "--policies", filepath.Join(uiFolder, "fleet", "policies"), "--jobs", filepath.Join(uiFolder, "fleet", "jobs"))

	runSpecs(t, h)
}

// runSpecs runs the specs for a Pilotlight; env is what they need to know
// besides its addresses.
func runSpecs(t *testing.T, h *house, env ...string) {
	t.Helper()
	args := []string{"test"}
	if grep := os.Getenv("UI_GREP"); grep != "" {
		args = append(args, "--grep", grep)
	}
	// What npx playwright runs, without npx, which would go and fetch a missing one.
	cmd := exec.CommandContext(t.Context(), filepath.Join("node_modules", ".bin", "playwright"), args...)
	cmd.Dir = uiFolder
	cmd.Env = append(os.Environ(), "FORCE_COLOR=0",
		"PILOTLIGHT_UI_DATA="+h.data, "PILOTLIGHT_UI_CONTROL="+h.control, "PILOTLIGHT_UI_METRICS="+h.metrics)
	cmd.Env = append(cmd.Env, env...)
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
