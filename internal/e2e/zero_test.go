package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/stub"
	"github.com/pilotlight/pilotlight/jobs"
)

func TestAfterItsKeepAliveTheReplicaIsGoneAndEveryViewAgreesOnZero(t *testing.T) {
	const after = 3 * time.Second
	h := startDev(t, pairs{"translate": {
		policy: policyOf("translate", replicas(0, 2, 2), toZero(after.String())),
		job:    stubJob("translate"),
	}}.arguments(t)...)
	a := h.translate(t.Context(), "/translate", "once")
	if err := a.check("once"); err != nil {
		t.Fatal(err)
	}
	answered := a.begun.Add(a.took)
	replica := a.header.Get("Pilotlight-Replica")
	if len(processesOf(t, replica)) == 0 {
		t.Fatalf("no process of replica %s right after its answer", replica)
	}

	await(t, "the replica's process to be gone", func() error {
		if left := processesOf(t, replica); len(left) > 0 {
			return fmt.Errorf("still there: %v", left)
		}
		return nil
	})
	gone := time.Since(answered)
	t.Logf("gone %v after the answer, to_zero.after is %v", gone, after)
	if tick := time.Second; gone < after-tick || gone > after+tick+machineSlack {
		t.Errorf("gone %v after the answer, want %v ± %v", gone, after, tick)
	}

	h.awaitService(t, "translate", "at zero", func(st jobs.Status) bool { return atZero(st) && st.Replicas.Wanted == 0 })
	await(t, "the metrics to say zero", func() error {
		if wanted := h.metric(t, "pilotlight_replicas_wanted")[`service="translate"`]; wanted != "0" {
			return fmt.Errorf("pilotlight_replicas_wanted is %q", wanted)
		}
		for labels, value := range h.metric(t, "pilotlight_replicas") {
			if value != "0" {
				return fmt.Errorf("pilotlight_replicas{%s} is %s", labels, value)
			}
		}
		return nil
	})
	await(t, "the fleet page to say zero", func() error {
		row := fleetRow(t, h, "translate")
		if !strings.Contains(row, "zero") || strings.Contains(row, "draining") {
			return fmt.Errorf("its row is %s", row)
		}
		return nil
	})
}

// fleetRow is the row of a service in the HTML of the fleet page.
func fleetRow(t *testing.T, h *house, service string) string {
	t.Helper()
	page := send(t.Context(), http.MethodGet, h.control+"/", "", nil)
	page.want(t, http.StatusOK)
	row := regexp.MustCompile(`(?s)<tr[^>]* data-key="` + service + `".*?</tr>`).FindString(page.body)
	if row == "" {
		t.Fatalf("no row of %s on the fleet page:\n%s", service, page.body)
	}
	return row
}

// slow starts a house with a service of n replicas, all ready, that compute for
// some seconds, and gives each a request to compute on.
func slow(t *testing.T, n int) (h *house, running []later, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "executions")
	h = startDev(t, pairs{"translate": {
		policy: policyOf("translate", replicas(0, n, 1), toZero("10m")),
		job:    merciless(stubJob("translate", "--latency", "4s", "--log-file", log)),
	}}.arguments(t)...)
	h.operate(t, "translate", jobs.VerbPin, n)
	h.awaitService(t, "translate", fmt.Sprintf("ready with %d replicas", n), ready(n))
	for i := range n {
		running = append(running, inBackground(func() answer {
			return h.translate(t.Context(), "/translate", fmt.Sprint("long ", i))
		}))
	}
	await(t, "every replica to compute", func() error {
		if got := count(executions(t, log), stub.EventStarted, ""); got != n {
			return fmt.Errorf("%d executions have begun, want %d", got, n)
		}
		return nil
	})
	return h, running, log
}

// untouched wants the right answer to each of the long requests, from the one
// execution that was running.
func untouched(t *testing.T, running []later, log string) {
	t.Helper()
	for i, l := range running {
		if err := l.get(t).check(fmt.Sprint("long ", i)); err != nil {
			t.Errorf("request %d: %v", i, err)
		}
	}
	if list := executions(t, log); count(list, stub.EventStarted, "") != len(running) || count(list, stub.EventFinished, "") != len(running) {
		t.Errorf("executions %+v, want each request once, to its end", list)
	}
}

func TestARequestThatRunsWhenAnOperatorSleepsTheServiceFinishesUntouched(t *testing.T) {
	t.Parallel()
	h, running, log := slow(t, 1)
	h.operate(t, "translate", jobs.VerbUnpin, 0)
	h.operate(t, "translate", jobs.VerbSleep, 0)
	h.awaitService(t, "translate", "draining", func(st jobs.Status) bool { return st.Replicas.Draining == 1 && st.Replicas.Wanted == 0 })
	if err := running[0].pending(); err != nil {
		t.Fatal(err)
	}
	untouched(t, running, log)
	h.awaitService(t, "translate", "at zero", atZero)
}

func TestRequestsThatRunWhenFewerReplicasArePinnedFinishUntouched(t *testing.T) {
	t.Parallel()
	h, running, log := slow(t, 2)
	h.operate(t, "translate", jobs.VerbPin, 1)
	st := h.awaitService(t, "translate", "draining one of two", func(st jobs.Status) bool {
		return st.Replicas.Draining == 1 && st.Replicas.Ready == 1 && st.Replicas.Wanted == 1
	})
	for _, r := range st.Replicas.List {
		if (r.Phase == jobs.Draining) != (r.Index == 1) {
			t.Errorf("replica %d is %s: the one with the highest index drains", r.Index, r.Phase)
		}
	}
	for _, l := range running {
		if err := l.pending(); err != nil {
			t.Fatal(err)
		}
	}
	untouched(t, running, log)
	h.awaitService(t, "translate", "ready with one replica", ready(1))
}
