// Package jobs holds the facts that every other package speaks of: what can
// run (Spec), what runs (Allocation, Replica), what is asked for (Counters,
// Demand), what a start cost (ColdStart) and how a service stands (Status).
//
// It is pure and imports only the standard library. It judges nothing: how
// many replicas there should be is decided in scaler/decide, who gets a slot in
// activator/queue.
//
// JSON units: times are RFC 3339 UTC; numbers carry their unit in the field
// name (_s seconds, _ms milliseconds, _bytes, _percent). A nil pointer is
// "unknown" and is written as null, never as 0.
package jobs
