// Package soak proves the hold by processes: three activators, two scalers with
// child processes for replicas, and a redis-server, under mixed load, while
// processes are killed, stopped and restarted every few seconds by a seeded plan.
// Then it keeps accounts.
//
// # Evidence
//
// Clients log every exchange (Request, Call). Replicas are stubs that log the
// start and the end of every execution with its request id, and whose answers say
// which execution wrote each part. The plan logs when it did what to whom (Fault).
// Redis is read when all is over.
//
// # Accounts
//
// Audit is a pure function of the evidence:
//
//   - accepted: every 202 and every keyed request reaches a final state, and a
//     failure is explained by a death that it met. A request without a key fails
//     only with its activator or its replica, or is refused in words that were true.
//   - answers: every reader of a request is served the same bytes, whole, of one
//     execution of that request.
//   - attempts: no request is executed more often than retry.attempts allows; two
//     executions of one request overlap only if the first one's activator died,
//     stood still, or was cut off meanwhile.
//   - slots: a replica never runs more requests than it has slots.
//   - order: of one service, who was accepted later is not begun earlier.
//   - leftovers: in Redis nothing remains but final answers that expire.
//
// Exceptions are those of activator/queue ("What cannot be excluded") and are
// counted: each names the fault without which it would be a violation.
//
// One of the services computes on when its client has gone, as engines do: only
// there a slot that is given twice cannot hide behind a connection that ended.
// Its clients never cancel, because for such an engine a cancelled request goes on
// beside the next one that gets its slot.
package soak
