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
// A request with an Idempotency-Key, or with Prefer: respond-async or wait=N, is
// durable: it is stored whole before it is accepted, run by any activator
// (Execute), and its answer stored before anybody is shown it. Such a request goes
// on when its client leaves: who has the key or the id comes back for the answer.
// It ends early only when it is cancelled, or past the Pilotlight-Deadline of its
// caller. Others are cancelled upstream the moment their client goes.
//
// A streaming client that is held gets a comment at each hold.heartbeat, with the
// phase, the seconds left and its position among all that wait. The first one
// commits status 200: from then on a failure is an event, and what would have been
// headers comes as trailers (heartbeat.go). A durable one has the same; whoever
// joins it while it runs gets what is stored, then what comes.
//
// A request whose deadline cannot be met any more is answered at once (forecast.go):
// 504 deadline-passed with the time that is left and Retry-After.
//
// Failures are answered with one of the problems of problem.go: OpenAI's error
// envelope below /v1, application/problem+json elsewhere. 429 and 503 always
// carry Retry-After, and a passed deadline does where it is known when a slot comes
// free.
package activator
