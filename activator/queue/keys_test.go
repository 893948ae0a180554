package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

func TestNothingIsLeftOfTenThousandRequests(t *testing.T) {
	withRealRedis(t, func(r realRedis) {
		client, ctx := r.client(), t.Context()
		var queues []*Queue
		for _, name := range []string{"a", "b"} {
			queues = append(queues, r.activator(t, name, answering))
		}
		ledger := NewLedger(r.client(), nil)
		offers := offersOf(20)
		if err := ledger.Offer(ctx, "translate", 1, offers); err != nil {
			t.Fatal(err)
		}
		durable := func(q *Queue, req *Request) {
			req.Keep = time.Second
			if _, err := q.Submit(ctx, req, roomy); err != nil {
				t.Error(err)
			}
		}
		work := make(chan int)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				for i := range work {
					q := queues[i%2]
					switch i % 10 {
					case 0:
						durable(q, async(fmt.Sprintf("d%d", i)))
					case 1:
						durable(q, keyed(fmt.Sprintf("d%d", i), fmt.Sprint(i%1000)))
					case 2: // a client that leaves
						gone, leave := context.WithTimeout(ctx, time.Duration(i%7)*100*time.Microsecond)
						if slot, _, err := q.Hold(gone, ticket(fmt.Sprintf("t%d", i)), roomy); err == nil {
							slot.Release()
						}
						leave()
					default:
						slot, _, err := q.Hold(ctx, ticket(fmt.Sprintf("t%d", i)), roomy)
						if err != nil {
							t.Error(err)
							continue
						}
						slot.Release()
					}
				}
			})
		}
		for i := range 10000 {
			work <- i
		}
		close(work)
		all.Wait()
		if err := ledger.Offer(ctx, "translate", 1, nil); err != nil {
			t.Fatal(err)
		}
		left := func() (keys []string) {
			for _, key := range client.Keys(ctx, "*").Val() {
				switch key {
				case "pl:{translate}:ledger", "pl:{translate}:activators", "pl:{translate}:fenced", "pl:durable":
				default:
					keys = append(keys, key)
				}
			}
			return keys
		}
		until(t, func() bool { return len(left()) == 0 })
		if bytes := client.HGet(ctx, "pl:{translate}:ledger", "bytes").Val(); bytes != "0" {
			t.Errorf("%s bytes are counted as held", bytes)
		}
	})
}

func TestAFullStoreRefusesWhatIsNewAndLetsTheRestGoOn(t *testing.T) {
	withRealRedis(t, func(ctl realRedis) {
		ctx, client := t.Context(), ctl.client()
		ledger := NewLedger(client, nil)
		q := ctl.activator(t, "a", answering)
		waiting := make(chan error, 1)
		go func() {
			slot, _, err := q.Hold(ctx, ticket("t1"), roomy)
			if err == nil {
				slot.Release()
			}
			waiting <- err
		}()
		until(t, func() bool { d, err := ledger.Demand(ctx, "translate"); return err == nil && d.Held == 1 })
		if err := client.ConfigSet(ctx, "maxmemory", "1mb").Err(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := q.Hold(ctx, ticket("t2"), roomy); !errors.Is(err, ErrStoreFull) {
			t.Errorf("hold: %v, want ErrStoreFull", err)
		}
		if _, err := q.Submit(ctx, async("1"), roomy); !errors.Is(err, ErrStoreFull) {
			t.Errorf("submit: %v, want ErrStoreFull", err)
		}
		if err := ledger.Offer(ctx, "translate", 1, offersOf(1)); err != nil {
			t.Fatal(err)
		}
		if err := <-waiting; err != nil {
			t.Errorf("what was held already: %v", err)
		}
		if err := client.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
			t.Fatal(err)
		}
		e, err := q.Submit(ctx, async("2"), roomy)
		if err != nil {
			t.Fatal(err)
		}
		a, err := q.Answer(ctx, e.ID, nil)
		if err != nil || a.Status != http.StatusOK {
			t.Errorf("%+v, %v", a, err)
		}
	})
}
