package jobs

import "time"

// Ref names one task group of one job: what a fleet scales.
type Ref struct {
	Namespace string `json:"namespace"`
	Job       string `json:"job"`
	Group     string `json:"group"`
}

func (r Ref) String() string { return r.Namespace + "/" + r.Job + "/" + r.Group }

// Desired and client states of an allocation, in Nomad's own words.
const (
	DesiredRun  = "run"
	DesiredStop = "stop"

	ClientPending  = "pending"
	ClientRunning  = "running"
	ClientComplete = "complete"
	ClientFailed   = "failed"
	ClientLost     = "lost"
	ClientUnknown  = "unknown"
)

// Allocation is what a fleet knows of one instance of a task group: facts,
// without judgement. Zero times are "not yet" or "not known".
type Allocation struct {
	ID      string `json:"id"`
	Ref     Ref    `json:"ref"`
	Index   int    `json:"index"`   // N of job.group[N]; the highest are stopped first
	Node    string `json:"node"`    // node name, or its id if it has none
	NodeID  string `json:"node_id"` // "" where nodes have none
	Address string `json:"address"` // host:port of the port labelled "http", "" until known
	Desired string `json:"desired"` // DesiredRun, DesiredStop
	Client  string `json:"client"`  // ClientPending … ClientUnknown

	Created  time.Time `json:"created"`  // placed by the fleet
	Received time.Time `json:"received"` // its node took it up
	Pulling  time.Time `json:"pulling"`  // artifacts or image being fetched, prestart tasks run
	Started  time.Time `json:"started"`  // task process started (last start)
	Finished time.Time `json:"finished"` // task process gone for good

	Restarts int    `json:"restarts"` // of the task, by the fleet, in place
	Failure  string `json:"failure"`  // the task's own last words, "" if none: exit code, driver error, last log lines
	LogDue   bool   `json:"log_due"`  // its last log lines are being read and will be in Failure within seconds, if there are any
	Progress string `json:"progress"` // what its node does for it before it runs, in the fleet's words ("Docker image pull progress: 3 of 8 layers"); "" if not told

	Version      uint64   `json:"version"`       // of the job, that it runs; 0 is the first, or not known
	Devices      []string `json:"devices"`       // ids of the GPUs that it holds, sorted
	NodeDraining bool     `json:"node_draining"` // its node is being drained: the fleet will soon stop it, and place another
}

// Terminal reports whether the allocation's process is gone for good.
func (a Allocation) Terminal() bool {
	return a.Client == ClientComplete || a.Client == ClientFailed || a.Client == ClientLost
}

// MayServe reports whether a good probe of the allocation may be believed:
// wanted by its fleet, and not lost with its node or of unknown state.
func (a Allocation) MayServe() bool {
	return a.Desired == DesiredRun && !a.Terminal() && a.Client != ClientUnknown
}

// Observation is a fleet's picture of one task group at one moment.
type Observation struct {
	Count       int          // wanted number of allocations
	Allocations []Allocation // live ones, and terminal ones not yet forgotten, by Index then Created
	Blocked     string       // why allocations cannot be placed, in a sentence; "" if they can
	At          time.Time    // when the fleet itself was last heard; older than some seconds: cut off from it, or its answers are stale
	Silence     string       // why At is old, in a sentence; "" while the fleet is heard, or if nothing is known

	Stopped    string   // why the job runs nothing whatever its count, because somebody stopped it; "" if it may run
	Deployment string   // an active deployment that makes the fleet refuse scales, in a sentence; "" if none
	Change     *Change  // the last change of the job that was not Pilotlight's, nil if none is known
	Index      uint64   // of the job as it stands, grows with every change of it by anybody; 0: the fleet has none
	Drift      []string // how the job differs from the job spec that Ensure was given, a line for each difference; nil: not at all, or not known
}
