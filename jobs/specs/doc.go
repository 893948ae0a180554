// Package specs holds the job specs that Pilotlight ships: files that a real
// Nomad takes as they are, that `pilotlight dev` runs without Nomad, and that
// are written to be copied. Each is clean under `pilotlight job check` with its
// policy in policies/examples.
//
// redis and pilotlight are the house itself: jobs that Pilotlight does not scale,
// and says so in their meta. pilotlight-policy.hcl is what Pilotlight's token may
// do in Nomad.
package specs

import "embed"

// Policy is pilotlight-policy.hcl, the least ACL policy that suffices.
//
//go:embed pilotlight-policy.hcl
var Policy string

// FS holds NAME.nomad.hcl for each shipped job, named after the job's id.
//
//go:embed *.nomad.hcl
var FS embed.FS
