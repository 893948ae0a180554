// Package examples holds the policies that Pilotlight ships, as text: what dev
// serves when it is given none, and what new policies are copied from.
//
// They are alternatives: translate.hcl and translategemma-27b.hcl both route
// /translate, so only one of them can be in force.
package examples

import "embed"

// FS holds the example policies, *.hcl.
//
//go:embed *.hcl
var FS embed.FS
