package e2e

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pilotlight/pilotlight/internal/stub"
)

// busyDev starts dev, in home, with a request that runs for as long as latency
// says and one that is held for a model that will not load in time.
func busyDev(t *testing.T, home, latency string) (h *house, running, held later) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "executions")
	h = startDevIn(t, home, pairs{
		"busy":    {policyOf("busy", replicas(0, 1, 1)), stubJob("busy", "--latency", latency, "--log-file", log)},
		"loading": {policyOf("loading"), stubJob("loading", "--load", "1h")},
	}.arguments(t)...)
	// What still runs at the end is not to keep anything up.
	ctx, leave := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(leave)
	running = inBackground(func() answer { return h.translate(ctx, "/busy/translate", "running") })
	held = inBackground(func() answer { return h.translate(ctx, "/loading/translate", "held") })
	await(t, "one request to run and one to be held", func() error {
		if count(executions(t, log), stub.EventStarted, "") != 1 {
			return fmt.Errorf("nothing runs")
		}
		if st := h.service(t, "loading"); st.Demand.Held != 1 || st.Replicas.Starting != 1 {
			return fmt.Errorf("loading is %s", short(st))
		}
		return nil
	})
	return h, running, held
}

// childless waits until no child of the house lives.
func (h *house) childless(t *testing.T) {
	t.Helper()
	await(t, "all children to be gone", func() error {
		if left := h.children(t); len(left) > 0 {
			return fmt.Errorf("still there: %v", left)
		}
		return nil
	})
}

func TestSIGTERMLetsWhatRunsFinishTellsWhatIsHeldAndExitsZeroWithoutLeavingAChild(t *testing.T) {
	t.Parallel()
	h, running, held := busyDev(t, t.TempDir(), "3s")
	if len(h.children(t)) < 2 {
		t.Fatalf("children %v: two replicas at least were expected", h.children(t))
	}
	h.signal(syscall.SIGTERM)
	a := held.get(t)
	a.wantProblem(t, http.StatusServiceUnavailable, "shutting-down")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After for the one that was held")
	}
	if err := running.pending(); err != nil {
		t.Error(err)
	}
	if err := running.get(t).check("running"); err != nil {
		t.Errorf("what was running: %v", err)
	}
	if code := h.exit(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if left := h.children(t); len(left) > 0 {
		t.Errorf("processes %v outlived it", left)
	}
}

func TestASecondSIGTERMEndsItAtOnceAndItsChildrenSoonAfter(t *testing.T) {
	t.Parallel()
	h, running, held := busyDev(t, t.TempDir(), "1h")
	h.signal(syscall.SIGTERM)
	held.get(t).wantProblem(t, http.StatusServiceUnavailable, "shutting-down") // it is draining
	if err := running.pending(); err != nil {
		t.Error(err)
	}
	if err := h.running(); err != nil {
		t.Errorf("it did not wait for what runs: %v", err)
	}
	h.signal(syscall.SIGTERM)
	if code := h.exit(t); code == 0 {
		t.Error("exit code 0 though it cut a request")
	}
	if a := running.get(t); a.err == nil && a.status == http.StatusOK {
		t.Errorf("an hour's work was answered: %+v", a)
	}
	h.childless(t)
}

func TestKilledItLeavesNoChildAndTheNextStartWorks(t *testing.T) {
	t.Parallel()
	h := killed(t)
	h.childless(t)
	startsAgain(t, h)
}

func TestStartedAgainTheMomentItWasKilledItWorks(t *testing.T) {
	t.Parallel()
	startsAgain(t, killed(t)) // what a supervisor does
}

// killed is dev after kill -9 in the midst of work.
func killed(t *testing.T) *house {
	t.Helper()
	h, running, held := busyDev(t, t.TempDir(), "1h")
	h.kill()
	for _, l := range []later{running, held} {
		if a := l.get(t); a.err == nil {
			t.Errorf("an answer from a killed process: %+v", a)
		}
	}
	return h
}

// startsAgain starts dev where another one has ended.
func startsAgain(t *testing.T, h *house) {
	t.Helper()
	next := startDevIn(t, h.home, "--engine", "stub")
	if names := policyNames(t, next); !strings.Contains(names, "busy") || !strings.Contains(names, "translate") {
		t.Errorf("policies after the next start: %s; those of before are wanted, too", names)
	}
	if err := next.translate(t.Context(), "/translate", "again").check("again"); err != nil {
		t.Error(err)
	}
}

// policyNames in force.
func policyNames(t *testing.T, h *house) string {
	t.Helper()
	var list []struct {
		Name string `json:"name"`
	}
	h.read(t, "/api/v1/policies", &list)
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}
