package decide

import (
	"fmt"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// A cooldown that is named is the time between two steps up, no less and no more,
// in both modes; what the last one launched is ready or not.
func TestStepsUpAreTheCooldownApart(t *testing.T) {
	for _, mode := range []string{"thresholds", "auto"} {
		t.Run(mode, func(t *testing.T) {
			p := plain(1, 9, 4)
			p.Sizing.Mode = mode
			p.ScaleUp.GPUUtilization, p.ScaleUp.MaxStep = some(80), 1
			p.ScaleUp.CooldownAuto, p.ScaleUp.Cooldown, p.ScaleUp.Window = false, 90*time.Second, 10*time.Second
			w := newWorld(t, p)
			w.replica("r1", jobs.Ready)
			w.gpu("r1", some(95))
			w.snap.InFlight = 1
			var steps []time.Duration
			w.pass(5*time.Minute, func(d Decision) {
				if d.To > d.From {
					steps = append(steps, d.At.Sub(epoch))
				}
			})
			if len(steps) < 3 {
				t.Fatalf("steps at %v, want three", steps)
			}
			for i := 1; i < len(steps); i++ {
				if apart := steps[i] - steps[i-1]; apart != 90*time.Second {
					t.Errorf("%s after the one before, want 1m30s: %v", apart, fmt.Sprint(steps))
				}
			}
		})
	}
}
