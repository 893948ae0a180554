package fleettest

import (
	"context"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

const defaultDeadline = 20 * time.Second

// bench is a harness with its fleet being watched.
type bench struct {
	Harness
	t       *testing.T
	changes chan struct{} // holds one mark while a report about Ref is unread
}

// start watches the fleet of h for as long as the test lasts.
func start(t *testing.T, h Harness) *bench {
	t.Helper()
	if h.Deadline == 0 {
		h.Deadline = defaultDeadline
	}
	b := &bench{Harness: h, t: t, changes: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- h.Fleet.Watch(ctx, func(ref jobs.Ref) {
			if ref != h.Ref {
				return
			}
			select {
			case b.changes <- struct{}{}:
			default:
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(h.Deadline):
			t.Error("Watch did not return after its context ended")
		}
	})
	return b
}

func (b *bench) context() context.Context { return b.t.Context() }

func (b *bench) ensure() {
	b.t.Helper()
	if err := b.Fleet.Ensure(b.context(), b.Spec, b.Ref, false); err != nil {
		b.t.Fatalf("ensure %s: %v", b.Ref, err)
	}
}

func (b *bench) scale(count int) {
	b.t.Helper()
	if err := b.Fleet.Scale(b.context(), b.Ref, count, "conformance suite", map[string]string{"case": b.t.Name()}); err != nil {
		b.t.Fatalf("scale %s to %d: %v", b.Ref, count, err)
	}
}

func (b *bench) observe() jobs.Observation {
	b.t.Helper()
	o, err := b.Fleet.Observe(b.context(), b.Ref)
	if err != nil {
		b.t.Fatalf("observe %s: %v", b.Ref, err)
	}
	return o
}

// beside is the bench of another fleet over the same cluster, watched too.
func (b *bench) beside(f Fleet) *bench {
	h := b.Harness
	h.Fleet = f
	return start(b.t, h)
}

// untilAnswer observes again after each reported change until the picture, or
// the error instead of it, is as wanted.
func (b *bench) untilAnswer(what string, wanted func(jobs.Observation, error) bool) jobs.Observation {
	b.t.Helper()
	deadline := time.NewTimer(b.Deadline)
	defer deadline.Stop()
	for {
		o, err := b.Fleet.Observe(b.context(), b.Ref)
		if wanted(o, err) {
			return o
		}
		select {
		case <-b.changes:
		case <-deadline.C:
			b.t.Fatalf("%s: not seen within %v; last picture %+v, %v", what, b.Deadline, o, err)
		}
	}
}

// until observes again after each reported change until the picture is as
// wanted, and returns it. It never looks unasked: a change that is not reported
// is a failure.
func (b *bench) until(what string, wanted func(jobs.Observation) bool) jobs.Observation {
	b.t.Helper()
	deadline := time.NewTimer(b.Deadline)
	defer deadline.Stop()
	for {
		o := b.observe()
		if wanted(o) {
			return o
		}
		select {
		case <-b.changes:
		case <-deadline.C:
			if late := b.observe(); wanted(late) {
				b.t.Fatalf("%s: became true without a reported change: %+v", what, late)
			}
			b.t.Fatalf("%s: not seen within %v; last picture %+v", what, b.Deadline, o)
		}
	}
}

// running returns the allocations that are wanted and whose task runs.
func running(o jobs.Observation) []jobs.Allocation {
	var live []jobs.Allocation
	for _, a := range o.Allocations {
		if a.Desired == jobs.DesiredRun && a.Client == jobs.ClientRunning {
			live = append(live, a)
		}
	}
	return live
}

// indices of allocations, in their order.
func indices(allocations []jobs.Allocation) []int {
	var all []int
	for _, a := range allocations {
		all = append(all, a.Index)
	}
	return all
}

// live counts the allocations whose process is not gone for good.
func live(o jobs.Observation) int {
	n := 0
	for _, a := range o.Allocations {
		if !a.Terminal() {
			n++
		}
	}
	return n
}
