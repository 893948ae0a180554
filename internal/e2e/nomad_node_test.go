package e2e

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/internal/stub"
	"github.com/pilotlight/pilotlight/jobs"
)

// Over the double only: a dev agent is one node, and losing it is losing Nomad.
func TestAnAllocationThatNomadLosesWithItsNodeIsReplacedAndItsRequestsAreAnswered(t *testing.T) {
	t.Parallel()
	for _, k := range []struct {
		name string
		dies bool // the machine; else only Nomad's servers do not hear it
	}{
		{"the machine is dead", true},
		{"the machine is cut off from Nomad", false},
	} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, nomaddouble.Config{Nodes: []nomaddouble.Node{{Name: "node-1"}, {Name: "node-2"}, {Name: "node-3"}}})
			server := startRedis(t)
			log := filepath.Join(t.TempDir(), "executions")
			id, job := c.task(t, "translate", "--latency", "2s", "--log-file", log)
			h := startServe(t, "activator,scaler,web", append(pairs{
				"translate": {runs(id, policyOf("translate", replicas(2, 2, 2), toZero("10m"))), job},
			}.arguments(t), "--redis", server.URL(), "--nomad", c.address)...)
			st := h.awaitService(t, "translate", "ready with two replicas", ready(2))
			victim := st.Replicas.List[0]
			if victim.Node == st.Replicas.List[1].Node {
				t.Fatalf("both replicas are on %s", victim.Node)
			}
			ask := func(what string, i int) later {
				text := fmt.Sprint(what, " ", i)
				return inBackground(func() answer { return h.translate(t.Context(), "/translate", text) })
			}
			var running, next []later
			for i := range 4 {
				running = append(running, ask("running", i))
			}
			await(t, "every slot to be in use", func() error {
				if n := count(executions(t, log), stub.EventStarted, ""); n != 4 {
					return fmt.Errorf("%d executions", n)
				}
				return nil
			})

			if err := c.double.LoseNode(victim.Node); err != nil {
				t.Fatal(err)
			}
			if k.dies {
				for _, pid := range processesOf(t, victim.ID) {
					_ = syscall.Kill(pid, syscall.SIGKILL) // it has ended already, then
				}
			}
			h.awaitService(t, "translate", "ready on another node", func(st jobs.Status) bool {
				return st.Replicas.Ready == 2 && !hasReady(st, victim.ID)
			})
			if !k.dies && len(processesOf(t, victim.ID)) == 0 {
				t.Error("its process is gone: this is not a node that lives on, unheard")
			}
			for i := range 4 {
				next = append(next, ask("next", i))
			}
			for i, l := range running {
				if err := l.get(t).check(fmt.Sprint("running ", i)); err != nil {
					t.Errorf("in flight when the node was lost: %v", err)
				}
			}
			for i, l := range next {
				a := l.get(t)
				if err := a.check(fmt.Sprint("next ", i)); err != nil {
					t.Errorf("after the node was lost: %v", err)
				}
				if a.err == nil && a.header.Get("Pilotlight-Replica") == victim.ID {
					t.Error("a request was sent to a replica of a lost node")
				}
			}
			most := 1
			if k.dies {
				most = 2
			}
			finishedOnce(t, executions(t, log), most)
			c.launchedOnce(t, id, 3)
			// The node comes back, and with it, perhaps, what was replaced.
			if err := c.double.ReturnNode(victim.Node); err != nil {
				t.Fatal(err)
			}
			await(t, "what was replaced to be gone", func() error {
				if left := processesOf(t, victim.ID); len(left) > 0 {
					return fmt.Errorf("still there: %v", left)
				}
				return nil
			})
			h.awaitService(t, "translate", "ready with two replicas", ready(2))
			c.launchedOnce(t, id, 3)
		})
	}
}

func hasReady(st jobs.Status, id string) bool {
	for _, r := range st.Replicas.List {
		if r.ID == id && r.Phase == jobs.Ready {
			return true
		}
	}
	return false
}
