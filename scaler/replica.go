package scaler

import (
	"context"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// replica is an allocation with all that the scaler knows and intends about it.
// Zero times are "not yet".
type replica struct {
	alloc  jobs.Allocation
	met    time.Time // when it was first seen
	placed time.Time // by our clock; the fleet's may be wrong by minutes
	began  time.Time // when its process started, by our clock
	launch *launch   // the scale call that brought it; nil: adopted, or replaced by its fleet
	story  bool      // a cold start is open

	// What its probe says.
	answers    bool      // now
	probed     bool      // at least one probe had an outcome
	why        string    // why the last one failed
	readyAt    time.Time // since when it answers
	firstReady time.Time // when it answered first
	watch      int       // generation of its prober; outcomes of older ones are void
	unwatch    context.CancelFunc

	// What the slot ledger was told.
	offered   bool      // with slots, at least once
	withdrawn time.Time // the ledger has confirmed that it has none

	// Its way out.
	draining   time.Time // since when it gets no new slots because it must go
	toldToStop time.Time // when its fleet was seen to have told it
	replaced   bool      // the job was registered again since: its end says nothing about a start
	stopAsked  time.Time // a scale call that stops it was sent
	cut        int       // requests that were in flight then
	failed     string    // why its start counts as failed
	answer     *jobs.FirstAnswer

	gpu     measured
	scrapes lane // of its exporter

	meters   meters // of the policy's metrics
	meterDue time.Time
	metering lane

	phase jobs.Phase // as last seen
	since time.Time  // of phase
}

// now returns the phase that the facts amount to.
func (r *replica) now() jobs.Phase {
	switch {
	case r.alloc.Terminal():
		return jobs.Gone
	case r.alloc.Desired != jobs.DesiredRun, r.alloc.NodeDraining, !r.stopAsked.IsZero(), !r.draining.IsZero():
		return jobs.Draining
	case r.alloc.Address == "":
		return jobs.Pending
	case r.answers && r.alloc.MayServe():
		return jobs.Ready
	default:
		return jobs.Starting
	}
}

// moves reports whether its fleet will stop the replica because its node is
// being drained, and place another in its stead.
func (r *replica) moves() bool {
	return r.alloc.NodeDraining && r.alloc.Desired == jobs.DesiredRun && !r.alloc.Terminal() &&
		r.draining.IsZero() && r.stopAsked.IsZero()
}

// died reports whether the process of next is another one than that of r, or
// none, although the allocation is the same: its fleet restarts it in place.
func (r *replica) died(next jobs.Allocation) bool {
	return next.Restarts > r.alloc.Restarts ||
		r.alloc.Client == jobs.ClientRunning && next.Client == jobs.ClientPending ||
		!r.alloc.Started.IsZero() && next.Started.After(r.alloc.Started)
}

// launched is when the replica was asked for, as far as known.
func (r *replica) launched() time.Time {
	if r.launch != nil {
		return r.launch.Decided
	}
	return r.placed
}

// loading is since when the replica has had the chance to become ready.
func (r *replica) loading() time.Time {
	if !r.began.IsZero() {
		return r.began
	}
	return r.placed
}

// reckon puts what a fleet says of times on our clock, for whatever is decided
// by them: a limit that a server's or a node's wrong clock could move would fail
// a start that is well, or wait for one that is not. What is news was so at most
// since, when the fleet was heard before; zero: the fleet is the one who knows.
func (r *replica) reckon(since, now time.Time) {
	a := &r.alloc
	if r.placed.IsZero() {
		r.placed = now
		if !a.Created.IsZero() && a.Created.Before(now) {
			r.placed = later(a.Created, since)
		}
	}
	switch {
	case a.Started.IsZero():
		r.began = time.Time{}
	case a.Started.After(now):
		r.began = now
	default:
		r.began = later(a.Started, r.placed)
	}
}

// starts reports whether the replica may still become ready for the first time.
func (r *replica) starts() bool {
	return r.failed == "" && r.firstReady.IsZero() && (r.phase == jobs.Pending || r.phase == jobs.Starting)
}

// progress is what its node does for it while it is not there yet.
func (r *replica) progress() string {
	if r.phase == jobs.Pending || r.phase == jobs.Starting {
		return r.alloc.Progress
	}
	return ""
}

// forget ends what runs for the replica.
func (r *replica) forget() {
	if r.unwatch != nil {
		r.unwatch()
	}
	r.unwatch = nil
	r.watch++
}
