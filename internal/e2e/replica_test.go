package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/pilotlight/pilotlight/internal/stub"
	"github.com/pilotlight/pilotlight/jobs"
)

// killReplica is kill -9 of all its processes.
func killReplica(t *testing.T, replica string) {
	t.Helper()
	pids := processesOf(t, replica)
	if len(pids) == 0 {
		t.Fatalf("replica %s has no process", replica)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
}

// twoBusyReplicas starts a service with two replicas and two requests running on
// each.
func twoBusyReplicas(t *testing.T, name string) (h *house, running []later, victim, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "executions")
	h = startDev(t, pairs{name: {
		policy: policyOf(name, replicas(0, 2, 2), toZero("10m")),
		job:    stubJob(name, "--latency", "1500ms", "--log-file", log),
	}}.arguments(t)...)
	h.operate(t, name, jobs.VerbPin, 2)
	st := h.awaitService(t, name, "ready with two replicas", ready(2))
	path := "/" + name
	if name != "translate" {
		path += "/translate"
	}
	for i := range 4 {
		running = append(running, inBackground(func() answer {
			return h.translate(t.Context(), path, fmt.Sprint("text ", i))
		}))
	}
	await(t, "all four to be computed", func() error {
		if got := count(executions(t, log), stub.EventStarted, ""); got != 4 {
			return fmt.Errorf("%d executions have begun", got)
		}
		return nil
	})
	return h, running, st.Replicas.List[1].ID, log
}

// replaced waits for two ready replicas again, none of them the victim.
func replaced(t *testing.T, h *house, name, victim string) {
	t.Helper()
	h.awaitService(t, name, "ready with a replacement", func(st jobs.Status) bool {
		return ready(2)(st) && !slices.ContainsFunc(st.Replicas.List, func(r jobs.Replica) bool { return r.ID == victim })
	})
}

func TestKilledUnderSafeRequestsAReplicaIsReplacedAndTheyAreAnsweredByAnother(t *testing.T) {
	t.Parallel()
	h, running, victim, log := twoBusyReplicas(t, "translate")
	killReplica(t, victim)
	for i, l := range running {
		a := l.get(t)
		if err := a.check(fmt.Sprint("text ", i)); err != nil {
			t.Errorf("request %d: %v", i, err)
		}
		if a.err == nil && a.header.Get("Pilotlight-Replica") == victim {
			t.Errorf("request %d says that the dead replica has answered it", i)
		}
	}
	if n := count(executions(t, log), stub.EventStarted, ""); n != 6 {
		t.Errorf("%d executions have begun, want 4 and 2 of them again", n)
	}
	replaced(t, h, "translate", victim)
	if err := h.translate(t.Context(), "/translate", "after").check("after"); err != nil {
		t.Error(err)
	}
}

func TestKilledUnderRequestsThatMayNotBeRepeatedAReplicaIsReplacedAndTheyFail(t *testing.T) {
	t.Parallel()
	h, running, victim, log := twoBusyReplicas(t, "plain") // retry.repeat is "keyed" on a plain route
	killReplica(t, victim)
	failed := 0
	for i, l := range running {
		a := l.get(t)
		if a.err == nil && a.status == http.StatusBadGateway {
			a.wantProblem(t, http.StatusBadGateway, "upstream-failed")
			failed++
		} else if err := a.check(fmt.Sprint("text ", i)); err != nil {
			t.Errorf("request %d: %v", i, err)
		}
	}
	if failed != 2 {
		t.Errorf("%d requests failed, want the 2 of the dead replica", failed)
	}
	if n := count(executions(t, log), stub.EventStarted, ""); n != 4 {
		t.Errorf("%d executions have begun, want 4: none is repeated", n)
	}
	replaced(t, h, "plain", victim)
}
