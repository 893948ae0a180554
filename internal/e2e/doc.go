// Package e2e holds the end-to-end tests: the built binary, a real redis-server,
// real child processes, real Apertium and, in ui/, a real browser. Nothing is
// called from inside; a test sees what a client, an operator, the machine and
// Redis see.
//
// Each test starts processes of its own on ports and in folders of its own, waits
// for conditions instead of for time, and at its end stops what it started and
// checks that no child is left. What a machine does not have (redis-server,
// Apertium, Chromium) skips the tests that need it, with a sentence that says so.
// With -short all of them are skipped.
//
// What has Nomad in its name runs over the Nomad double, whose tasks are real
// processes too, and over the agent at NOMAD_ADDR where that is set (make
// test-nomad): an agent of this machine with the raw_exec driver. Pilotlight
// reaches either through a gateway that notes what it asks for, goes away and
// keeps answers back; each test has jobs with names of its own, which it purges.
// Over the double alone: a node that is lost. Over an agent alone: Pilotlight as a
// Nomad job, and, with ACLs and a management token in NOMAD_TOKEN, a token that is
// revoked is tried there as well.
package e2e
