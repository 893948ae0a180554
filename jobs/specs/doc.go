// Package specs holds the job specs that Pilotlight ships: files that a real
// Nomad takes as they are, that `pilotlight dev` runs without Nomad, and that
// are written to be copied.
package specs

import "embed"

// FS holds NAME.nomad.hcl for each shipped job, named after the job's id.
//
//go:embed *.nomad.hcl
var FS embed.FS
