package e2e

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/internal/stub"
	"github.com/pilotlight/pilotlight/jobs"
)

// A deploy past Pilotlight is a full outage of the replicas: Nomad stops all of
// them at once, and here kills what runs in them.
func TestADeployToNomadPastPilotlightUnderTrafficFailsNoRequestThatMayBeRepeated(t *testing.T) {
	overBoth(t, func(t *testing.T, c *cluster) {
		server := startRedis(t)
		log := filepath.Join(t.TempDir(), "executions")
		id, job := c.task(t, "translate", "--load", "300ms", "--latency", "80ms", "--log-file", log)
		job = merciless(job)
		h := startServe(t, "activator,scaler,web", append(pairs{
			"translate": {runs(id, policyOf("translate", replicas(2, 2, 2), toZero("10m"))), job},
		}.arguments(t), "--redis", server.URL(), "--nomad", c.address)...)
		old := h.awaitService(t, "translate", "ready with two replicas", ready(2))
		steady := (&traffic{}).start(t, func(ctx context.Context, text string) answer { return h.translate(ctx, "/translate", text) })
		await(t, "traffic", func() error {
			if n := steady.sent.Load(); n < 10 {
				return fmt.Errorf("%d requests", n)
			}
			return nil
		})

		began := time.Now()
		c.run(t, strings.Replace(job, `"80ms"`, `"81ms"`, 1), "") // its count is 0
		t.Logf("told: %s", notice(h, t, "translate", jobs.NoticeDeployed))
		h.awaitService(t, "translate", "ready with two others", func(st jobs.Status) bool {
			return ready(2)(st) && !hasReplica(st, old.Replicas.List[0].ID) && !hasReplica(st, old.Replicas.List[1].ID)
		})
		t.Logf("two replicas of the new version %v after nomad job run", since(began))
		at := steady.sent.Load()
		await(t, "more traffic", func() error {
			if n := steady.sent.Load(); n < at+20 {
				return fmt.Errorf("%d requests", n)
			}
			return nil
		})
		steady.unbroken(t)
		if got := c.job(t, id).TaskGroups[0].Count; got != 2 {
			t.Errorf("count %d, want the 2 of before", got)
		}
		c.launchedOnce(t, id, 4)
		finishedOnce(t, executions(t, log), 2)
	})
}

func hasReplica(st jobs.Status, id string) bool {
	for _, r := range st.Replicas.List {
		if r.ID == id {
			return true
		}
	}
	return false
}

// finishedOnce wants each request that was executed to have been finished by one
// execution, out of at most so many.
func finishedOnce(t *testing.T, list []stub.Execution, most int) {
	t.Helper()
	started, finished := map[string]int{}, map[string]int{}
	for _, e := range list {
		switch e.Event {
		case stub.EventStarted:
			started[e.RequestID]++
		case stub.EventFinished:
			finished[e.RequestID]++
		}
	}
	again := 0
	for request, n := range started {
		if n > 1 {
			again++
		}
		if n > most || finished[request] != 1 {
			t.Errorf("request %s was begun %d times and finished %d times, want at most %d and 1", request, n, finished[request], most)
		}
	}
	t.Logf("%d requests executed, %d of them a second time", len(started), again)
}

func TestAJobThatAnOperatorStopsInNomadPausesItsServiceUntilItIsResumed(t *testing.T) {
	overBoth(t, func(t *testing.T, c *cluster) {
		server := startRedis(t)
		log := filepath.Join(t.TempDir(), "executions")
		id, job := c.task(t, "translate", "--latency", "2s", "--log-file", log)
		h := startServe(t, "activator,scaler,web", append(pairs{
			"translate": {runs(id, policyOf("translate", replicas(0, 1, 1), toZero("10m"))), job},
		}.arguments(t), "--redis", server.URL(), "--nomad", c.address)...)
		running := inBackground(func() answer { return h.translate(t.Context(), "/translate", "running") })
		await(t, "a request to run", func() error {
			if count(executions(t, log), stub.EventStarted, "") != 1 {
				return fmt.Errorf("nothing runs")
			}
			return nil
		})
		held := inBackground(func() answer { return h.translate(t.Context(), "/translate", "held") })
		h.awaitService(t, "translate", "holding one", func(st jobs.Status) bool { return st.Demand.Held == 1 })

		c.stop(t, id)
		stopped := time.Now()
		waited := held.get(t).wantProblem(t, http.StatusServiceUnavailable, "paused")
		t.Logf("the waiting caller was told after %v: %s", since(stopped), waited.Reason)
		if !strings.Contains(waited.Reason, "stopped in Nomad") {
			t.Errorf("the waiting caller was told %q", waited.Reason)
		}
		fresh := h.translate(t.Context(), "/translate", "fresh").wantProblem(t, http.StatusServiceUnavailable, "paused")
		if fresh.Reason != waited.Reason {
			t.Errorf("a new caller was told %q", fresh.Reason)
		}
		if err := running.get(t).check("running"); err != nil {
			t.Errorf("what ran, within the task's kill_timeout: %v", err)
		}
		h.awaitService(t, "translate", "paused", func(st jobs.Status) bool { return st.State == jobs.StatePaused })
		notice(h, t, "translate", jobs.NoticeStopped)
		if !c.job(t, id).Stop {
			t.Error("the job has been started again against the operator")
		}

		h.operate(t, "translate", jobs.VerbResume, 0)
		await(t, "an answer", func() error {
			a := h.translate(t.Context(), "/translate", "resumed")
			return a.check("resumed")
		})
		if j := c.job(t, id); j.Stop || j.TaskGroups[0].Count != 1 {
			t.Errorf("after the resumption: %+v", j)
		}
		c.launchedOnce(t, id, 2)
	})
}

func TestACountThatAnOperatorSetsInNomadIsHeldAndShown(t *testing.T) {
	overBoth(t, func(t *testing.T, c *cluster) {
		server := startRedis(t)
		id, job := c.task(t, "translate")
		h := startServe(t, "activator,scaler,web", append(pairs{
			"translate": {runs(id, policyOf("translate", replicas(0, 4, 4), toZero("2s"))), job},
		}.arguments(t), "--redis", server.URL(), "--nomad", c.address)...)
		if err := h.translate(t.Context(), "/translate", "first").check("first"); err != nil {
			t.Fatal(err)
		}
		h.awaitService(t, "translate", "ready", ready(1))
		c.scale(t, id, 3)
		st := h.awaitService(t, "translate", "pinned to the operator's count", func(st jobs.Status) bool {
			return ready(3)(st) && st.Pinned != nil && *st.Pinned == 3 && st.PinnedUntil != nil
		})
		told := notice(h, t, "translate", jobs.NoticeChangedByHand)
		t.Logf("until %v: %s", st.PinnedUntil, told)
		if !strings.Contains(told, "by an operator") {
			t.Errorf("the notice does not have the operator's words: %s", told)
		}
		pause(t, 4*time.Second) // twice to_zero.after, without a request
		if st := h.service(t, "translate"); !ready(3)(st) {
			t.Errorf("%s, want the operator's three replicas left alone", short(st))
		}
		h.operate(t, "translate", jobs.VerbUnpin, 0)
		h.awaitService(t, "translate", "at zero once it is unpinned", atZero)
		c.launchedOnce(t, id, 3)
	})
}

func TestAScaleThatNomadRefusesForADeploymentWaitsSaysSoAndGoesOn(t *testing.T) {
	test := func(t *testing.T, c *cluster) {
		server := startRedis(t)
		id, job := c.task(t, "translate", "--latency", "2s")
		job = strings.Replace(job, "max_parallel = 0", "max_parallel = 1\n      min_healthy_time = \"6s\"", 1)
		h := startServe(t, "activator,scaler,web", append(pairs{
			"translate": {runs(id, policyOf("translate", replicas(0, 2, 1), toZero("10m"))), job},
		}.arguments(t), "--redis", server.URL(), "--nomad", c.address)...)
		running := inBackground(func() answer { return h.translate(t.Context(), "/translate", "running") })
		h.awaitService(t, "translate", "ready", ready(1)) // and a deployment is active
		h.operate(t, "translate", jobs.VerbPin, 2)
		t.Logf("said: %s", notice(h, t, "translate", jobs.NoticeDeployment))
		// The one slot is in use.
		p := send(t.Context(), http.MethodPost, h.data+"/translate", wanted("hurried"), map[string]string{"Pilotlight-Deadline": "200ms"}).
			wantProblem(t, http.StatusGatewayTimeout, "deadline-passed")
		if !strings.Contains(p.Reason, "deployment") {
			t.Errorf("the waiting caller was told %q, want that a deployment is in the way", p.Reason)
		}
		h.awaitService(t, "translate", "at two replicas when the deployment is over", ready(2))
		if err := running.get(t).check("running"); err != nil {
			t.Error(err)
		}
		if err := h.translate(t.Context(), "/translate", "after").check("after"); err != nil {
			t.Error(err)
		}
		c.launchedOnce(t, id, 2)
		if n := len(c.scaleCalls(t, id)); n > 4 {
			t.Errorf("%d scale calls: a deployment in the way is waited for, not asked again and again", n)
		}
	}
	t.Parallel()
	skipIfShort(t)
	t.Run("double", func(t *testing.T) {
		t.Parallel()
		delays := nomaddouble.Quick()
		delays.Deployment = 6 * time.Second
		test(t, startCluster(t, nomaddouble.Config{Delays: delays}))
	})
	t.Run("agent", func(t *testing.T) {
		t.Parallel()
		test(t, agentCluster(t))
	})
}
