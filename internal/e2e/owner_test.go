package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestWhenTheOwnerOfAllReplicasIsKilledRequestsThatMayBeRepeatedAreAnswered: all replicas
// die within a moment, and until another scaler leads nobody says so. Meanwhile there are
// slots at replicas that refuse.
func TestWhenTheOwnerOfAllReplicasIsKilledRequestsThatMayBeRepeatedAreAnswered(t *testing.T) {
	t.Parallel()
	const most = 4
	s := startSeveral(t, pairs{
		"translate": {policyOf("translate", replicas(most, most, 2), toZero("10m")), stubJob("translate", "--latency", "50ms")},
	})
	s.web.awaitService(t, "translate", "ready", ready(most))

	ctx, hangUp := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer hangUp()
	var answered atomic.Int64
	var stop atomic.Bool
	for i := range 12 {
		clients.Go(func() {
			for n := 0; !stop.Load(); n++ {
				text, header := fmt.Sprint("text ", n, " of ", i), map[string]string{}
				if i%3 == 0 {
					header["Idempotency-Key"] = text
				}
				a := send(ctx, http.MethodPost, s.activators[i%2].data+"/translate", wanted(text), header)
				if err := a.check(text); err != nil {
					t.Errorf("%s, %v: after %v: %v", text, header, a.took, err)
				}
				answered.Add(1)
			}
		})
	}
	pause(t, time.Second) // so that each replica has been used
	s.scaler.kill()
	pause(t, 3*time.Second) // longer than any number of attempts at replicas that refuse
	s.scaler = startServeIn(t, s.scaler.home, "scaler", s.args...)
	s.web.awaitService(t, "translate", "ready again", ready(most))
	before := answered.Load()
	await(t, "each client to be answered", func() error {
		if n := answered.Load() - before; n < 24 {
			return fmt.Errorf("%d answers", n)
		}
		return nil
	})
	stop.Store(true)
	clients.Wait()
	t.Logf("%d requests", answered.Load())
}
