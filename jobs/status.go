package jobs

import "time"

// States of a service.
const (
	StateZero     = "zero"     // wanted 0 and every allocation terminal
	StateWaking   = "waking"   // wanted > 0, none ready
	StateReady    = "ready"    // at least one ready
	StateDraining = "draining" // wanted 0, some not gone yet
	StateBlocked  = "blocked"  // wanted > 0, none ready, and the fleet or the launch brake says why not
	StatePaused   = "paused"   // by an operator
)

// Status is how one service stands, as the scaler last published it and as
// GET /api/v1/services answers it.
type Status struct {
	Name     string         `json:"name"`
	State    string         `json:"state"`
	Replicas ReplicaCounts  `json:"replicas"`
	Demand   DemandCounts   `json:"demand"`
	QPS      *float64       `json:"qps"`         // arrivals per second, mean over 10 s
	Errors   *float64       `json:"error_ratio"` // of the requests that left their slots in the last minute, 0 to 1: those that failed; nil: none did
	Latency  Quantiles      `json:"latency_ms"`  // in the replica, last minute
	GPU      *float64       `json:"gpu_utilization_percent"`
	GPUMem   *float64       `json:"gpu_memory_used_bytes"`
	GPUWhy   *string        `json:"gpu_unknown_reason"` // why GPU is unknown while a replica is ready, in a sentence
	Oldest   *float64       `json:"oldest_hold_s"`
	Cold     ColdStartStats `json:"cold_start_s"`
	ETA      *float64       `json:"eta_s"`          // until a replica is ready, while waking
	Coming   []Coming       `json:"coming"`         // the replicas on their way
	Start    *Estimate      `json:"start_s"`        // a whole start, from the decision until its probe answers; nil: none was seen
	Service  *float64       `json:"service_s"`      // mean time of a request in a slot, seconds; nil: none was seen
	Blocked  *string        `json:"blocked_reason"` // in a sentence

	// BlockedUntil is when a start is tried next, by the launch brake or because
	// the job cannot be registered; nil when nothing holds one back. Until then
	// activators answer 503 start-failed.
	BlockedUntil  *time.Time `json:"blocked_until"`
	PolicyVersion int        `json:"policy_version"`
	Reason        string     `json:"reason"` // of the last decision
	LastDemand    *time.Time `json:"last_demand"`
	Paused        *string    `json:"paused_reason"` // by whom and why an operator has paused it, in a sentence; nil: nobody has
	PausedAt      *time.Time `json:"paused_at"`     // when; nil: nobody has, or too many commands ago to be known
	Pinned        *int       `json:"pinned"`        // the count that an operator, or a change by hand, holds
	PinnedUntil   *time.Time `json:"pinned_until"`  // nil: until it is taken back
	FleetAt       *time.Time `json:"fleet_at"`      // when the fleet was last heard: how old the picture of the replicas is
	Notices       []Notice   `json:"notices"`       // what an operator should know, newest first
	At            time.Time  `json:"at"`            // when this was true
}

// ReplicaCounts by phase.
type ReplicaCounts struct {
	Wanted   int       `json:"wanted"`
	Pending  int       `json:"pending"`
	Starting int       `json:"starting"`
	Ready    int       `json:"ready"`
	Draining int       `json:"draining"`
	List     []Replica `json:"list"`
}

// DemandCounts now.
type DemandCounts struct {
	InFlight int `json:"in_flight"`
	Held     int `json:"held"`
	Async    int `json:"async"`
}

// Quantiles in milliseconds; nil is unknown (too few samples).
type Quantiles struct {
	P50 *float64 `json:"p50"`
	P95 *float64 `json:"p95"`
	P99 *float64 `json:"p99"`
}

// ColdStartStats over the last 50 successful cold starts, in seconds.
type ColdStartStats struct {
	P50   *float64 `json:"p50"`
	P90   *float64 `json:"p90"`
	Last  *float64 `json:"last"`
	Count int      `json:"count"`
}

// Coming is a replica on its way.
type Coming struct {
	Phase string    `json:"phase"`  // of its cold start: PhasePlace, PhasePull, PhaseStart or PhaseLoad
	Slots int       `json:"slots"`  // that it will have
	Left  *Estimate `json:"left_s"` // until its probe answers; nil: unknown
}

// Estimate is how long something takes, in seconds: one time of ten not longer
// than P10, half of the times not longer than P50, nine of ten not longer than P90.
type Estimate struct {
	P10  float64 `json:"p10"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	Seen int     `json:"seen"` // past starts that it rests on
}

// After is the estimate some time later, if nothing else has become known.
func (e Estimate) After(d time.Duration) *Estimate {
	s := max(0, d.Seconds())
	return &Estimate{P10: max(0, e.P10-s), P50: max(0, e.P50-s), P90: max(0, e.P90-s), Seen: e.Seen}
}

// Kinds of a Notice.
const (
	NoticeChangedByHand = "changed-by-hand" // somebody changed the count in the fleet itself
	NoticeDeployed      = "deployed"        // somebody registered the job again: its replicas were replaced
	NoticeDeployment    = "deployment"      // a deployment is active and refuses scales
	NoticeStopped       = "stopped"         // somebody stopped or purged the job
	NoticeNodeDraining  = "node-draining"   // nodes of some replicas are being drained
	NoticeDrift         = "drift"           // the registered job is not the shipped job spec
	NoticeMetricUnknown = "metric-unknown"  // a metric of the policy cannot be read
	NoticeMetricWarned  = "metric-warned"   // Prometheus warns of a query of the policy; its value is used
	NoticeFleetSilent   = "fleet-silent"    // the fleet cannot be heard; what is shown is old
)

// Notice is something about a service that an operator should know, and that
// passes.
type Notice struct {
	Kind   string    `json:"kind"`
	Text   string    `json:"text"`             // a sentence
	Detail []string  `json:"detail,omitempty"` // lines, such as a diff
	Since  time.Time `json:"since"`
}
