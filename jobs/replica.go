package jobs

import "time"

// Phase is the life of a replica: pending → starting → ready → draining → gone.
type Phase string

// The phases, in order.
const (
	Pending  Phase = "pending"  // asked for, no address yet
	Starting Phase = "starting" // placed; its probe does not answer yet
	Ready    Phase = "ready"    // probe answers; has slots
	Draining Phase = "draining" // no new slots; its requests finish
	Gone     Phase = "gone"     // stopped or dead
)

// Replica is an allocation as Pilotlight sees it.
type Replica struct {
	ID       string    `json:"id"`
	Region   string    `json:"region"`
	Node     string    `json:"node"`
	Address  string    `json:"address"`
	Index    int       `json:"index"`
	Phase    Phase     `json:"phase"`
	Since    time.Time `json:"since"`      // of Phase
	Launched time.Time `json:"started_at"` // the decision or allocation that brought it
	Slots    int       `json:"slots"`      // concurrency
	InFlight int       `json:"in_flight"`  // slots out

	GPUUtilizationPercent *float64 `json:"gpu_utilization_percent"`
	GPUMemoryUsedBytes    *float64 `json:"gpu_memory_used_bytes"`
	GPUMemoryTotalBytes   *float64 `json:"gpu_memory_total_bytes"`
	GPUUnknownReason      string   `json:"gpu_unknown_reason,omitempty"`
	Progress              string   `json:"progress,omitempty"` // what its node does for it before it runs
	Failure               string   `json:"failure,omitempty"`
}

// SlotOffer is what the scaler tells the slot ledger of one replica. Slots = 0
// takes its slots back (drain). A replica that is not offered any more is gone.
type SlotOffer struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Index   int    `json:"index"`
	Slots   int    `json:"slots"`
}

// SlotsHelp describes pilotlight_slots, which one process may serve for two roles: an
// activator shows the slots that it owns, the scaler those that nobody does.
const SlotsHelp = "Slots by state: granted and leased ones by the activator that owns them, free and quarantined ones by the active scaler."
