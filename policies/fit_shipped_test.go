package policies_test

import (
	"io/fs"
	"testing"

	"github.com/pilotlight/pilotlight/jobs/spec"
	"github.com/pilotlight/pilotlight/jobs/specs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/policies/examples"
)

// The example policies and the job specs that they name are shipped together.
func TestShippedPoliciesFitTheirShippedSpecs(t *testing.T) {
	names, err := fs.Glob(examples.FS, "*.hcl")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(examples.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := policies.Parse(name, text)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parsed {
			src, err := fs.ReadFile(specs.FS, p.Job+".nomad.hcl")
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			s, findings := spec.Parse(p.Job+".nomad.hcl", src)
			for _, f := range append(findings, spec.Refine(s, policies.Fit(p, s))...) {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
}
