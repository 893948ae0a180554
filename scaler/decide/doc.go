// Package decide answers one question, purely: how many replicas should a
// service have now?
//
// [Decide] is a function of the moment, the policy, what the scaler sees of the
// service ([Snapshot]) and what earlier decisions left behind ([Memory]). It
// does no I/O, reads no clock and draws no random numbers: the same arguments
// give the same answer, so that a stored decision can be replayed, a new leader
// goes on where the old one stopped, and a simulation runs the very same rules
// on virtual time. It never writes through its arguments; a Memory may be kept,
// stored as JSON and decided from again. An encoded Memory stays below 64 KiB.
//
// # The steps
//
// Each step gives a count; the one that wins gives the decision its rule and
// its reason.
//
//	gate.go        stopped in the fleet, paused, set by hand, pinned, asleep, demand unknown
//	auto.go        sizing mode auto: the steps in their order, and which one wins
//	load.go        N_load: offered load with square-root headroom
//	backlog.go     N_back: what to buy for requests that wait
//	thresholds.go  what any of scale_up asks for, whether all of scale_down hold
//	scaling.go     N_thr in mode auto; the whole of mode thresholds
//	schedule.go    N_sched: the largest minimum of the schedules' windows
//	surge.go       how much of a sudden demand goes on until a replica could help
//	missed.go      what waits, or would have waited, for a replica that is not there
//	levels.go      N_level: level k is kept while it was needed within τ_k
//	gaps.go        for how long levels were not needed, so far
//	keepalive.go   τ_k from those gaps or by break-even, and when the last replica goes
//	prewarm.go     one replica ahead of demand, by the time of day
//	downgate.go    what else must hold before a count goes down
//	brake.go       replicas that die while loading
//	answer.go      the decision, and when to look again
//
// What they decide from is kept in windows.go (samples), metered.go (the policy's
// metrics), latency.go and bins.go (merged sketches) and coldstart.go, and turned
// into [Signals] by signals.go; reason.go puts into words what came of it.
//
// need = min(max, max(any demand, N_load, N_back, the level of [Next])) feeds the
// levels; wanted is max(N_level, N_thr, N_sched, the prewarm floor, min), at most
// max, if the down gate lets it fall. Schedules are minima in both modes; prewarming
// and what gaps teach are for to_zero.after "auto", since a fixed one is exact.
//
// sizing.mode "thresholds" leaves out load and backlog: scale_up and scale_down
// alone move the count, once per sizing.every, on samples of sizing.sample.
// Bounds, any demand and the way to zero are watched at every look even then.
//
// # What always holds
//
// min ≤ wanted ≤ max. Never zero while a request is held or in flight. Nothing
// goes down because something is not known: with the ledger unreadable the
// count stays, and a named scale_down signal with a hole in its window holds
// it. Replicas that are pending or starting count. Only a person overrides this:
// an operator with pause, pin or sleep, and whoever stops the job ([Out]) or sets
// its count ([Hand]) in the fleet itself. The launch brake leaves wanted alone
// and bounds the launches.
//
// # Sources
//
// [Halfin] Halfin, Whitt: Heavy-traffic limits for queues with many exponential
// servers, 1981. [Borst] Borst, Mandelbaum, Reiman: Dimensioning large call
// centers, 2004. [Karlin] Karlin, Manasse, Rudolph, Sleator: Competitive snoopy
// caching, 1988. [HPA] Kubernetes, Horizontal Pod Autoscaling: desired =
// ceil(current·value/target), tolerance 0.1. [KPA] knative/serving, autoscaler:
// panic at 200 %. DDSketch: Masson, Rim, Lee, VLDB 2019.
package decide
