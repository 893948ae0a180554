package nomad

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestTheSameCountFromAnIndexShutsOutEveryCallDecidedBefore(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.ensure(parse(t, translate), translateRef)
		b.scale(translateRef, 1)
		stale, next := b, b.another()
		before, err := next.Observe(t.Context(), translateRef)
		if err != nil || before.Index == 0 {
			t.Fatalf("index %d, %v", before.Index, err)
		}
		if err := next.ScaleFrom(t.Context(), translateRef, before.Index, 1, "shut out", nil); err != nil {
			t.Fatal(err)
		}
		// Its picture is the newest; what it was about to do is from before.
		if _, err := stale.Observe(t.Context(), translateRef); err != nil {
			t.Fatal(err)
		}
		if err := stale.ScaleFrom(t.Context(), translateRef, before.Index, 0, "late", nil); !errors.Is(err, jobs.ErrChanged) {
			t.Errorf("the late call: %v, want %v", err, jobs.ErrChanged)
		}
		after, err := next.Observe(t.Context(), translateRef)
		if err != nil || after.Count != 1 || after.Index <= before.Index {
			t.Errorf("count %d at index %d, %v; want 1 at one above %d", after.Count, after.Index, err, before.Index)
		}
		if after.Change != nil {
			t.Errorf("it is taken for somebody else's change: %+v", *after.Change)
		}
	})
}

func TestAScaleFromAnIndexWhoseAnswerWasLostIsSeenAsDone(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.ensure(parse(t, translate), translateRef)
		o, err := b.Observe(t.Context(), translateRef)
		if err != nil {
			t.Fatal(err)
		}
		release := b.double.Hang(1, "PUT", scalePath)
		done := make(chan error, 1)
		go func() { done <- b.ScaleFrom(t.Context(), translateRef, o.Index, 1, "", nil) }()
		synctest.Wait()
		if err := b.another().Scale(t.Context(), translateRef, 1, "", nil); err != nil {
			t.Fatal(err) // what the hanging call would have done
		}
		if err := <-done; err != nil {
			t.Errorf("got %v, want it to be seen as done", err)
		}
		release()
		synctest.Wait()
		if v := versions(t, b); v[0] != 1 {
			t.Errorf("got version %d, want 1: one scale", v[0])
		}
	})
}
