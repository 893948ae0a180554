// Package activator is the data path: it finds the service that a request is
// for, takes or waits for a slot (activator/queue), and forwards the request to
// the slot's replica.
//
// Guarantees: an unknown service, a wrong body or a wrong header never wakes
// anything; a request with a free slot at hand is forwarded without asking
// Redis; a request without one is held, in order, until its deadline; a slot is
// held exactly as long as its request is in flight; no byte of an answer is sent
// before the last try is decided; a client that goes away cancels its request
// at the replica at once.
//
// Failures are answered with one of the problems of problem.go: OpenAI's error
// envelope below /v1, application/problem+json elsewhere. 429 and 503 always
// carry Retry-After.
package activator
