// Package lease elects the one active scaler among any number of processes: a
// key in Redis with a time to live, and a fencing epoch that grows with every
// term.
//
// # What is authoritative
//
// The key in Redis says who leads. The leader's own monotonic clock says until
// when it may still believe so: from before the last successful renewal was
// sent, for the time to live less a margin. The led context ends at that moment
// whether or not a call to Redis is still hanging, so two processes never lead
// at once, as long as clocks run at about the same speed.
//
//	           acquired (epoch+1)                  ctx ends: released
//	standby ───────────────────────▶ leading ───────────────────────────▶ done
//	   ▲                               │  │
//	   │   another holds it: ErrLost   │  │
//	   ├───────────────────────────────┘  │
//	   │   not renewed in time: ErrExpired│
//	   └──────────────────────────────────┘
//
// # Keys
//
// Both carry one hash tag, so that a script may touch them in Redis Cluster:
//
//	pl:{lease:NAME}:holder  the holder's id, expires by itself
//	pl:{lease:NAME}:epoch   the number of terms so far, never expires
//
// # Failure
//
// Redis unreachable: a standby keeps trying; the leader's term ends with
// [ErrExpired] when its time is over, and it becomes a standby again. If nobody
// else led in the meantime the next epoch is its last one plus one: what it
// knew is still true, and it need not start over. Redis that lost its data:
// the renewal finds no holder, the term ends with [ErrLost]; the epoch may then
// start over, so an epoch orders terms only within one life of the data. If only
// the count of terms was lost, which a Redis Cluster can bring about, what a
// leader writes elsewhere is refused by the later epoch that it finds there: it
// returns an [OutrankedError] and leads again above it.
package lease
