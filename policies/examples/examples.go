// Package examples holds the policies that Pilotlight ships, as text: what dev
// serves when it is given none, and what new policies are copied from.
//
// Some are alternatives: translate.hcl, translate-stub.hcl and the
// translategemma ones all route /translate, so only one of them can be in force.
// Each runs a job of its own, whose spec is in jobs/specs.
package examples

import "embed"

// FS holds the example policies, *.hcl.
//
//go:embed *.hcl
var FS embed.FS
