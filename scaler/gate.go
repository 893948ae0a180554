package scaler

import "context"

// How many calls to Redis are on their way at once, so that however many
// services there are, some connections are always free for those that somebody
// waits for: the lease, an intent, slots.
const (
	bulkCalls   = 8  // reading and writing what nobody waits for
	promptCalls = 16 // reading the demand
)

// gate bounds how many go through at once.
type gate chan struct{}

// enter waits until there is room, or hurry is closed, and returns the way out;
// or for the end of ctx, after which a call fails at once.
func (g gate) enter(ctx context.Context, hurry <-chan struct{}) (leave func()) {
	select {
	case g <- struct{}{}:
		return func() { <-g }
	case <-hurry:
	case <-ctx.Done():
	}
	return func() {}
}
