package fleettest

import (
	"errors"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

// needs skips a case whose hook the harness does not have.
func (b *bench) needs(has bool, what string) {
	b.t.Helper()
	if !has {
		b.t.Skip("with this fleet " + what)
	}
}

func oneRunning(o jobs.Observation) bool { return len(running(o)) == 1 }

func noteChangesNothing(b *bench) {
	b.ensure()
	b.scale(1)
	before := running(b.until("one running", oneRunning))
	if err := b.Fleet.Note(b.context(), b.Ref, "no free GPU: a remark of the conformance suite", map[string]string{"case": b.t.Name()}); err != nil {
		b.t.Fatalf("note: %v", err)
	}
	b.scale(2) // a note moves no index that a scale compares
	o := b.until("two running", func(o jobs.Observation) bool { return len(running(o)) == 2 })
	if o.Change != nil {
		b.t.Errorf("a note, or a scale after it, shows as somebody else's change: %+v", o.Change)
	}
	if after := running(o); after[0].ID != before[0].ID || after[0].Restarts != 0 {
		b.t.Errorf("the allocation that ran did not go on: %+v", after)
	}
}

func purgedIsNotRegistered(b *bench) {
	b.needs(b.Purge != nil, "nobody can purge a job")
	b.ensure()
	b.scale(1)
	b.until("one running", oneRunning)
	b.Purge(b.t)
	b.untilAnswer("the purge", func(_ jobs.Observation, err error) bool { return errors.Is(err, jobs.ErrPurged) })
	for _, seen := range []bool{true, false} { // this fleet has seen it itself
		if err := b.Fleet.Ensure(b.context(), b.Spec, b.Ref, seen); !errors.Is(err, jobs.ErrPurged) || !errors.Is(err, jobs.ErrUnknownJob) {
			b.t.Errorf("ensure of a purged job, seen %v: got %v, want jobs.ErrPurged, which is a jobs.ErrUnknownJob", seen, err)
		}
	}
	if err := b.Fleet.Scale(b.context(), b.Ref, 1, "conformance suite", nil); !errors.Is(err, jobs.ErrPurged) {
		b.t.Errorf("scale of a purged job: got %v, want jobs.ErrPurged", err)
	}
	b.revive()
	o := b.untilAnswer("the job again", func(_ jobs.Observation, err error) bool { return err == nil })
	if o.Count != 0 || live(o) != 0 {
		b.t.Errorf("revived: got count %d and %d live, want it at zero", o.Count, live(o))
	}
	b.scale(1)
	b.until("one running again", oneRunning)
}

func seenAndMissing(b *bench) {
	b.needs(b.Purge != nil, "nobody can purge a job")
	if err := b.Fleet.Ensure(b.context(), b.Spec, b.Ref, true); !errors.Is(err, jobs.ErrPurged) {
		b.t.Errorf("ensure: got %v, want jobs.ErrPurged", err)
	}
	if _, err := b.Fleet.Observe(b.context(), b.Ref); !b.Unknown(err) {
		b.t.Errorf("observe: got %v, want that the job is unknown: nothing may have been registered", err)
	}
	b.revive()
	b.untilAnswer("the job", func(_ jobs.Observation, err error) bool { return err == nil })
}

func (b *bench) revive() {
	b.t.Helper()
	if err := b.Fleet.Revive(b.context(), b.Spec, b.Ref, "conformance suite"); err != nil {
		b.t.Fatalf("revive %s: %v", b.Ref, err)
	}
}

func stoppedIsRespected(b *bench) {
	b.needs(b.Stop != nil, "nobody can stop a job")
	b.ensure()
	b.scale(2)
	b.until("two running", func(o jobs.Observation) bool { return len(running(o)) == 2 })
	b.Stop(b.t)
	o := b.until("that it is stopped", func(o jobs.Observation) bool { return o.Stopped != "" && live(o) == 0 })
	for _, a := range o.Allocations {
		if a.MayServe() {
			b.t.Errorf("an allocation of a stopped job may serve: %+v", a)
		}
	}
	if err := b.Fleet.Ensure(b.context(), b.Spec, b.Ref, true); err != nil {
		b.t.Errorf("ensure of a stopped job: got %v, want none: it is known", err)
	}
	if err := b.Fleet.Scale(b.context(), b.Ref, 1, "conformance suite", nil); !errors.Is(err, jobs.ErrStopped) {
		b.t.Errorf("scale of a stopped job: got %v, want jobs.ErrStopped", err)
	}
	if o := b.observe(); o.Stopped == "" || live(o) != 0 {
		b.t.Errorf("ensure or scale has started something: %+v", o)
	}
	b.revive()
	o = b.until("that it may run", func(o jobs.Observation) bool { return o.Stopped == "" })
	if o.Count != 0 || live(o) != 0 {
		b.t.Errorf("revived: got count %d and %d live, want it at zero", o.Count, live(o))
	}
	b.scale(1)
	b.until("one running again", oneRunning)
}

func reviveOfARunningJob(b *bench) {
	b.ensure()
	b.scale(1)
	before := running(b.until("one running", oneRunning))
	b.revive()
	if o := b.observe(); o.Count != 1 || o.Change != nil {
		b.t.Errorf("got count %d and change %+v, want 1 and none", o.Count, o.Change)
	}
	if diff := cmp.Diff(before, running(b.observe())); diff != "" {
		b.t.Errorf("allocations changed by revive (-before +after):\n%s", diff)
	}
}

func countByHandIsTold(b *bench) {
	b.needs(b.ScaleByHand != nil, "nobody else can scale")
	b.ensure()
	b.scale(1)
	b.until("one running", oneRunning)
	began := time.Now()
	b.ScaleByHand(b.t, 2)
	o := b.until("the change, and two running", func(o jobs.Observation) bool { return o.Change != nil && len(running(o)) == 2 })
	first := *o.Change
	switch {
	case o.Count != 2 || first.Count != 2 || first.Kind != jobs.ChangeCount:
		b.t.Errorf("got count %d and change %+v, want count 2 by a change of kind %q", o.Count, first, jobs.ChangeCount)
	case first.Before != 1 && first.Before != -1:
		b.t.Errorf("before: got %d, want 1, or -1 for unknown", first.Before)
	case first.Index == 0 || first.At.Before(began.Add(-time.Minute)) || first.At.After(time.Now().Add(time.Minute)):
		b.t.Errorf("got %+v, want an index, and a time that is about now", first)
	}
	b.scale(1)
	o = b.until("one left", func(o jobs.Observation) bool { return o.Count == 1 && live(o) == 1 })
	if o.Change == nil || o.Change.Index != first.Index {
		b.t.Errorf("after a change of our own: got %+v, want still the last of somebody else, %+v", o.Change, first)
	}
	b.ScaleByHand(b.t, 0)
	o = b.until("the next change", func(o jobs.Observation) bool { return o.Change != nil && o.Change.Index != first.Index && live(o) == 0 })
	if o.Change.Index < first.Index || o.Change.Count != 0 {
		b.t.Errorf("got %+v, want a higher index than %d, and count 0", o.Change, first.Index)
	}
}

func deployIsTold(b *bench) {
	b.needs(b.Deploy != nil, "nobody else can register a job")
	b.ensure()
	b.scale(1)
	before := running(b.until("one running", oneRunning))[0]
	b.Deploy(b.t)
	o := b.until("the change, and a replica of the new version", func(o jobs.Observation) bool {
		return o.Change != nil && oneRunning(o) && running(o)[0].ID != before.ID
	})
	if o.Change.Kind != jobs.ChangeDeploy || o.Change.Count != 1 || o.Count != 1 {
		b.t.Errorf("got count %d and change %+v, want one of kind %q that leaves 1", o.Count, o.Change, jobs.ChangeDeploy)
	}
	after := running(o)[0]
	if after.Index != before.Index || (after.Version != 0 && after.Version <= before.Version) { // 0: not known yet
		b.t.Errorf("got %+v, want index %d and a higher version than %d", after, before.Index, before.Version)
	}
	for _, a := range o.Allocations {
		if a.ID == before.ID && a.MayServe() {
			b.t.Errorf("one of the old version may serve: %+v", a)
		}
	}
}

func ownChangesAreOurs(b *bench) {
	b.needs(b.Another != nil, "there is no other process")
	other := b.beside(b.Another(b.t))
	b.ensure()
	other.ensure()
	for _, count := range []int{1, 2, 1} {
		b.scale(count)
		if err := b.Fleet.Note(b.context(), b.Ref, "a remark between two scales", nil); err != nil {
			b.t.Fatalf("note: %v", err)
		}
		settled := func(o jobs.Observation) bool { return o.Count == count && len(running(o)) == count && live(o) == count }
		for who, f := range map[string]*bench{"the fleet itself": b, "the other": other, "one that comes later": b.beside(b.Another(b.t))} {
			f.ensure()
			if o := f.until("the count", settled); o.Change != nil {
				b.t.Errorf("scale to %d: to %s it is somebody else's change: %+v", count, who, o.Change)
			}
		}
	}
	other.scale(2) // and the other way round
	if o := b.until("the other's count", func(o jobs.Observation) bool { return o.Count == 2 && len(running(o)) == 2 }); o.Change != nil {
		b.t.Errorf("what the other did is somebody else's change: %+v", o.Change)
	}
}

func deploymentRefuses(b *bench) {
	b.needs(b.Rolling != nil, "there are no deployments")
	b.Spec = b.Rolling
	b.ensure()
	b.scale(1)
	b.until("one running, in a deployment", func(o jobs.Observation) bool { return oneRunning(o) && o.Deployment != "" })
	err := b.Fleet.Scale(b.context(), b.Ref, 2, "conformance suite", nil)
	refused, ok := errors.AsType[*jobs.DeploymentError](err)
	if !ok || refused.Ref != b.Ref || !strings.Contains(refused.Message, "deployment") {
		b.t.Errorf("got %v, want a *jobs.DeploymentError of %s with the fleet's own words", err, b.Ref)
	}
	if o := b.observe(); o.Count != 1 {
		b.t.Errorf("count: got %d, want 1: the scale was refused", o.Count)
	}
	b.scale(1) // the same count again is no call, so it is not refused
}
