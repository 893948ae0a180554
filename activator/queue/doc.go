// Package queue is the hold: tickets in Redis, the ledger of slots, and the
// protocol by which any number of activators share both without giving a slot
// twice.
//
// # What is where
//
// Redis is authoritative for three things of each service: which replicas have
// slots (offers, written by the scaler), who has how many of them (held and
// grants), and who waits, in which order (queue and tickets). An activator
// keeps a copy of its own share in memory and serves warm requests from it
// without asking (Try). All keys of a service carry its hash tag; scripts.go
// lists them.
//
// # A slot's life
//
//	        offer                 settle, nobody waits
//	(none) ───────▶ free ───────────────────────────────▶ leased to A ◀──┐
//	                 │ ▲                                   │        │    │
//	    somebody     │ │ statement says less               │ Try    │ somebody waits, or
//	    waits: grant │ └───────────────────────────────────┼────────┘ the replica drains:
//	                 ▼                                     ▼             │ idle leases go back
//	              granted to ticket ── acknowledged ──▶ busy at A ───────┘ Release
//
// Like a mutex with a normal and a starvation mode: while nobody waits, what is
// free is leased out and stays with its holder; as soon as somebody waits,
// freed slots go back to Redis and from there to the head of the queue.
//
// # The calls
//
//   - hold: an activator writes a ticket, gets its place, and perhaps its slot at
//     once. Announces demand on the first ticket and at each doubling.
//   - settle: an activator states everything it holds (absolute, so repeating it
//     changes nothing), acknowledges grants, withdraws tickets; the answer has
//     its unacknowledged grants, new leases, all offers. At most one is under way
//     per service and activator; a late copy of an older one is refused by its
//     number. Sent whenever something changed, and each second while anything is
//     held or waits.
//   - offer: the scaler states all replicas; Slots 0 drains one.
//   - demand: the scaler reads.
//
// hold, settle and offer each end by handing free slots to the head of the
// queue: least loaded replica first, ties to the lowest index. Messages on
// pl:slots and pl:demand only hasten what the next heartbeat would find.
//
// # Invariants
//
//   - For each replica: Σ held + grants ≤ offered slots, except that after an offer
//     fell, or after somebody came back with requests in flight that had been
//     given up for dead, nothing new is granted until the sum has fallen too.
//   - An activator forwards only with a slot of its own: busy ≤ owned ≤ what Redis
//     counts for it.
//   - A ticket is in the queue, or granted, or gone; never two of these.
//   - Tickets leave the queue in the order of their numbers.
//
// # Failures
//
//	activator dies       silent for one lease (5 s by Redis' clock): its slots and
//	                     grants return, its tickets go (their connections are gone).
//	                     Its requests in flight may still be computing at the replica:
//	                     their slots are not quarantined yet.
//	activator pauses     after a lease its idle slots may be others'. It gives none that
//	                     it has not heard of for longer than that; when it states them
//	                     again they are believed only as far as there is room.
//	Redis away           activators go on with what they hold, hand freed slots to
//	                     their own waiters in order, keep new tickets in memory within
//	                     the same limits, and number them when it is back. Nothing is
//	                     reclaimed during the first lease after silence of everybody.
//	answer lost          statements are absolute; grants are repeated until
//	                     acknowledged; hold is idempotent by ticket.
//	message lost         found at the next heartbeat, at most a second later.
//	replica dies         its slots end with its offer; requests that are still in
//	                     flight there end with their connections. An activator that
//	                     sees it refuse connections reports it: no slot of it is
//	                     granted for a second.
//	cut off alone        an activator that alone cannot reach Redis takes that for an
//	                     outage and goes on with its slots, past their lease: others may
//	                     have been given them.
//	Redis loses writes   a ledger that was rolled back is repaired by the next
//	                     statements; until then a slot may be granted that is in use.
package queue
