package decide

import "time"

// Decision is the answer for one service at one moment.
type Decision struct {
	Service string    `json:"service"`
	At      time.Time `json:"at"`
	From    int       `json:"from"`   // wanted before
	To      int       `json:"to"`     // wanted now
	Rule    string    `json:"rule"`   // name of the step that decided: "any-demand", "load", "backlog", "threshold", "level", "to-zero", "idle", "min", "schedule", "prewarm", "max", "paused", "pinned", "asleep", "wake", "unknown-demand", "brake", "down-gate", "by-hand", "stopped", "purged", "deployed", "blocked", "other-victim", "drain-timeout", …
	Reason  string    `json:"reason"` // a sentence with the numbers

	Inputs        map[string]any `json:"inputs"`  // intermediate figures by symbol: a, z, N_load, N_back, N_thr, N_level, need, L50, S, lambda …
	Signals       Signals        `json:"signals"` // the values the thresholds were compared with
	PolicyVersion int            `json:"policy_version"`

	// Next is the latest moment to decide again even if nothing happens. It and
	// MaxStarts are for whoever carries the decision out, and are not stored.
	Next time.Time `json:"-"`
	// BrakeUntil: no launch before then (zero: brake is off).
	BrakeUntil time.Time `json:"brake_until,omitzero"`
	// MaxStarts bounds replicas starting at once (0 = no bound).
	MaxStarts int `json:"-"`
}

// Signals over the up window and the down window; nil is unknown.
type Signals struct {
	Up   Signal `json:"up"`
	Down Signal `json:"down"`
}

// Signal values over one window; nil is unknown.
type Signal struct {
	LatencyMean    *float64 `json:"latency_mean_s"`
	LatencyP50     *float64 `json:"latency_p50_s"`
	LatencyP95     *float64 `json:"latency_p95_s"`
	LatencyP99     *float64 `json:"latency_p99_s"`
	GPUUtilization *float64 `json:"gpu_utilization_percent"`
	Demand         *float64 `json:"demand"` // per ready replica
	QPS            *float64 `json:"qps"`    // per ready replica
	// Metrics are the policy's metric blocks with a condition here, by name.
	Metrics map[string]*float64 `json:"metrics,omitempty"`
}
