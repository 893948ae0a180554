package scaler

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// others is what people and machines other than Pilotlight do to the fleet, and
// what may fail between it and us. fleet.mu guards it.
type others struct {
	deaf               bool          // Revive says yes and does nothing
	skew               time.Duration // of the fleet's clocks against ours
	child              bool          // its groups live and die with their owner: nobody purges them
	stopped            map[jobs.Ref]string
	purged             map[jobs.Ref]bool
	change             map[jobs.Ref]*jobs.Change
	deployment         map[jobs.Ref]string
	drift              map[jobs.Ref][]string
	index              uint64
	notes              []string
	revived            []string
	unrevive           error                         // why Revive fails
	denied             bool                          // every call is
	reachable          bool                          // away, but its calls work: only the picture is old
	readOnly           bool                          // scale calls are denied
	observed           int                           // looks that were denied
	blindToDeployments bool                          // the picture does not show them
	overtaken          int                           // so many scale calls lose against somebody else's change
	slow               time.Duration                 // from the effect of a scale call until its answer
	lag                time.Duration                 // from a scale call, whether answered or not, until its effect
	away               map[jobs.Ref]jobs.Observation // the picture from when it was last heard; nil: it is there
	instead            string                        // the next allocation to stop, whatever its index
}

func newOthers() others {
	return others{
		stopped: map[jobs.Ref]string{}, purged: map[jobs.Ref]bool{}, change: map[jobs.Ref]*jobs.Change{},
		deployment: map[jobs.Ref]string{}, drift: map[jobs.Ref][]string{},
	}
}

var (
	errAway = errors.New("no path to the fleet: connection refused")
	group   = jobs.Ref{Namespace: "default", Job: "translate", Group: "server"}
)

// fails is what every call meets first; f.mu is held.
func (f *fleet) fails() error {
	switch {
	case f.away != nil && !f.reachable:
		return errAway
	case f.denied:
		return jobs.ErrDenied
	}
	return nil
}

func (f *fleet) Revive(_ context.Context, _ *jobs.Spec, ref jobs.Ref, reason string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revived = append(f.revived, reason)
	if err := errors.Join(f.fails(), f.unrevive); err != nil {
		return err
	}
	if f.deaf {
		return nil
	}
	delete(f.stopped, ref)
	delete(f.purged, ref)
	f.count[ref] = 0
	f.at[ref]++
	f.tell(ref)
	return nil
}

func (f *fleet) Note(_ context.Context, _ jobs.Ref, message string, _ map[string]string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fails(); err != nil {
		return err
	}
	f.notes = append(f.notes, message)
	return nil
}

// leave cuts the fleet off: what it shows stays as it is, and every call fails.
func (f *fleet) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	picture := map[jobs.Ref]jobs.Observation{}
	for ref := range f.count {
		picture[ref] = f.picture(ref)
	}
	f.away = picture
}

// comeBack ends it; the picture is current again.
func (f *fleet) comeBack() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away, f.reachable = nil, false
	for ref := range f.count {
		f.tell(ref)
	}
}

// stopJob is nomad job stop.
func (f *fleet) stopJob(why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped[group] = why
	f.halt(group)
	f.tell(group)
}

// purge is nomad job stop -purge: the allocations go from the lists with it.
func (f *fleet) purge() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.purged[group] = true
	delete(f.count, group)
	f.allocs = slices.DeleteFunc(f.allocs, func(a jobs.Allocation) bool { return a.Ref == group })
	f.tell(group)
}

// halt tells all allocations of a group to stop; f.mu is held.
func (f *fleet) halt(ref jobs.Ref) {
	for i := range f.allocs {
		if a := &f.allocs[i]; a.Ref == ref && a.Desired == jobs.DesiredRun {
			f.end(a)
		}
	}
}

// end tells one allocation to stop; f.mu is held.
func (f *fleet) end(a *jobs.Allocation) {
	a.Desired = jobs.DesiredStop
	id := a.ID
	time.AfterFunc(50*time.Millisecond, func() {
		f.alter(id, func(a *jobs.Allocation) {
			if !a.Terminal() {
				a.Client, a.Finished = jobs.ClientComplete, time.Now()
			}
		})
	})
}

// changeBy notes a change that is not Pilotlight's; f.mu is held.
func (f *fleet) changeBy(kind string, count int, by string) {
	before, ok := f.count[group]
	if !ok {
		before = -1
	}
	f.index += 7
	f.change[group] = &jobs.Change{Kind: kind, Index: f.index, Before: before, Count: count, At: time.Now(), By: by}
	f.count[group] = count
	f.at[group]++
}

// scaleByHand is nomad job scale.
func (f *fleet) scaleByHand(count int, by string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changeBy(jobs.ChangeCount, count, by)
	f.fill(group)
}

// register is nomad job run: of a purged or stopped job, or of another version
// of it, which stops all allocations at once and places new ones.
func (f *fleet) register(count int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.stopped, group)
	delete(f.purged, group)
	f.changeBy(jobs.ChangeDeploy, count, "")
	f.halt(group)
	f.fill(group)
}

// drainNode marks the allocation's node as being drained; after that long the
// fleet moves it.
func (f *fleet) drainNode(id string, after time.Duration) {
	f.alter(id, func(a *jobs.Allocation) { a.NodeDraining = true })
	time.AfterFunc(after, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for i := range f.allocs {
			if a := &f.allocs[i]; a.ID == id && a.Desired == jobs.DesiredRun {
				f.end(a)
				f.place(a.Ref, a.Index)
				f.tell(a.Ref)
				return
			}
		}
	})
}

// tellAll reports that every group may have changed.
func (f *fleet) tellAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ref := range f.count {
		f.tell(ref)
	}
}

func (f *fleet) noted() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.notes)
}
