// Package history keeps in Redis what the scaler says and must not forget: how
// each service stands, why its count changed, what its cold starts cost, what
// an operator told it, and the scaler's own memory. A web process needs nothing
// but Redis to show it; a new leader needs nothing else to go on.
//
// # Keys
//
// Keys of one service share the hash tag {SERVICE}.
//
//	pl:{SERVICE}:decisions   zset  JSON decide.Decision by time, newest 1,000
//	pl:{SERVICE}:coldstarts  zset  JSON jobs.ColdStart by start, newest 1,000
//	pl:{SERVICE}:points      zset  JSON jobs.Point by second, 2 h
//	pl:{SERVICE}:operator    text  JSON Setting
//	pl:{SERVICE}:scaler      text  the scaler's memory of the service, opaque here
//	pl:{SERVICE}:intent      hash  epoch: of the latest scaler that claimed the service;
//	                               intent: JSON Intent, what it is about to do;
//	                               number: of that intent
//	                               stored: when, ms by Redis' clock
//	pl:{SERVICE}:demand:HOUR text  recorded demand of an hour (UTC, 2026112109), see
//	                               below; 15 days
//	pl:{SERVICE}:shadow      hash  a draft that runs beside the policy: id, draft: JSON
//	                               jobs.Shadow, standing: JSON jobs.ShadowStanding
//	pl:{SERVICE}:shadow:steps zset JSON jobs.ShadowStep by time, newest 2,000
//	pl:{SERVICE}:shadow:decisions zset  JSON decide.Decision by time, newest 1,000
//	pl:statuses              hash  service → JSON jobs.Status; "" → the scaler's beat
//	pl:decisions             zset  of all services, newest 5,000
//	pl:coldstarts            zset  of all services, newest 10,000
//	pl:recorded:DAY          bits  minutes of a day (UTC) in which a scaler recorded; 15 days
//	pl:changes               channel "topic service", after each write
//	pl:operate               channel "service", after each command
//
// Sorted sets and not streams or lists: a client that repeats a command after a
// lost answer adds the same member again, and nothing is stored twice. The
// scores are milliseconds.
//
// # Recorded demand
//
// What is asked of each service is kept for two weeks, so that a policy can be
// tried on it ([jobs.RecordedHour]): arrivals in steps of 10 s, and how long
// requests took in their slots in bins of 19 %. An hour is one value, written
// whole by the active scaler about once a second while it changes, fenced as its
// memory is, and never otherwise: an hour in which nobody asked has no key. A
// service with ten requests a second takes 170 KB of Redis a week, one with a
// request a second 100, one a minute 40, one an hour 17; an idle one nothing.
// A new leader goes on with what it finds of the present hour. What came between
// the last writing of one leader and the first look of the next, up to about 4 s,
// is lost; longer times without one are marked as such by pl:recorded, which is
// why "nothing was asked" and "nobody looked" are not the same.
//
// # Fencing
//
// A scaler claims each service once, before it does anything with it, with the
// epoch of its lease. From then on intents and memories of earlier epochs are
// refused ([FencedError]), by the same step that would store them: so a scaler
// that stood still for an hour, or whose clock did, finds out before it acts. What
// it would tell (statuses, decisions, cold starts) is refused by a look at the epoch
// before: keys of all services, which no step can write with those of one.
// The epoch lies with the service, not with the lease, because a script in Redis
// Cluster reaches the keys of one service only.
//
// # Failure
//
// Every method returns the client's error and has written all, some or nothing;
// writing the same again is harmless. What is announced on the channels only
// hastens: a subscriber is told to read everything again after each
// reconnection.
package history
