package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/stub"
	"github.com/pilotlight/pilotlight/jobs"
)

// One outage under all that can be going on: traffic, a wake that Nomad has been
// asked for, a wake that it has not, and a drain.
func TestNomadAwayForAMinuteLosesNothingAndLaunchesNothingTwice(t *testing.T) {
	const outage = time.Minute
	overBoth(t, func(t *testing.T, c *cluster) {
		server := startRedis(t)
		log := filepath.Join(t.TempDir(), "executions")
		services, ids := pairs{}, map[string]string{}
		for name, args := range map[string][]string{
			"warm":     {"--latency", "20ms"},
			"loading":  {"--load", "8s"},
			"asleep":   nil,
			"draining": {"--latency", "15s", "--log-file", log},
		} {
			id, job := c.task(t, name, args...)
			ids[name] = id
			services[name] = pair{runs(id, policyOf(name, replicas(0, 1, 4), toZero("10m"))), merciless(job)}
		}
		h := startServe(t, "activator,scaler,web", append(services.arguments(t), "--redis", server.URL(), "--nomad", c.address)...)
		ask := func(name, text string) later {
			return inBackground(func() answer { return h.translate(t.Context(), "/"+name+"/translate", text) })
		}
		if err := ask("warm", "first").get(t).check("first"); err != nil {
			t.Fatal(err)
		}
		warm := startTraffic(t, h, "/warm/translate")
		running := ask("draining", "running")
		await(t, "the request to run", func() error {
			if count(executions(t, log), stub.EventStarted, "") != 1 {
				return fmt.Errorf("nothing runs")
			}
			return nil
		})
		h.operate(t, "draining", jobs.VerbSleep, 0)
		h.awaitService(t, "draining", "draining", func(st jobs.Status) bool { return st.Replicas.Draining == 1 })
		before := ask("loading", "before")
		h.awaitService(t, "loading", "starting", func(st jobs.Status) bool {
			return st.Replicas.Starting == 1 && st.Replicas.List[0].Address != ""
		})

		c.setAway(true)
		gone := time.Now()
		during := ask("asleep", "during")
		// What it was told of before goes on: a probe needs no Nomad.
		if err := before.get(t).check("before"); err != nil {
			t.Errorf("launched before the outage: %v", err)
		}
		t.Logf("what was starting is answered %v into the outage", since(gone))
		t.Logf("said: %s", notice(h, t, "asleep", jobs.NoticeFleetSilent))
		if err := running.get(t).check("running"); err != nil {
			t.Errorf("what ran when its drain began: %v", err)
		}
		pause(t, time.Until(gone.Add(outage)))
		if err := during.pending(); err != nil {
			t.Error(err)
		}
		c.setAway(false)
		back := time.Now()
		if err := during.get(t).check("during"); err != nil {
			t.Errorf("held during the outage: %v", err)
		}
		t.Logf("what was held is answered %v after the return", since(back))
		h.awaitService(t, "draining", "at zero", atZero)
		t.Logf("what was drained is gone %v after the return", since(back))
		for name, id := range ids {
			if name != "draining" {
				h.awaitService(t, name, "as if nothing had happened", func(st jobs.Status) bool {
					return ready(1)(st) && st.State == jobs.StateReady && st.Demand.Held == 0 && len(st.Notices) == 0
				})
			}
			c.launchedOnce(t, id, 1)
		}
		warm.unbroken(t)
		if n := len(executions(t, log)); n != 2 {
			t.Errorf("%d lines in the log of executions, want one start and one end", n)
		}
	})
}
