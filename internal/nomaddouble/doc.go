// Package nomaddouble is an HTTP server that behaves like a Nomad agent for the
// routes that Pilotlight uses, as recorded from a real one. It is for tests: it
// shares no code with Nomad's own client, so that both ends cannot agree on the
// same mistake.
//
// # What is as in Nomad
//
// One raft index for everything, strictly growing, with holes. A scale writes
// the job at i, its evaluation at i+1, the scaling event at i+2 (the answer's
// Index), and a moment later the plan at i+3 and the complete evaluation at i+4.
// Names fill the lowest free indices and stop the highest, blind to health; what
// stays is updated in place, what must change is replaced at its index and
// starts when its predecessor has ended, all at once or, with an update block,
// in a deployment that refuses scales. What does not fit on the nodes leaves a
// blocked evaluation that places when something is free again, which is when a
// client reports the end. Clients report in batches, one entry a node.
//
// Jobs are registered, stopped, purged, planned with their difference and
// reverted; nodes are drained, lost, unknown and back; devices measure, or do
// not, in every way that was seen. Blocking queries, the event stream's framing,
// heartbeats, inclusive index and bounded buffer, and the texts of errors are as
// recorded: testdata holds the recordings, and the tests drive the double
// through their stories.
//
// # What is not
//
// One region, no raft, no Consul or Vault, no system or batch scheduling, no
// canaries, no preemption. Only a group's main task runs; those with a lifecycle
// hook are passed over. Job files are read by jobs/spec, with what it leaves out
// as it stands there. The tasks of the raw_exec and exec drivers are real
// processes of this machine; tasks of any other driver are pretended and run
// until they are told to stop (Crash and Exit end them too; Startup scripts what
// comes before). Of constraints on nodes only equality is judged.
//
// # Faults
//
// Fail, Drop, Hang and AnswerOld befall single requests; Away, LoseLeader,
// GoBack and Limit all of them; CutStreams, TearStreams, MuteStreams,
// DeafenStreams and ReplayStreams the event streams; FailEvaluations, LoseStops
// and CollectGarbage the servers; LoseNode, SetStatistics and Node.Skew a
// client; RevokeToken a caller.
//
// # Life
//
// New starts nothing. Run owns the scheduler, the clients and all processes, and
// ends them with its context; without it evaluations stay pending.
package nomaddouble
