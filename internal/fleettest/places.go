package fleettest

import (
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

func noDevicesNoFigures(b *bench) {
	b.ensure()
	b.scale(1)
	a := running(b.until("one running", oneRunning))[0]
	figures, err := b.Fleet.GPUs(b.context(), b.Ref)
	if err != nil || len(figures) != 0 || len(a.Devices) != 0 {
		b.t.Errorf("got figures %v (%v) and devices %v, want none of either", figures, err, a.Devices)
	}
}

func figuresOfOwnDevices(b *bench) {
	b.needs(b.GPUs != nil && b.Measure != nil, "there are no GPUs")
	b.Spec = b.GPUs
	b.ensure()
	b.scale(2)
	two := running(b.until("two running", func(o jobs.Observation) bool { return len(running(o)) == 2 }))
	if len(two[0].Devices) != 1 || len(two[1].Devices) != 1 || (two[0].NodeID == two[1].NodeID && two[0].Devices[0] == two[1].Devices[0]) {
		b.t.Fatalf("devices: got %v and %v, want one each", two[0].Devices, two[1].Devices)
	}
	b.Measure(b.t, two[0], new(74.0), new(60.0*(1<<30)), new(80.0*(1<<30)))
	b.Measure(b.t, two[1], nil, nil, nil)
	every := time.NewTicker(50 * time.Millisecond) // figures are asked for, not reported
	defer every.Stop()
	deadline := time.NewTimer(b.Deadline)
	defer deadline.Stop()
	for {
		figures, err := b.Fleet.GPUs(b.context(), b.Ref)
		if err != nil {
			b.t.Fatalf("GPUs: %v", err)
		}
		known, unknown := figures[two[0].ID], figures[two[1].ID]
		if known.Utilization != nil && *known.Utilization == 74 && unknown.Why != "" {
			got := []*float64{known.MemoryUsed, known.MemoryTotal, unknown.Utilization, unknown.MemoryUsed}
			if diff := cmp.Diff([]*float64{new(60.0 * (1 << 30)), new(80.0 * (1 << 30)), nil, nil}, got); diff != "" {
				b.t.Errorf("memory used and total of the one, utilization and memory of the other (-want +got):\n%s", diff)
			}
			if known.Why != "" || known.At.IsZero() {
				b.t.Errorf("what is known has a time and no excuse; got %+v", known)
			}
			return
		}
		select {
		case <-every.C:
		case <-deadline.C:
			b.t.Fatalf("not measured within %v: %+v", b.Deadline, figures)
		}
	}
}

func drainIsTold(b *bench) {
	b.needs(b.DrainNode != nil, "no node can be drained")
	b.ensure()
	b.scale(1)
	a := running(b.until("one running", oneRunning))[0]
	if a.NodeDraining {
		b.t.Fatal("it is told before anybody drains")
	}
	undo := b.DrainNode(b.t, a.Node)
	b.until("the drain, or the end of what was drained", func(o jobs.Observation) bool {
		i := slices.IndexFunc(o.Allocations, func(x jobs.Allocation) bool { return x.ID == a.ID })
		return i >= 0 && o.Allocations[i].NodeDraining
	})
	o := b.until("its end", func(o jobs.Observation) bool {
		return !slices.ContainsFunc(o.Allocations, func(x jobs.Allocation) bool { return x.ID == a.ID && !x.Terminal() })
	})
	if o.Count != 1 || o.Change != nil {
		b.t.Errorf("got count %d and change %+v, want 1 and none: a drain changes no job", o.Count, o.Change)
	}
	undo()
	o = b.until("a replacement", oneRunning)
	if again := running(o)[0]; again.ID == a.ID || again.Index != a.Index {
		b.t.Errorf("got %+v, want another allocation with index %d", again, a.Index)
	}
}

func lostIsReplaced(b *bench) {
	b.needs(b.LoseNode != nil, "no node can be lost")
	b.ensure()
	b.scale(1)
	a := running(b.until("one running", oneRunning))[0]
	back := b.LoseNode(b.t, a.Node)
	o := b.until("a replacement elsewhere", func(o jobs.Observation) bool { return oneRunning(o) && running(o)[0].ID != a.ID })
	if again := running(o)[0]; again.Index != a.Index || again.NodeID == a.NodeID {
		b.t.Errorf("got %+v, want index %d on another node than %s", again, a.Index, a.Node)
	}
	over := func(o jobs.Observation) bool {
		i := slices.IndexFunc(o.Allocations, func(x jobs.Allocation) bool { return x.ID == a.ID })
		return i < 0 || (o.Allocations[i].Terminal() && !o.Allocations[i].MayServe())
	}
	if !over(o) {
		b.t.Errorf("the lost one is not over, or may serve: %+v", o.Allocations)
	}
	back()
	o = b.until("the lost one's end", func(o jobs.Observation) bool { return over(o) && oneRunning(o) })
	if o.Change != nil || o.Count != 1 {
		b.t.Errorf("got count %d and change %+v, want 1 and none", o.Count, o.Change)
	}
}

func cutLosesNothing(b *bench) {
	b.needs(b.Cut != nil, "there is no connection to cut")
	b.ensure()
	b.scale(2)
	two := running(b.until("two running", func(o jobs.Observation) bool { return len(running(o)) == 2 }))
	heard := b.observe().At
	mend := b.Cut(b.t)
	scaled := make(chan error, 1)
	go func() { scaled <- b.Fleet.Scale(b.context(), b.Ref, 3, "conformance suite", nil) }()
	var words string
	if b.Crash != nil { // something happens meanwhile
		words = b.Crash(b.t, two[1])
	}
	if got := running(b.observe()); len(got) != 2 {
		b.t.Errorf("cut off: got %d running, want the last that was heard, 2", len(got))
	}
	mend()
	select {
	case err := <-scaled: // it may have been given up, and nothing else
		if err != nil {
			b.t.Logf("the scale during the cut: %v", err)
			b.scale(3)
		}
	case <-time.After(b.Deadline):
		b.t.Fatal("the scale during the cut hangs")
	}
	crashed := func(o jobs.Observation) bool {
		return slices.ContainsFunc(o.Allocations, func(a jobs.Allocation) bool { return a.ID == two[1].ID && a.Client == jobs.ClientFailed })
	}
	o := b.until("all three, and what happened meanwhile", func(o jobs.Observation) bool {
		if !o.At.After(heard) || o.Count != 3 {
			return false
		}
		if words == "" {
			return len(running(o)) == 3
		}
		return crashed(o) && slices.Equal([]int{0, 2}, indices(running(o))) // the crashed one holds its index
	})
	seen := make(map[string]bool)
	for _, a := range o.Allocations {
		if seen[a.ID] {
			b.t.Errorf("%s is doubled", a.ID)
		}
		seen[a.ID] = true
	}
	if !seen[two[0].ID] || running(o)[0].ID != two[0].ID {
		b.t.Errorf("the one that went on is not the same any more: %+v", o.Allocations)
	}
	if o.Change != nil {
		b.t.Errorf("our own scale is somebody else's change after the cut: %+v", o.Change)
	}
}
