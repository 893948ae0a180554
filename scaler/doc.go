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
// # Many services
//
// A service at rest costs no calls: the activators' counters, read once a tick for
// all, say that nobody holds anything, whoever does announces it each second, and
// one beat a tick says that what was published of it is still so. What was missed
// all the same is repaired by looks at twenty services a tick, however many there
// are; each decides once a minute, spread over it (rest.go). Calls to Redis that
// nobody waits for go through a gate (gate.go), so that taking over thousands of
// services leaves connections for the lease and for the one that somebody waits
// for, which overtakes the others, as does one that was in use.
//
// # A replica
//
// A replica is ready when its own probe answers and its fleet lets it serve
// ([jobs.Allocation.MayServe]); the fleet's health checks and client states come
// hundreds of milliseconds later and are not waited for. Down goes the highest
// index, because that is what the fleet will stop: its slots are withdrawn, its
// requests finish (at most scale_down.drain_timeout), then the count is lowered.
// A draining replica that is wanted again is taken back before one is launched.
// After the call the victims are compared with those that the fleet told to stop
// (victims.go): if it chose others, whoever was spared serves again.
//
// # What others do
//
// Nomad has other masters: operators, deploys, node drains, preemption. What they
// do is seen in the fleet's picture, told (a stored decision, a notice, the reason
// that callers get) and respected:
//
//	job stopped, purged    stopped.go  paused until it is back, or an operator resumes
//	count set by hand      change.go   pinned for a while, adopted or set back: by_hand of the policy
//	job registered again   change.go   told; the launch brake is off; the count that the rules
//	                                   or a pin want is restored
//	deployment in the way  act.go      waited for; its end is tried at once
//	node being drained     replica.go  the replica gives its slots back and keeps its place: the
//	                                   fleet fills the same index elsewhere
//	evicted, lost, unheard replica.go  no slots, from the moment it is seen
//
// Every change has an index, which is remembered: it is heeded once, also after a
// restart, and what was done before the service was first met is how things are.
// Between seeing a change and deciding on it nothing is done to the fleet. A call
// that somebody else's change overtook (jobs.ErrChanged) is never repeated as it
// was: look, decide, call.
//
// # What is written down
//
// What is about to be done to the fleet is written first (intent.go): which
// replicas are drained and since when, and before each scale call its counts, its
// victims and the index of the job that it is about. Redis takes an intent only
// from the scaler of the latest epoch that has claimed the service, in one step
// with storing it. So a process that stood still, or whose clock did, and still
// believes that it leads, makes no call. Between an intent and its call it may be
// stopped, too; then the call comes late, and the next leader has read of it:
//
//	still wanted      it makes the same call. Both name one index of the job: one
//	                  succeeds, the other is refused
//	not wanted now    it first makes a call to the same count, which moves the
//	                  index, so that the late one is refused; only then the victims
//	                  get slots again, and anything else is done
//	index has moved   it has happened, or cannot any more
//
// A fleet of child processes has no index: its calls die with their sender. It
// stands down when another scaler leads, so that nothing runs for nobody and the
// state directory is free for the next.
//
// Slots are offered absolutely and repeated; a new leader offers nothing before
// it has probed what it found running, and nothing at all of a replica that was
// being drained. An offer carries the epoch: after the first one of a new leader,
// and so after any by which it takes slots away, the ledger refuses those of a
// stale one, who finds out by it.
// Decisions, cold starts and the memory of each service go to package history
// after the fact, in one writing, and before an orderly stop; the memory is fenced
// by the epoch as well. First answers are forgotten by the ledger when they have
// been read, not before.
//
// The memory names the group that was obeyed. A policy that has gone or names
// another one, even while nobody led, leaves a group that is drained first
// (assignment.go); only then is the service forgotten, or the next group begun
// from nothing. Another service whose policy names the group meanwhile waits for
// that (taken.go).
//
// # Failure
//
// Demand unknown: nothing goes down, no drain ends. Fleet unknown: nothing is
// done to it. Fleet silent, that is, its picture is older than 10 s: nothing goes
// down and no drain begins or ends, because the victims would be guessed; but a
// launch is asked for, for a count is absolute and the fleet compares it with its
// own index: on an old picture the worst is a refusal, and to wait would be to
// leave callers waiting for a picture. Permission denied: told, and tried each
// 10 s; what is warm stays warm, for probes and slots need no permission. No room:
// the fleet keeps the request, nothing is asked again, and it goes on by itself.
//
// Clocks that are wrong: an activator's times are moved to ours if they are more than
// 5 s apart (counters.go), a fleet's are put on ours (replica.go), what was noted
// before ours was set back counts from now on, and an intent's age is by Redis' clock.
//
// Redis silent for longer than the lease: the scaler touches nothing but goes on
// observing for a minute, and resumes if nobody led in between. Then a [Private]
// fleet stands down: another may lead, and needs what this process keeps.
//
// A start that fails is counted with the task's last words; while the launch brake
// holds, the count is lowered to what works, so that the fleet does not restart
// for ever what cannot start.
package scaler
