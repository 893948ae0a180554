package queue

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestAnOfferOfAScalerThatLeadsNoMoreGivesNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		offer := func(epoch int64, slots int) error {
			err := w.ledger.Offer(context.Background(), "translate", epoch, []jobs.SlotOffer{replicaWith("r1", 0, slots)})
			synctest.Wait()
			return err
		}
		if err := offer(1, 1); err != nil {
			t.Fatal(err)
		}
		if err := offer(2, 0); err != nil { // the next scaler drains it
			t.Fatal(err)
		}
		held := make(chan struct{})
		go func() {
			slot, _, err := q.Hold(t.Context(), ticket("t1"), roomy)
			if err == nil {
				slot.Release()
			}
			close(held)
		}()
		synctest.Wait()
		var stale *jobs.StaleOfferError
		if err := offer(1, 1); !errors.As(err, &stale) || stale.Epoch != 2 {
			t.Errorf("the offer of the first scaler: %v, want it refused by epoch 2", err)
		}
		if d := w.demand(); d.Held != 1 || len(d.SlotsOut) != 0 {
			t.Errorf("%d held, slots out %v; want the request held", d.Held, d.SlotsOut)
		}
		if err := offer(2, 1); err != nil {
			t.Errorf("the second scaler takes the replica back: %v", err)
		}
		<-held
	})
}
