package decide

import (
	"testing"
	"time"
)

func TestALookAtAServiceAtRestAllocatesNothing(t *testing.T) {
	p := plain(0, 3, 8)
	snap := Snapshot{Known: true, Arrivals: 10, LastDemand: epoch}
	_, mem := Decide(epoch, p, 1, snap, Memory{})
	at := epoch.Add(10 * time.Minute)
	_, mem = Quietly(at, p, 1, snap, mem)
	if n := testing.AllocsPerRun(100, func() { _, mem = Quietly(at, p, 1, snap, mem) }); n != 0 {
		t.Errorf("%v allocations by a look that finds nothing new, want none", n)
	}
}
