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
// does not fit on the nodes' devices leaves a blocked evaluation that places when
// a device is free again, which is when its client reports the end. Clients
// report in batches. Blocking queries, the event stream's framing, heartbeats,
// inclusive index and bounded buffer, and the texts of errors are as recorded.
// Jobs without update { max_parallel = 0 } open a deployment at each scale that
// leaves an allocation, and it refuses the next one while it is active.
//
// # What is not
//
// There is no ACL, one region, no raft, and no statistics. Job files are read by
// jobs/spec and so as far as that goes. Memory and CPU never run out. The tasks
// of the raw_exec and exec drivers are real processes of this machine; tasks of
// any other driver are pretended and run until they are told to stop (Crash ends
// them too).
//
// # Life
//
// New starts nothing. Run owns the scheduler, the clients and all processes, and
// ends them with its context; without it evaluations stay pending.
package nomaddouble
