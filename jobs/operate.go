package jobs

import "time"

// Verbs of a Command.
const (
	VerbWake   = "wake"   // as if a request had come
	VerbSleep  = "sleep"  // to zero until the next request
	VerbPause  = "pause"  // change nothing, take no new requests while at zero
	VerbResume = "resume" // end pause and sleep
	VerbPin    = "pin"    // hold exactly Replicas
	VerbUnpin  = "unpin"
)

// Command is what an operator tells the scaler about one service.
type Command struct {
	Verb     string    `json:"verb"`
	Replicas int       `json:"replicas,omitempty"` // for pin
	Reason   string    `json:"reason"`
	By       string    `json:"by"`
	At       time.Time `json:"at"`
}

// Point is one second of a service's timeline.
type Point struct {
	At       time.Time `json:"at"`
	Wanted   int       `json:"wanted"`
	Ready    int       `json:"ready"`
	Starting int       `json:"starting"` // pending and starting
	Draining int       `json:"draining"`
	Held     int       `json:"held"`
	InFlight int       `json:"in_flight"`
	QPS      *float64  `json:"qps"`
	GPU      *float64  `json:"gpu_utilization_percent"`
	P95MS    *float64  `json:"p95_ms"`
}
