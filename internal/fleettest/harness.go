// Package fleettest is the conformance suite of the Fleet contract that the
// scaler states: whatever runs allocations (child processes of this machine,
// Nomad, a double of Nomad) passes the same cases.
//
// An implementation calls Run from a test of its own with a function that makes
// a fresh Harness per case. What a fleet cannot be made to do is nil in its
// harness, and the cases that need it say so and are skipped. Cases wait for the fleet's own change reports, never
// for the clock: a fleet that forgets to report a change fails by deadline.
package fleettest

import (
	"context"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// Fleet is the contract under test; the methods are those of scaler.Fleet.
type Fleet interface {
	Ensure(ctx context.Context, spec *jobs.Spec, ref jobs.Ref, seen bool) error
	Revive(ctx context.Context, spec *jobs.Spec, ref jobs.Ref, reason string) error
	Note(ctx context.Context, ref jobs.Ref, message string, meta map[string]string) error
	GPUs(ctx context.Context, ref jobs.Ref) (map[string]jobs.GPU, error)
	Scale(ctx context.Context, ref jobs.Ref, count int, reason string, meta map[string]string) error
	Observe(ctx context.Context, ref jobs.Ref) (jobs.Observation, error)
	Watch(ctx context.Context, changed func(ref jobs.Ref)) error
}

// Harness is one fresh fleet with what a case needs to provoke it. Whatever it
// starts must end with the test it was made for (t.Cleanup).
type Harness struct {
	// Fleet under test, running (its own Run, if it has one, is the harness's).
	Fleet Fleet

	// Spec is a job, unknown to Fleet yet, whose group Ref.Group runs one main
	// task with a port labelled "http". Its group may run at least three
	// allocations; its reschedule block, if any, waits a minute or more, so that
	// no case races with a replacement.
	Spec *jobs.Spec
	Ref  jobs.Ref

	// Unknown reports whether an error says that the fleet does not know the job.
	Unknown func(error) bool

	// Serves says that the task really listens and answers GET / with status 200.
	Serves bool

	// Crash makes the task of a running allocation end by itself, and for good,
	// and returns a text that its Failure must then contain. nil: cannot.
	Crash func(t *testing.T, a jobs.Allocation) (words string)

	// Block makes the fleet unable to place any allocation of Ref until release
	// is called. nil: cannot.
	Block func(t *testing.T) (release func())

	// What somebody else does to the job, past the fleet, as an operator would with
	// the cluster's own tools. nil: nobody can, and the cases that need it are
	// skipped.
	Stop        func(t *testing.T)            // it runs nothing any more, and stays known
	Purge       func(t *testing.T)            // it is gone
	ScaleByHand func(t *testing.T, count int) // of Ref.Group
	Deploy      func(t *testing.T)            // another version of it, with the counts that it has

	// DrainNode lets a node, by name, be emptied until undo. It is the node of a
	// running allocation. nil: cannot.
	DrainNode func(t *testing.T, node string) (undo func())

	// LoseNode takes a node away, by name, and gives it back with back: its
	// processes may live on meanwhile. There is another with room. nil: cannot.
	LoseNode func(t *testing.T, node string) (back func())

	// Cut takes the fleet's connection away until mend. nil: it has none.
	Cut func(t *testing.T) (mend func())

	// Another is one more fleet over the same cluster, as a second process has it.
	// nil: cannot.
	Another func(t *testing.T) Fleet

	// Rolling is Spec with an update that takes minutes, during which the fleet
	// refuses scales. nil: it knows no deployments.
	Rolling *jobs.Spec

	// GPUs is Spec with one GPU for each allocation, and Measure sets what the GPUs
	// of one measure from now on: percent, and bytes; nil values are unknown to the
	// node. nil: there are no GPUs.
	GPUs    *jobs.Spec
	Measure func(t *testing.T, a jobs.Allocation, utilization, memoryUsed, memoryTotal *float64)

	// Deadline for one wait; 0 is 20 s. It bounds a failing case and costs a
	// passing one nothing.
	Deadline time.Duration
}
