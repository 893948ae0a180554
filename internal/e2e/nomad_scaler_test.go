package e2e

import (
	"fmt"
	"testing"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestAScalerKilledInACallToNomadLeavesOneLaunchToItsStandby(t *testing.T) {
	t.Parallel()
	for _, k := range []struct {
		name   string
		before bool // Nomad never sees the dead one's call
	}{
		{"after Nomad has done it", false},
		{"before Nomad sees it", true},
	} {
		t.Run(k.name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, c *cluster) {
				server := startRedis(t)
				id, job := c.task(t, "translate", "--load", "500ms")
				args := append(pairs{
					"translate": {runs(id, policyOf("translate", replicas(0, 2, 2), toZero("10m"))), job},
				}.arguments(t), "--redis", server.URL(), "--nomad", c.address)
				client := startServe(t, "activator,web", args...)
				doomed := startServe(t, "scaler", args...)
				leads(t, doomed)
				standby := startServe(t, "scaler", args...)

				reached := c.standStill(k.before)
				held := inBackground(func() answer { return client.translate(t.Context(), "/translate", "held") })
				select {
				case <-reached:
				case a := <-held:
					t.Fatalf("answered without a scale call: %+v", a)
				}
				doomed.kill()
				leads(t, standby)
				a := held.get(t)
				if err := a.check("held"); err != nil {
					t.Fatal(err)
				}
				t.Logf("answered after %v", a.took)
				c.launchedOnce(t, id, 1)
				if calls := c.scaleCalls(t, id); len(calls) != 1 || *calls[0].Count != 1 {
					t.Errorf("scale calls that Nomad saw: %+v, want the one to 1", calls)
				}
				// It has taken over all of it.
				client.operate(t, "translate", jobs.VerbSleep, 0)
				client.awaitService(t, "translate", "at zero", atZero)
				noProcess(t, id)
				if err := client.translate(t.Context(), "/translate", "again").check("again"); err != nil {
					t.Errorf("the next wake: %v", err)
				}
				c.launchedOnce(t, id, 2)
			})
		})
	}
}

// leads waits until this scaler does.
func leads(t *testing.T, h *house) {
	t.Helper()
	await(t, "the scaler to lead", func() error {
		if got := h.metric(t, "pilotlight_leader")[`role="scaler"`]; got != "1" {
			return fmt.Errorf("pilotlight_leader is %q", got)
		}
		return nil
	})
}
