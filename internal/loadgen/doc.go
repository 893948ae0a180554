// Package loadgen sends a bounded load of HTTP requests to a server on this
// machine and reports what came back. Benchmarks and end-to-end tests use it.
//
// Closed loop (Config.Rate 0): Concurrency requests are always under way; a slow
// server is asked less often. Open loop (Rate > 0): requests are due at fixed
// times whatever the server does, and latency counts from when a request was
// due, so that a server which stalls cannot hide the requests it kept waiting
// (coordinated omission).
//
// It refuses any target but a loopback address, checks that again on every
// connection, uses no proxy and follows no redirect: a wrong URL in a benchmark
// must not become an attack on somebody.
package loadgen
