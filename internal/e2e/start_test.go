package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// broken is a service whose job cannot start.
type broken struct {
	job    string
	policy string
	words  string // the task's own last words, or what else is known
}

func brokenServices() map[string]broken {
	return map[string]broken{
		"missing": {commandJob("missing", "no-such-engine"), policyOf("missing"),
			`"no-such-engine" not found`},
		"dying": {stubJob("dying", "--load", "200ms", "--fail-load", "1"), policyOf("dying"),
			"Engine core initialization failed"},
		"never": {stubJob("never", "--load", "1h"), policyOf("never", "probe {\n    path = \"/health\"\n    max = \"2s\"\n  }"),
			"not ready within 2s"},
	}
}

func TestAJobThatCannotStartIsToldInItsOwnLastWordsAndTheBrakeStopsTheStorm(t *testing.T) {
	services := pairs{}
	for name, b := range brokenServices() {
		services[name] = pair{policy: b.policy, job: b.job}
	}
	h := startDev(t, services.arguments(t)...)
	for name, b := range brokenServices() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := "/" + name + "/translate"
			a := h.translate(t.Context(), path, "x")
			wantStartFailed(t, a, b.words)

			st := h.awaitService(t, name, "blocked", func(st jobs.Status) bool { return st.State == jobs.StateBlocked && st.Blocked != nil })
			if !strings.Contains(*st.Blocked, b.words) {
				t.Errorf("blocked_reason %q does not say %q", *st.Blocked, b.words)
			}
			if row := fleetRow(t, h, name); !strings.Contains(row, "blocked") {
				t.Errorf("the fleet page does not say blocked: %s", row)
			}
			// Callers who come back all the time are told at once, and buy nothing.
			window := time.After(6 * time.Second)
			asked := 0
			for open := true; open; asked++ {
				again := h.translate(t.Context(), path, "x")
				wantStartFailed(t, again, b.words)
				select {
				case <-window:
					open = false
				case <-time.After(100 * time.Millisecond):
				}
			}
			if launched := launches(h, name); launched < 1 || launched > 2 {
				t.Errorf("%d launches while %d callers asked within the brake's pause, want 1 or 2", launched, asked)
			}
			ups := 0
			for _, d := range h.decisions(t, name) {
				if d.To > d.From {
					ups++
				}
			}
			t.Logf("%d callers, %d launches, %d decisions up", asked, launches(h, name), ups)
		})
	}
}

func wantStartFailed(t *testing.T, a answer, words string) {
	t.Helper()
	p := a.wantProblem(t, http.StatusServiceUnavailable, "start-failed")
	if !strings.Contains(p.Reason, words) {
		t.Fatalf("reason %q does not say %q", p.Reason, words)
	}
	if s, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || s < 1 || s > 60 {
		t.Errorf("Retry-After: %q, want the rest of a pause of half a minute", a.header.Get("Retry-After"))
	}
}

// launches counts the allocations of a service that its scaler has seen placed.
func launches(h *house, name string) int {
	return strings.Count(h.said.String(), "msg=placed service="+name+" ")
}

func TestAPolicyFileThatIsWrongIsNamedWithLineFieldAndWhatIsAllowed(t *testing.T) {
	t.Parallel()
	skipIfShort(t)
	wrong := strings.Replace(policyOf("translate", replicas(0, 2, 2)), "max = 2", "max = \"many\"", 1)
	line := 0
	for i, text := range strings.Split(wrong, "\n") {
		if strings.Contains(text, "many") {
			line = i + 1
		}
	}
	dir := folder(t, map[string]string{"wrong.hcl": wrong})
	home := t.TempDir()
	p := startProcess(t, environment(home), binary,
		append([]string{"dev", "--state", filepath.Join(home, "state"), "--policies", dir}, anyPort...)...)
	if code := p.exit(t); code != 1 && code != 2 {
		t.Errorf("exit code %d, want 1 or 2", code)
	}
	said := p.said.String()
	for _, want := range []string{fmt.Sprintf("%s:%d", filepath.Join(dir, "wrong.hcl"), line), "replicas.max", "many", "allowed"} {
		if !strings.Contains(said, want) {
			t.Errorf("it did not say %q:\n%s", want, said)
		}
	}
	if left, err := os.ReadDir(filepath.Join(home, "state", "redis")); err == nil && len(left) > 0 {
		t.Errorf("it has started to keep state before it read the policies: %v", left)
	}
}
