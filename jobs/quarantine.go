package jobs

import "time"

// Quarantine is what a replica may still be computing for an activator that died.
// Nobody else gets those slots before it ends.
type Quarantine struct {
	Replica   string
	Slots     int
	Until     time.Time // then they return in any case
	Activator string    // the dead one
}

// SlotMark is a moment of the slot ledger, by its own clock. A replica's own count
// of its requests is told with the mark from before it was asked.
type SlotMark int64
