package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/stub"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

func TestTheCallerWhoWaitedForAModelThatDiesIsToldWhatItWroteLast(t *testing.T) {
	overBoth(t, func(t *testing.T, c *cluster) {
		server := startRedis(t)
		id, _ := c.task(t, "translate")
		job := commandJob(id, "sh", "-c", "echo boom >&2; exit 3")
		job = strings.Replace(job, `delay          = "1s"`, `delay          = "5s"`, 1)
		h := startServe(t, "activator,scaler,web", append(pairs{
			"translate": {runs(id, policyOf("translate", replicas(0, 1, 1))), job},
		}.arguments(t), "--redis", server.URL(), "--nomad", c.address)...)
		first := h.translate(t.Context(), "/translate", "x")
		wantStartFailed(t, first, "exit code 3")
		wantStartFailed(t, first, "last log: boom")
	})
}

func TestThroughTheNomadAPIAJobIsRegisteredScaledProbedAskedDrainedAndScaledDown(t *testing.T) {
	overBoth(t, func(t *testing.T, c *cluster) {
		server := startRedis(t)
		log := filepath.Join(t.TempDir(), "executions")
		id, job := c.task(t, "translate", "--load", "300ms", "--latency", "1s", "--log-file", log)
		h := startServe(t, "activator,scaler,web", append(pairs{
			"translate": {runs(id, policyOf("translate", replicas(0, 2, 1), toZero("10m"))), merciless(job)},
		}.arguments(t), "--redis", server.URL(), "--nomad", c.address)...)
		if calls := c.scaleCalls(t, id); len(calls) > 0 {
			t.Errorf("scaled before anybody asked: %+v", calls)
		}

		first := h.translate(t.Context(), "/translate", "first")
		if err := first.check("first"); err != nil {
			t.Fatal(err)
		}
		if got := first.header.Get("Pilotlight-Cold-Start"); got != "true" {
			t.Errorf("Pilotlight-Cold-Start: %q, want true", got)
		}
		st := h.awaitService(t, "translate", "ready", ready(1))
		replica := st.Replicas.List[0]
		if replica.ID != first.header.Get("Pilotlight-Replica") || !strings.Contains(replica.Address, ":") {
			t.Errorf("replica %+v, want %s with its address", replica, first.header.Get("Pilotlight-Replica"))
		}
		if stats := statsOf(t, replica.Address); stats.Replica != replica.ID || stats.Finished != 1 {
			t.Errorf("at the learnt address: %+v, want the allocation of that id, which has answered once", stats)
		}
		if n := len(c.writesTo("/v1/jobs")); n != 1 {
			t.Errorf("registered %d times, want once", n)
		}

		// It drains: what runs finishes before the count falls.
		running := inBackground(func() answer { return h.translate(t.Context(), "/translate", "running") })
		await(t, "it to run", func() error {
			if n := count(executions(t, log), stub.EventStarted, ""); n != 2 {
				return fmt.Errorf("%d executions", n)
			}
			return nil
		})
		h.operate(t, "translate", jobs.VerbSleep, 0)
		h.awaitService(t, "translate", "draining", func(st jobs.Status) bool { return st.Replicas.Draining == 1 })
		if err := running.get(t).check("running"); err != nil {
			t.Errorf("what ran when it was put to sleep: %v", err)
		}
		h.awaitService(t, "translate", "at zero", atZero)
		noProcess(t, id)

		calls := c.scaleCalls(t, id)
		if len(calls) != 2 {
			t.Fatalf("scale calls %+v, want one up and one down", calls)
		}
		for i, want := range []int{1, 0} {
			c := calls[i]
			if *c.Count != want || c.Target["Group"] != "server" {
				t.Errorf("scale call %d: count %d of %v, want %d of group server", i, *c.Count, c.Target, want)
			}
			if c.Message == "" {
				t.Errorf("scale call %d gives no reason", i)
			}
			for _, key := range []string{"service", "rule", "policy_version", "epoch"} {
				if value, ok := c.Meta[key].(string); !ok || value == "" {
					t.Errorf("scale call %d: metadata %v without %s", i, c.Meta, key)
				}
			}
		}
		decided := h.decisions(t, "translate")
		if up := slices.IndexFunc(decided, func(d decide.Decision) bool { return d.To == 1 && d.Reason == calls[0].Message }); up < 0 {
			t.Errorf("the reason that Nomad was given, %q, is of none of the decisions %+v", calls[0].Message, decided)
		}
		if starts := h.coldStarts(t, "translate"); len(starts) != 1 || starts[0].DurMS <= 0 || time.Duration(starts[0].DurMS)*time.Millisecond > patience {
			t.Errorf("cold starts %+v, want the one", starts)
		}
	})
}
