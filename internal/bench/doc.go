// Package bench measures this build against yardsticks that it runs itself, in
// the same minute on the same machine, and reports ratios. A time by itself says
// as much about the machine and its neighbours as about the build, so nothing
// here passes or fails; the aims of the design are printed beside the figures.
//
//	Warm      a proxied request, against a bare httputil.ReverseProxy
//	Wake      a wake of the stub, against the stub started by hand
//	Apertium  a wake of Apertium, against the engine started by hand
//	NomadWake, AgentWake  a wake over Nomad, against the same job scaled by hand
//	Scaler    10,000 services at rest in one scaler, against 100 and 1,000; decisions alone
//	ETA       what held callers are told of the time left, against the median less what has passed
//	Hold      50,000 requests held at once, against bare round trips to Redis
//	Watch     200 services with 500 allocations in one scaler, against 10 services
//
// What is measured runs in processes of its own, children of this binary; this
// process only sends load and reads clocks. Measured thing and yardstick take
// turns (A B A B …), so that a slow minute hits both. Ratios of paired rounds are
// reported as their median with the lowest and the highest; quantiles are those
// of the nearest rank, which makes the p99 of 50 samples their maximum.
//
// Failure: an error means that nothing was measured or that what was measured is
// not what the benchmark is about (an answer that is not 200, a request that was
// held on the warm path). Every child has ended when a function returns; one
// whose parent dies without that ends when its standard input does, except an
// engine started by hand.
package bench

import "io"

// Config of a benchmark.
type Config struct {
	Binary     string    // path of pilotlight, for the children
	Progress   io.Writer // a line for each step; nil: none
	Nomad      string    // URL of an agent on this machine to measure over, too; "": none
	NomadToken string    // its ACL token; "": none is needed
}
