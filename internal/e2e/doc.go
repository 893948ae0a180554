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
package e2e
