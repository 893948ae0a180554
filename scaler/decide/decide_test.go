package decide

import (
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// epoch is where virtual time begins: a multiple of every grid.
var epoch = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)

// plain is a policy with the defaults, min 0 and a keep-alive of one minute.
func plain(lo, hi, concurrency int) *policies.Policy {
	p := policies.New("translate")
	p.Replicas = policies.Replicas{Min: lo, Max: hi, Concurrency: concurrency}
	p.ToZero = policies.ToZero{Mode: "after", After: time.Minute, AtLeast: 30 * time.Second, AtMost: 30 * time.Minute}
	return p
}

func TestABurstFromZeroBuysSeveralReplicasInOneStep(t *testing.T) {
	p := plain(0, 3, 2)
	d, _ := Decide(epoch, p, 1, Snapshot{Known: true, Held: 200, OldestHold: epoch}, Memory{})
	if d.From != 0 || d.To != 3 || d.Rule != "backlog" {
		t.Errorf("%d→%d by %s (%s), want 0→3 by backlog", d.From, d.To, d.Rule, d.Reason)
	}
}

func TestALoneRequestBuysOne(t *testing.T) {
	p := plain(0, 3, 8)
	d, mem := Decide(epoch, p, 1, Snapshot{Known: true, Held: 1, OldestHold: epoch, Arrivals: 1}, Memory{})
	if d.To != 1 || d.Rule != "any-demand" {
		t.Errorf("to %d by %s (%s), want 1 by any-demand", d.To, d.Rule, d.Reason)
	}
	ready := Snapshot{Known: true, Arrivals: 1, LastDemand: epoch, Replicas: []Replica{{ID: "r1", Phase: jobs.Ready}}}
	if d, _ = Decide(epoch.Add(59*time.Second), p, 1, ready, mem); d.To != 1 {
		t.Errorf("to %d before the keep-alive has ended (%s)", d.To, d.Reason)
	}
	if d, _ = Decide(epoch.Add(60*time.Second), p, 1, ready, mem); d.To != 0 {
		t.Errorf("to %d at the end of the keep-alive (%s)", d.To, d.Reason)
	}
}
