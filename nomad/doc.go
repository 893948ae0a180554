// Package nomad makes Nomad run what the scaler wants: it is the adapter
// between Pilotlight's fleet contract and Nomad's HTTP API, and the only
// package that imports github.com/hashicorp/nomad/api.
//
// # What is authoritative
//
// Nomad is. The Fleet keeps a picture of the jobs it was asked about (job,
// allocations, why they cannot be placed) so that Observe answers from memory,
// and every entry of the picture carries Nomad's ModifyIndex: news with a
// smaller index than the known one is dropped, whatever way it came.
//
// # How the picture is kept
//
//	Watch ─┬─ listen    for each namespace of these jobs:
//	       │  ├─ stream  list → event stream from that index on, read raw
//	       │  └─ relist  list again every 30 s, and every 5 s whether there is a
//	       │             leader; while the stream is down, blocking lists instead
//	       ├─ learn     who changed a job
//	       ├─ explain   for groups that miss allocations: why, in a sentence
//	       ├─ log       the last lines of tasks that failed
//	       └─ dispatch  calls changed, one at a time
//
// A refused event stream answers 200 and then nothing; only the heartbeat
// lines prove that it lives. A stream without a first line within 2 s, or
// silent for 45 s, is cut and opened again, with jittered backoff. Nomad does
// not say what its buffer no longer had, so each new stream begins with a list;
// and garbage collection, which sends no event, is seen by the periodic list.
// After that an allocation that is unknown and no newer than the list is one that
// Nomad has forgotten: a server that returns tells its old events again.
//
// A heartbeat does not say that there is a leader. The picture is as young as
// the last read that a leader answered; at rest that is 5 s at most. What a
// server without one still knows adds to the picture, takes nothing away, and
// does not make it younger. A list whose index is lower than that of one before is
// held to be of the past until all lists have agreed for 2 s; then Nomad's state
// was restored, and the picture is made anew, whatever indexes it has.
//
// Namespaces are listened to one by one, up to eight: a token that has its rights
// in each of them is refused the stream of all, and lists of all leave out what it
// may not see, as if that were purged. A refused one takes nothing from the others.
// With more there is one listener for all, and the token needs its rights in
// namespace "*". A job that nobody asks about for an hour is forgotten, and a
// namespace with its last job.
//
// At rest that is 16 calls a minute and one stream for each namespace, however many
// jobs there are, and 6 more while some allocation cannot be placed. Statistics of a node are
// asked for by GPUs only, at most once a second and node.
//
// Without Watch every Observe asks Nomad.
//
// # How a count is changed
//
// Through /v1/job/:id/scale, with the reason as message, at most one call in
// flight per job, compared and set on the job's JobModifyIndex. The same count
// again is no call, because each call makes a job version and Nomad keeps six. A
// call whose answer was lost is looked up before another is made; a job that has
// another version by then is not scaled, whoever made that: jobs.ErrChanged.
//
// # Who changed a job
//
// Each scale of ours carries, as meta "pilotlight", the version of the job that
// it makes: known before it is sent, because it is compared and set. A version
// without such a mark is somebody else's: a scale if a scaling event was written
// right after it, else a deploy. So a process that starts now knows it too. What
// was done to a job before Pilotlight left its first mark is nobody's change. A
// new version is shown only once it is known whose it is; of our own nobody has
// to be asked.
//
// # How it fails
//
// Each call has a deadline of its own (reads 7 s, writes 10 s, blocking
// queries their wait and 7 s), on top of the caller's. Failed reads and scales
// are retried for 15 s, then returned with what Nomad said last; what is denied is
// returned at once, with the capability that is missing. Errors are in words that
// callers may see: no addresses, no errors of Go. Why a namespace is not heard is in
// Observation.Silence. A job that is stopped,
// purged, of the wrong type or without the group is an error that says so, and
// nothing is done about it but by Revive: those are an operator's decisions.
// Whether a job was purged or never existed is known by who remembers it there:
// the caller of Ensure, or this process.
package nomad
