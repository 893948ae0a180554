package jobs

import (
	"fmt"
	"time"
)

// Demand of one service as the slot ledger in Redis knows it.
type Demand struct {
	Held       int            // tickets waiting for a slot
	OldestHold time.Time      // when the oldest waiting ticket was accepted, zero if none
	Deadlines  []time.Time    // of the waiting tickets, at most 1,000 of them
	SlotsOut   map[string]int // replica → slots leased or granted to activators that live, or may
	Busy       map[string]int // replica → of SlotsOut, those with a request in flight when their holder last reported

	// Quarantined slots, by replica: an activator that died had a request in flight
	// there, and nobody gets them before that has ended. Abandoned are those of them
	// whose activator is known to be gone, and its clients with it; they are not in
	// SlotsOut, the others are.
	Quarantined map[string]int
	Abandoned   map[string]int
}

// StaleOfferError says that a scaler of a later epoch has offered the replicas of
// a service: the caller leads no more, whatever its clock says, and its offer was
// not taken.
type StaleOfferError struct {
	Service string
	Epoch   int64 // the later one
}

func (e *StaleOfferError) Error() string {
	return fmt.Sprintf("the slots of %s are offered by the scaler of epoch %d", e.Service, e.Epoch)
}

// Counters are what one activator publishes every second for all its services
// under one key. Cumulative numbers start at 0 with the activator's process, and
// again after a service was left out because nobody asked for it; a smaller number
// than before means that they did.
type Counters struct {
	Activator string                     `json:"activator"`
	Started   time.Time                  `json:"started"`
	At        time.Time                  `json:"at"`
	Services  map[string]ServiceCounters `json:"services"` // only services with traffic in the last 20 min
}

// ServiceCounters of one service at one activator.
type ServiceCounters struct {
	Arrivals       uint64    `json:"arrivals"`        // requests admitted, cumulative
	Completed      uint64    `json:"completed"`       // answered by a replica, cumulative
	Failed         uint64    `json:"failed"`          // of Completed or given up: 5xx, cumulative
	ServiceSeconds float64   `json:"service_seconds"` // time in replicas, cumulative
	InFlight       int       `json:"in_flight"`       // now
	Held           int       `json:"held"`            // now
	HeldBytes      int64     `json:"held_bytes"`      // now
	OldestHold     time.Time `json:"oldest_hold"`     // zero if none
	LastDemand     time.Time `json:"last_demand"`     // last moment with a request held or in flight, or told to come back later

	// Latency sketches (DDSketch, protobuf, relative error 1 %) of seconds in the
	// replica, without the hold, of requests completed within one aligned 5 s
	// bucket: the running one and the one before, so that a reader may miss a few
	// publications without losing any.
	Latency []LatencyBucket `json:"latency,omitempty"`
}

// LatencyBucket is one 5 s bucket of completions.
type LatencyBucket struct {
	Start  time.Time `json:"start"` // aligned to 5 s
	Count  uint64    `json:"count"`
	Sum    float64   `json:"sum"` // seconds
	Sketch []byte    `json:"sketch"`
}

// LatencyBucketSpan is the length of a LatencyBucket.
const LatencyBucketSpan = 5 * time.Second

// FirstAnswer says that a replica has sent the first byte of its first answer.
type FirstAnswer struct {
	Replica   string    `json:"replica"`
	RequestID string    `json:"request_id"`
	HeldAt    time.Time `json:"held_at"` // zero if the request was never held
	Released  time.Time `json:"released"`
	FirstByte time.Time `json:"first_byte"`
}
