package scaler

import (
	"context"

	"github.com/pilotlight/pilotlight/jobs"
)

// Fleet is what the scaler needs of whatever runs allocations: Nomad, or child
// processes on this machine. One conformance suite (internal/fleettest) runs
// over every implementation. Every method has a deadline of its own and is safe
// for concurrent use. Errors are those of package jobs (jobs.ErrUnknownJob …)
// where a caller may want to tell them apart.
type Fleet interface {
	// Ensure makes the group's job known at count 0 if the fleet has never known
	// it. seen says that the caller remembers it there: then one that is missing
	// was purged (jobs.ErrPurged) and is not registered. It never overwrites a job
	// and never starts a stopped one (no error: it is known; Observe says
	// Stopped); how a job that is there differs from spec is
	// in Observation.Drift soon after. spec nil: only look.
	Ensure(ctx context.Context, spec *jobs.Spec, ref jobs.Ref, seen bool) error
	// Revive undoes what an operator did, because an operator asked for it: it
	// starts a stopped job again, as it was, at count 0, and registers a purged
	// one from spec. Of a job that may run it changes nothing.
	Revive(ctx context.Context, spec *jobs.Spec, ref jobs.Ref, reason string) error
	// Scale sets the wanted count of the group. The same count again is no call.
	// Allocations above it stop from the highest index down. meta and reason show
	// in the fleet's own records; meta also marks the change as Pilotlight's.
	Scale(ctx context.Context, ref jobs.Ref, count int, reason string, meta map[string]string) error
	// Note leaves a remark in the fleet's own records of the group, without
	// changing anything. A fleet that keeps none does nothing.
	Note(ctx context.Context, ref jobs.Ref, message string, meta map[string]string) error
	// GPUs returns what the devices of the group's running allocations measure,
	// by allocation id; at most a second old, and shared by all callers: one
	// question a node. An allocation that is missing from it holds no device.
	GPUs(ctx context.Context, ref jobs.Ref) (map[string]jobs.GPU, error)
	// Observe returns the present picture of one group; cheap, from memory.
	// An error if the fleet does not have it.
	Observe(ctx context.Context, ref jobs.Ref) (jobs.Observation, error)
	// Watch keeps the picture current and calls changed (never concurrently) as
	// soon as Observe of that job may answer differently. It blocks until ctx
	// ends and owns its goroutines; failures of the connection are retried inside.
	Watch(ctx context.Context, changed func(ref jobs.Ref)) error
}

// Shared is a Fleet that other processes may command, too: a call that one of
// them has sent, or was stopped before sending, may arrive after another has taken
// over. A fleet that dies with its process is not.
type Shared interface {
	// ScaleFrom is Scale of the job as it was at index ([jobs.Observation]'s) and
	// no later: jobs.ErrChanged if it has changed since, by whomever. The same
	// count again is a call: it changes nothing but the index, and so shuts out
	// every call that was decided on before it.
	ScaleFrom(ctx context.Context, ref jobs.Ref, index uint64, count int, reason string, meta map[string]string) error
}

// Private is a Fleet that lives and dies with this process, such as child
// processes on this machine: nobody else can command its allocations.
type Private interface {
	// StandDown ends every allocation and gives up whatever another process may
	// need to run some, because that one leads now. It returns at once; the next
	// Ensure takes command again.
	StandDown()
}

// Ledger is the scaler's side of the slot ledger (activator/queue).
type Ledger interface {
	// Offer states which replicas have slots, all of them: absolute and idempotent.
	// Activators learn of it at once. One that comes after that of a scaler of a
	// later epoch is refused with a *jobs.StaleOfferError.
	Offer(ctx context.Context, service string, epoch int64, offers []jobs.SlotOffer) error
	// Demand reads what waits and which slots are out.
	Demand(ctx context.Context, service string) (jobs.Demand, error)
	// Quarantined returns the slots of a service in which a dead activator may still
	// have requests, and a mark for Observed.
	Quarantined(ctx context.Context, service string) ([]jobs.Quarantine, jobs.SlotMark, error)
	// Observed tells how many requests replicas have in flight by their own counts;
	// they were asked after Quarantined had returned the mark. What is not in flight
	// any more leaves the quarantine.
	Observed(ctx context.Context, service string, mark jobs.SlotMark, inFlight map[string]int) error
	// Announced calls fn with the name of a service whenever demand for it has
	// been announced, and with "" after a reconnection; blocks until ctx ends.
	Announced(ctx context.Context, fn func(service string)) error
	// FirstAnswers returns the first answers reported since the last call, and
	// forgets those that it returned: after a lost answer, or in another process,
	// some may come again.
	FirstAnswers(ctx context.Context, service string) ([]jobs.FirstAnswer, error)
	// Counters returns what every live activator last published.
	Counters(ctx context.Context) ([]jobs.Counters, error)
}
