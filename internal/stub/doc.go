// Package stub is a scripted model server: what `pilotlight stub` runs, so that
// tests, benchmarks and demos have a replica without a GPU that loads as slowly,
// computes as long and fails as often as they say.
//
// It speaks POST /translate (JSON as Pilotlight's clients do, and the form of
// apertium-apy with /listPairs), /v1/completions and /v1/chat/completions (with
// stream), /v1/models, /recognize, /health, and /metrics under the names of vLLM
// and of the DCGM exporter. Answers are deterministic.
//
// It is a witness as well. It runs at most Config.Concurrency requests at once
// and lets the others wait, but counts the highest number it was ever given
// (max_in_flight), so that a test can prove that nobody gave it more than its
// slots. Every execution is logged when it starts and when it ends, with its
// request id and replica. GET /stub/stats tells the counts as JSON, at any time.
//
// POST /work?ms=&parts=&pad= answers in parts that say which execution wrote them
// and for whom (Part), so that a reader can tell an answer that was put together
// of two executions.
//
// A request whose client has gone is not computed on: it counts as cancelled.
// With Config.ComputeOn it is, as many engines do.
package stub
