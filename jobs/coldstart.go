package jobs

import "time"

// Names of the phases of a cold start, in order.
const (
	PhaseDecide    = "decide"     // first held request → scale call sent
	PhasePlace     = "place"      // → allocation placed
	PhasePull      = "pull"       // artifacts and image
	PhaseStart     = "start"      // → task process started
	PhaseLoad      = "load"       // → probe answers
	PhaseReady     = "ready"      // → request released to it
	PhaseFirstByte = "first_byte" // → first byte of its answer
)

// ColdStart is the story of one launched replica, from the first held request
// (or the decision, if nobody waited) to the first byte of its first answer.
type ColdStart struct {
	ID              string           `json:"id"`
	Service         string           `json:"service"`
	Replica         string           `json:"replica"`
	Region          string           `json:"region"`
	Reason          string           `json:"reason"` // of the decision that launched it
	StartedAt       time.Time        `json:"started_at"`
	Phases          []ColdStartPhase `json:"phases"` // place, start and load always present
	RequestsWaiting int              `json:"requests_waiting"`
	Outcome         string           `json:"outcome"` // OutcomeAnswered …
	DurMS           float64          `json:"dur_ms"`
	Failure         string           `json:"failure,omitempty"`
}

// Outcomes of a cold start.
const (
	OutcomeAnswered = "answered" // served a request
	OutcomeUnused   = "unused"   // gone before it served one: ready by then, or not wanted any more
	OutcomeFailed   = "failed"   // never ready, though it was wanted
)

// ColdStartPhase is one bar of the waterfall, in milliseconds from StartedAt.
type ColdStartPhase struct {
	Name    string  `json:"name"`
	StartMS float64 `json:"start_ms"`
	DurMS   float64 `json:"dur_ms"`
}
