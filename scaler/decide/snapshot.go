package decide

import (
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// Snapshot is what the scaler sees of one service at one moment.
type Snapshot struct {
	// Known is false when the slot ledger could not be read or is older than 3
	// ticks: then the demand fields below mean nothing, and nothing scales down.
	Known      bool          `json:"known"`
	InFlight   int           `json:"in_flight"`
	Held       int           `json:"held"`
	Deadlines  []time.Time   `json:"deadlines,omitempty"` // of held requests (a sample of at most 1,000)
	OldestHold time.Time     `json:"oldest_hold"`         // zero: none
	Arrivals   uint64        `json:"arrivals"`            // cumulative over all activators, resets already removed
	LastDemand time.Time     `json:"last_demand"`         // last moment with anything held or in flight; zero: never
	Service    ServiceTime   `json:"service"`             // S̄ so far
	Replicas   []Replica     `json:"replicas"`            // not gone ones
	Latency    []LatencyItem `json:"latency,omitempty"`   // completions since the last snapshot
	Blocked    string        `json:"blocked,omitempty"`   // why the fleet cannot place, in a sentence
	Operator   Operator      `json:"operator"`
	Out        *Out          `json:"out,omitempty"`     // nothing can run; nil: it can
	Hand       *Hand         `json:"by_hand,omitempty"` // a count set in the fleet itself that is held; nil: none
	// Metrics are the values of the policy's metric blocks now, by their names: the
	// mean over the ready replicas, or the one number that PromQL gives. Nil, or a
	// name that is missing, is unknown (with source "metrics" also if any ready
	// replica did not answer); NaN and infinities are taken for unknown.
	Metrics map[string]*float64 `json:"metrics,omitempty"`
	// MetricMaxes are likewise their maxima over the ready replicas, which scale_down
	// is judged by. The mean stands in for a name that is missing.
	MetricMaxes map[string]*float64 `json:"metric_maxes,omitempty"`
	Starts      []float64           `json:"starts,omitempty"` // last 50 successful cold starts, decide → first byte (or ready), seconds, oldest first
	Failures    Failures            `json:"failures"`
	GPUs        int                 `json:"gpus,omitempty"` // of one replica, by its job spec; 0: what the policy's cost.gpu says
}

// Replica as a decision sees it.
type Replica struct {
	ID       string     `json:"id"`
	Index    int        `json:"index"`
	Phase    jobs.Phase `json:"phase"`
	Launched time.Time  `json:"launched"`
	ReadyAt  time.Time  `json:"ready_at"` // zero: not yet
	InFlight int        `json:"in_flight"`
	// GPUUtilization in percent; nil is unknown.
	GPUUtilization *float64 `json:"gpu_utilization_percent"`
}

// LatencyItem is one 5 s bucket of completions of one activator; an item with
// the same Activator and Start replaces the earlier one.
type LatencyItem struct {
	Activator string    `json:"activator"`
	Start     time.Time `json:"start"`
	Count     uint64    `json:"count"`
	Sum       float64   `json:"sum_s"`
	Sketch    []byte    `json:"sketch"` // DDSketch protobuf, seconds
}

// Out says that nothing of the job runs whatever is wanted, because somebody
// stopped or purged it.
type Out struct {
	Rule   string `json:"rule"`   // of the decision: "stopped", "purged"
	Reason string `json:"reason"` // in a sentence
}

// Hand is a count that somebody set in the fleet itself and that is held like an
// operator's pin, but whatever the policy's bounds: who goes past Pilotlight
// knows why.
type Hand struct {
	Count int       `json:"count"`
	At    time.Time `json:"at"`    // since when
	Until time.Time `json:"until"` // it ends by itself
	By    string    `json:"by"`    // what is known of who or why; often ""
}

// Operator is what a person has set, beyond the policy.
type Operator struct {
	Paused bool      `json:"paused"`
	Pinned *int      `json:"pinned"`  // 0…max
	WakeAt time.Time `json:"wake_at"` // counts as demand at that moment; zero: never
	Asleep bool      `json:"asleep"`  // sleep: wanted 0 until the next demand after SleepAt
	// SleepAt is when sleep was asked for; zero: when Asleep was first seen.
	SleepAt time.Time `json:"sleep_at,omitzero"`
	Reason  string    `json:"reason"`
	By      string    `json:"by"`
}

// Failures in a row of starts: died before ready or within 30 s of it, or not
// ready within probe.max.
type Failures struct {
	InARow  int         `json:"in_a_row"`
	Last    time.Time   `json:"last"`
	Reason  string      `json:"reason"` // the last one's own last words
	Seconds float64     `json:"gpu_seconds_last_hour"`
	Times   []time.Time `json:"times,omitempty"`
}
