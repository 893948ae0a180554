package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnswersThatAreKeptAreBoundedAndTheOldestGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		large := strings.Repeat("x", 10<<10)
		a, _ := w.activator("a", func(c *Config) {
			c.Execute = func(ctx context.Context, e *Execution) error {
				e.Begin(200, nil)
				return e.Finish(ctx, []byte(large))
			}
		})
		w.offer(replicaWith("r1", 0, 4))
		limits := roomy
		limits.Kept = 100 << 10 // nine answers, with a KiB for each
		submit := func(i int) error {
			r := keyed(fmt.Sprint(i), fmt.Sprint("k", i))
			r.Keep, r.MaxSize = 15*time.Minute, 1<<20
			_, err := a.Submit(t.Context(), r, limits)
			if err == nil {
				_ = w.answer(a, r.ID)
			}
			return err
		}
		kept := func() (n int) {
			for _, key := range w.redis.Keys() {
				if strings.Contains(key, ":answer:") {
					n++
				}
			}
			return n
		}
		for i := range 10 {
			if err := submit(i); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
		}
		var full *KeptError
		if err := submit(10); !errors.As(err, &full) || full.Bytes < limits.Kept {
			t.Fatalf("beyond the bound: %v", err)
		}
		if n := kept(); n != 10 {
			t.Errorf("%d answers are kept, want all 10: none is old", n)
		}
		time.Sleep(5 * time.Minute)
		if err := submit(0); err != nil {
			t.Errorf("who comes back for an answer that is kept: %v", err)
		}
		time.Sleep(6 * time.Minute)
		for i := range 10 {
			if err := submit(20 + i); err != nil {
				t.Fatalf("once they are old: %v", err)
			}
			if n := kept(); n > 10 {
				t.Fatalf("%d answers are kept", n)
			}
		}
		if _, err := a.Find(t.Context(), "translate.0"); !errors.Is(err, ErrUnknownRequest) {
			t.Errorf("the oldest is still there: %v", err)
		}
		limits.Kept = 1 << 30
		time.Sleep(10 * time.Minute)
		if err := submit(30); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Minute) // all but that one expire
		if err := submit(31); err != nil {
			t.Fatal(err)
		}
		if counted, _ := w.redis.ZMembers(prefix("translate") + "kept"); len(counted) != kept() {
			t.Errorf("%d are counted, %d are kept", len(counted), kept())
		}
		time.Sleep(20 * time.Minute)
		if n := kept(); n != 0 || w.redis.Exists(prefix("translate")+"kept") {
			t.Errorf("%d answers are kept for ever, or counted", n)
		}
		for i := range 10 { // nothing is counted twice, or of what has expired
			if err := submit(40 + i); err != nil {
				t.Fatal(err)
			}
		}
	})
}
