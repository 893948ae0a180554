package specs_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/spec"
	"github.com/pilotlight/pilotlight/jobs/specs"
)

// shipped reads every shipped job spec, by file name.
func shipped(t *testing.T) map[string]*jobs.Spec {
	t.Helper()
	names, err := fs.Glob(specs.FS, "*")
	if err != nil || len(names) == 0 {
		t.Fatalf("shipped are %v (%v)", names, err)
	}
	read := map[string]*jobs.Spec{}
	for _, name := range names {
		src, err := fs.ReadFile(specs.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		s, findings := spec.Parse(name, src)
		for _, f := range findings {
			// Redis' address and password are Nomad variables.
			if f.Rule != spec.RuleNotJudged || !s.Unscaled {
				t.Errorf("%+v", f)
			}
		}
		if s != nil {
			read[name] = s
		}
	}
	return read
}

// Nomad grants no more than 30 s to a task that ends, unless its clients are told
// to; each of these says so in its first lines.
const clientsGrant = "max_kill_timeout"

func TestEveryShippedSpecIsCleanUnderJobCheck(t *testing.T) {
	for name, s := range shipped(t) {
		if s.ID+".nomad.hcl" != name {
			t.Errorf("job %q is in %s", s.ID, name)
		}
		for _, f := range spec.Check(s, "", spec.Clients{}) {
			if f.Rule != spec.RuleKillTimeout || f.Severity != jobs.SeverityWarning {
				t.Errorf("%+v", f)
			} else if !strings.Contains(s.Source, clientsGrant) {
				t.Errorf("%s asks the clients for more than they grant, and does not say so: %+v", name, f)
			}
		}
	}
}

// What serves a model is Pilotlight's to scale; its own house is not.
func TestPilotlightsOwnHouseIsNotScaled(t *testing.T) {
	for name, s := range shipped(t) {
		if own := s.ID == "pilotlight" || s.ID == "redis"; s.Unscaled != own {
			t.Errorf("%s: not to be scaled: %t, want %t", name, s.Unscaled, own)
		}
		if !s.Unscaled && (len(s.Groups) != 1 || s.Groups[0].Count != 0) {
			t.Errorf("%s: want one group of count 0", name)
		}
	}
}
