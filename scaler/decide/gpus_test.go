package decide

import (
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// bought is how many replicas a backlog at a service from zero is worth.
func bought(p *policies.Policy, gpus int) int {
	snap := Snapshot{Known: true, Held: 200, Arrivals: 200, GPUs: gpus, Service: ServiceTime{MeanSeconds: 5, Count: 100}}
	d, _ := Decide(epoch, p, 1, snap, Memory{})
	return d.To
}

func TestAReplicaOfSeveralGPUsIsDearer(t *testing.T) {
	one := plain(0, 100, 1)
	two, four := *one, *one
	two.Cost, four.Cost = &policies.Cost{GPU: "2x 80GB"}, &policies.Cost{GPU: "4 x H200"}
	a, b, c := bought(one, 0), bought(&two, 0), bought(&four, 0)
	if !(a > b && b > c) {
		t.Errorf("with 1, 2 and 4 GPUs a replica the backlog buys %d, %d and %d", a, b, c)
	}
	half := *one
	half.Sizing.Patience /= 2
	if n := bought(&half, 0); n != b {
		t.Errorf("at half the patience it buys %d, with two GPUs a replica %d: both are one price", n, b)
	}
	if n := bought(&two, 4); n != c {
		t.Errorf("four GPUs by the job spec and two by the policy buy %d, want %d: the spec is truer", n, c)
	}
}

// At break-even an idle replica is kept for L + θ·W/g seconds.
func TestTheKeepAliveOfAReplicaOfSeveralGPUsIsShorter(t *testing.T) {
	var kept [2]time.Duration
	for i, gpu := range []string{"1x 80GB", "4x 80GB"} {
		p := plain(0, 1, 8)
		p.ToZero.Mode, p.ToZero.Prewarm = zeroAuto, false
		p.Cost = &policies.Cost{GPU: gpu}
		w := newWorld(t, p)
		w.snap.Starts = []float64{60, 60, 60, 60, 60}
		w.replica("r1", jobs.Ready)
		w.snap.InFlight = 1
		w.pass(time.Minute, nil)
		w.snap.InFlight = 0
		from := w.now
		for w.last.To > 0 && kept[i] < time.Hour {
			w.pass(time.Second, nil)
			kept[i] = w.now.Sub(from)
		}
	}
	if !(kept[1] < kept[0]) || kept[1] < time.Minute {
		t.Errorf("kept %s with one GPU and %s with four", kept[0], kept[1])
	}
}
