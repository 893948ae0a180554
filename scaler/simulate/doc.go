// Package simulate replays demand on virtual time: what would a policy have
// launched, what would it have cost, how long would requests have waited?
//
// The policy's decisions come from package decide, unchanged: [Policy] feeds
// [decide.Decide] the snapshots that the scaler would have seen, once a second
// and at the first hold, and carries its answers out on a model of replicas.
// Other ways to scale ([Baselines]) drive the same model, and [bounds] says what
// somebody who knows the future would have needed.
//
// # The model
//
// Each service runs alone. A request needs a slot for a number of seconds that
// the trace gives; a replica has concurrency slots. A request that finds no free
// slot is held in order of arrival, until hold.max_wait (then it has timed out)
// and up to hold.max_requests (then it is refused). Slots are given at the least
// loaded ready replica, ties to the lowest index. A launch at t is ready at
// t + Setup.Launch + a draw from the cold starts. A step down takes the highest
// indexes: one that starts is stopped at once, one with requests drains, costs
// until they are finished, and is taken back before another is launched. At the
// end of the trace everything is served, and what still runs is stopped.
//
// The policy sees what the scaler would: held requests as they are (the scaler's
// answer from the ledger is that of its last tick or of the last doubling of what is
// held, up to a second old); arrivals and service times as the activators last
// published them, half a second to one and a half seconds ago; a cold start's length
// once the replica has answered its first request, from the oldest hold to the end of
// that answer. With counts that were never late a burst looked different at the
// very look that mattered, and mean waits were half of the real ones.
//
// TestTheSimulatorIsTrue plays ten minutes of traces to the real activator, queue,
// lease and scaler and holds launches equal, GPU-seconds within 2 % (5 % where bursts
// come about when keep-alives end), mean waits within 3 %, p95, p99 and the longest
// within 1.3 s, and those who were cold-started, refused or timed out within 5 %, of
// what the simulation says for four phases of the second.
//
// That is for the runs that it plays. Where a decision is close, tens of milliseconds
// of the phase between requests and looks turn it, in the house as here: at a burst
// there is a replica more or less, and what follows differs. One run is one of
// several that could have been. In five other runs, with somewhat other decisions, each at three phases of the
// second, GPU-seconds agreed within 11 % (without half an hour of bursty code
// completion within 1.5 %), p99 waits within 6 %, mean waits within 9 % in four of
// them; in that half-hour the mean was 11 to 16 % longer here at two phases, and 3.9
// times as long at the third, with a seventh to two fifths more launches. Draws of
// cold starts (Setup.Seeds) shift the phase of what follows: medians over some of
// them are worth more than one run.
//
// # Determinism
//
// Time is counted in nanoseconds and every draw comes from Setup.Seed, the
// service's name and the number of the launch: the same trace, setup and
// candidates give the same figures, in whatever order and on however many
// processors they are computed, and every candidate meets the same cold starts.
//
// # Memory
//
// A trace is read as it is replayed. What is kept is bounded by what is held and
// in flight at one moment, by the length of the series that are asked for and by
// the number of services (under a policy some 10 KB each), not by the number of
// requests: a process that replays ten million of them, gzipped,
// had 68 MiB at most under one policy, and 74 with all baselines. Quantiles of the
// added wait come from a histogram with three digits; mean and maximum are exact.
package simulate
