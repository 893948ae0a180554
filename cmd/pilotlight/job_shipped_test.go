package main

import (
	"path/filepath"
	"testing"

	"github.com/pilotlight/pilotlight/jobs/spec"
)

// A policy for them would take Pilotlight's own house from under it.
func TestWhatIsNotToBeScaledIsNotOffered(t *testing.T) {
	found, err := loadSpecs("../../jobs/specs")
	if err != nil {
		t.Fatal(err)
	}
	for job, offered := range map[string]bool{"stub": true, "translategemma-4b": true, "redis": false, "pilotlight": false} {
		if _, ok := found.find(job); ok != offered {
			t.Errorf("job %s is offered: %t, want %t", job, ok, offered)
		}
	}
}

// The job specs and policies that are shipped for each other, as CI would check
// them on clients that grant what the specs ask for.
func TestShippedSpecsAndPoliciesPassJobCheck(t *testing.T) {
	files, err := filepath.Glob("../../jobs/specs/*.nomad.hcl")
	if err != nil || len(files) < 5 {
		t.Fatalf("specs are %v (%v)", files, err)
	}
	examples, err := filepath.Glob("../../policies/examples/*.hcl")
	if err != nil || len(examples) < 5 {
		t.Fatalf("policies are %v (%v)", examples, err)
	}
	for _, policy := range examples {
		for _, f := range checked(t, append(files, "--policies", policy, "--max-kill-timeout", "11m")...) {
			if f.Rule != spec.RuleNotJudged { // Redis' password, Pilotlight's Redis
				t.Errorf("%s: %+v", policy, f)
			}
		}
	}
}
