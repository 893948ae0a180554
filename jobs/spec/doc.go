// Package spec reads Nomad job specs, the HCL files that Nomad itself reads,
// as far as Pilotlight needs to know them: for `job check` in CI and for the
// local fleet. It never talks to Nomad.
//
// Parse evaluates variables with defaults, locals and Nomad's functions. What
// only the node can know (${NOMAD_PORT_http}, ${attr.…}, ${meta.…},
// ${env["…"]}) is kept as ${…} text, as Nomad keeps it, for jobs.Interpolate.
// What cannot be evaluated from the file alone (a variable without default, an
// unknown function, dynamic blocks, rendered templates) is a warning with rule
// "not-judged" and nothing else: the value keeps Nomad's default, the rest of
// the file is still read, and no rule is applied to what it could have said.
//
// Values for variables can be given besides the file (ParseWith); the spec keeps
// them as the text that Nomad's own parser takes.
//
// Check judges one spec by what Pilotlight asks of a job that it scales. A job
// with meta { pilotlight = "not-scaled" } is none; of that only how its tasks end
// is judged. The demands that depend on a policy as well are policies.Fit's. Refine gives the
// findings of either their exact place in the file.
//
// A place in a spec is written as the names of its blocks and their labels,
// joined by dots, without the job itself: group.server.task.model.kill_timeout.
// The names of rules are stable; CI configurations depend on them.
//
// The parser is bounded (bounds.go): no input makes it panic, overflow the
// stack, or grow without limit.
package spec
