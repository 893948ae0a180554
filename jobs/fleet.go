package jobs

import (
	"errors"
	"fmt"
	"time"
)

// What a fleet answers that a caller may want to tell apart (errors.Is).
var (
	// ErrUnknownJob: the fleet does not have the job in that namespace.
	ErrUnknownJob = errors.New("job is not known to the fleet")
	// ErrPurged: it had the job once and somebody purged it. It is an
	// ErrUnknownJob too.
	ErrPurged = fmt.Errorf("%w: it was purged and is not registered again by itself", ErrUnknownJob)
	// ErrUnknownGroup: the job has no task group of that name, or several and
	// none was named.
	ErrUnknownGroup = errors.New("task group is not in the job")
	// ErrStopped: somebody stopped the job; a scale would start nothing.
	ErrStopped = errors.New("job is stopped")
	// ErrWrongType: the job is not of type service, or is periodic or
	// parameterized, and cannot be scaled by replicas.
	ErrWrongType = errors.New("job cannot be scaled: only jobs of type service, neither periodic nor parameterized, can")
	// ErrDenied: the fleet knows us and does not let us, or does not know us.
	ErrDenied = errors.New("permission denied")
	// ErrChanged: the count was not set, because it was decided on a job that
	// somebody has changed since. Observe shows the change.
	ErrChanged = errors.New("job was changed by somebody else meanwhile: look again")
)

// DeploymentError says that a scale was refused because a deployment of the
// job is active. It passes by itself, or when an operator ends the deployment.
type DeploymentError struct {
	Ref     Ref
	Message string // the fleet's own words
}

func (e *DeploymentError) Error() string {
	return fmt.Sprintf("scale %s: %s (a job with update { max_parallel = 0 } never waits for one)", e.Ref, e.Message)
}

// Kinds of a Change.
const (
	ChangeCount  = "count"  // somebody else scaled the group: nomad job scale, an autoscaler, the fleet's own UI
	ChangeDeploy = "deploy" // somebody registered the job again: nomad job run, job revert, job start
)

// Change is the last thing that somebody other than Pilotlight did to a job.
type Change struct {
	Kind   string
	Index  uint64 // of the job, grows with every change: which change this is
	Before int    // the count before it, -1 if not known
	Count  int    // the count that it left
	At     time.Time
	By     string // what is known of who or why, such as the message of a scaling event; often ""
}

// GPU is what the devices of one allocation measured. A nil figure is unknown,
// for the reason in Why; unknown is never zero.
type GPU struct {
	At          time.Time // of the measurement, by the node's clock
	Utilization *float64  // percent, mean over its devices
	MemoryUsed  *float64  // bytes, sum over its devices
	MemoryTotal *float64  // bytes, sum over its devices
	Why         string    // why a figure is unknown, in a sentence; "" if none is
	Warning     string    // what its source warns of though it gives figures; "" if of nothing
}
