// Package eta is the one place where it is reckoned how long a held request still
// waits for a replica: the seconds that callers read in heartbeats, 202 bodies,
// Retry-After, GET /health and the UI. It is pure: no I/O, no clock.
//
// # What is left of a start
//
// A service's past cold starts, by stretch (placed, prepared, loaded), stand for
// what a running one may be like. Each of them, x seconds in the stretch that the
// running one is in and r seconds in those after it, stands for itself and for
// starts somewhat faster and slower:
//
//	left = (u·x − a) + v·r     given that u·x > a
//
// a is how long the stretch has lasted by now; u and v are log-logistic with median
// 1, their spread taken from the history's own: wide for a handful of starts,
// narrow for fifty. A past start counts by how likely it is to have lasted for a,
// and by its age: half for each twenty that came after it.
//
// So a start at second 100 of a load that takes 120 s is 20 s away, not 120; and one
// at second 180 is judged by the few that took as long. Beyond all of them what is
// left grows with what has passed: nothing is known any more but that it is slow.
// It is never negative.
//
// # What is left for a place in the queue
//
// Slots come free at slots/S a second, S the mean time of a request in one, and as
// many at once as a starting replica has when it is ready. Place p waits until p of
// them have (Outlook.Wait).
//
// Unknown stays unknown: without a past start there is no estimate, nor for a
// replica that nobody can place, nor past what is on its way while S is unknown.
package eta
