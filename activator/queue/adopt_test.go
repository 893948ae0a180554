package queue

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// adoption is how long after the death of the activator that runs a durable
// request another one begins to run it, if that activator dies so long after its
// last statement. dies does what its address does from then on.
func adoption(t *testing.T, after time.Duration, dies func(n *network)) (took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(t), &network{}
		began := make(chan time.Time, 10)
		runs := func(c *Config) {
			n.join(c)
			c.Execute = func(ctx context.Context, e *Execution) error {
				began <- time.Now()
				<-ctx.Done()
				return context.Cause(ctx)
			}
		}
		a, _ := w.activator("a", runs)
		n.add(a)
		b, _ := w.activator("b", runs) // has never heard of the service
		n.add(b)
		w.offer(replicaWith("r1", 0, 2))
		if _, err := a.Submit(t.Context(), keyed("1", "k"), roomy); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		<-began
		time.Sleep(3*time.Second + after)
		died := time.Now()
		w.kill(a)
		dies(n)
		select {
		case at := <-began:
			took = at.Sub(died)
		case <-time.After(time.Minute):
			t.Fatal("nobody has adopted the request")
		}
	})
	return took
}

// No scaler looks at this ledger: activators do it by themselves.
func TestWhatADeadActivatorRanIsAdoptedWithinFiveSeconds(t *testing.T) {
	refuses := func(n *network) { n.kill("a") }
	silent := func(n *network) { n.set(&n.mute, "a", true) }
	for name, c := range map[string]struct {
		dies func(*network)
		most time.Duration
	}{
		"its address refuses": {refuses, 4 * time.Second},
		// Its lease, and no look that comes too late.
		"it is silent": {silent, 4600 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			longest := time.Duration(0)
			for after := time.Duration(0); after < time.Second; after += 130 * time.Millisecond {
				longest = max(longest, adoption(t, after, c.dies))
			}
			t.Logf("at most %v", longest)
			if longest >= c.most {
				t.Errorf("adopted after up to %v, want less than %v", longest, c.most)
			}
		})
	}
}
