package queue

import "time"

// longest is how long a request that is in a slot of this activator now may still be
// there. Whoever puts a slot to use says it first (Limits.Timeout, or the ticket of a
// durable request), so that it is unknown only while nothing is in a slot. Each
// statement tells it to the ledger: for so long our slots are quarantined if we die.
type longest struct {
	timeout time.Duration // request.timeout, as last heard; 0: not yet
	older   time.Time     // when the last is over that began under a longer one
}

// hear of a request.timeout; it reports whether the ledger was told of less.
func (l *longest) hear(timeout time.Duration, now time.Time) (more bool) {
	if timeout < l.timeout {
		if over := now.Add(l.timeout); over.After(l.older) {
			l.older = over
		}
	}
	more = timeout > l.left(now)
	l.timeout = timeout
	return more
}

// left of what is in a slot, at most.
func (l *longest) left(now time.Time) time.Duration { return max(l.timeout, l.older.Sub(now)) }
