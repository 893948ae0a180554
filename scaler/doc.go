// Package scaler is the loop that observes, decides and acts: for every service
// it reads the demand from the slot ledger and the allocations from the fleet,
// asks package decide how many replicas there should be, and makes it so.
//
// # One service, one goroutine
//
// The state of a service belongs to one loop (service.go). Whatever has to wait
// for somebody else runs beside it, one call of a kind at a time, and posts its
// outcome into the loop's mailbox. So a store that hangs delays no probe, and
// one service no other.
//
//	announced demand ─┐                        ┌─▶ fleet: Scale
//	fleet changes ────┤   mailbox     round    ├─▶ slot ledger: Offer
//	probe outcomes ───┼──────────▶  observe ───┤
//	policy, operator ─┤             decide     ├─▶ probes, scrapes
//	answers of calls ─┘             act        └─▶ history (last: nobody waits for it)
//
// # A replica
//
// A replica is ready when its own probe answers and its fleet lets it serve
// ([jobs.Allocation.MayServe]); the fleet's health checks and client states come
// hundreds of milliseconds later and are not waited for. Down goes the highest
// index, because that is what the fleet will stop: its slots are withdrawn, its
// requests finish (at most scale_down.drain_timeout), then the count is lowered.
// A draining replica that is wanted again is taken back before one is launched.
//
// # What is written down
//
// Scale calls are absolute and repeat harmlessly, and what they leave behind
// shows in the fleet: so no intent is stored before the call, the count is
// compared with the fleet's own picture after a lost answer or a change of
// leader, and nothing is launched twice. Slots are offered absolutely, too; a
// new leader offers nothing before it has probed what it found running. Decisions,
// cold starts and the memory of each service go to package history after the
// fact, in one writing, and before an orderly stop.
//
// The memory names the group that was obeyed. A policy that has gone or names
// another one, even while nobody led, leaves a group that is drained first
// (assignment.go); only then is the service forgotten, or the next group begun
// from nothing.
//
// # Failure
//
// Demand unknown: nothing goes down, no drain ends. Fleet unknown: nothing is
// done to it. Redis silent for longer than the lease: the scaler touches nothing
// but goes on observing for a minute, and resumes if nobody led in between. A
// start that fails is counted with the task's last words; while the launch brake
// holds, the count is lowered to what works, so that the fleet does not restart
// for ever what cannot start.
package scaler
