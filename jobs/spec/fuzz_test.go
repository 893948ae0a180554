package spec

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/specs"
)

// FuzzParse: whatever the file, Parse and Check end without panic, say the same
// twice, and every finding has a place.
func FuzzParse(f *testing.F) {
	names, err := fs.Glob(specs.FS, "*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		src, err := fs.ReadFile(specs.FS, name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	recorded, err := filepath.Glob("testdata/*.hcl")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range recorded {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte(clean))
	f.Add([]byte("job \"x\" {\n  meta {\n    pilotlight = var.x\n  }\n  group \"g\" {\n    disconnect {\n      replace = false\n    }\n    migrate {}\n    ephemeral_disk {\n      migrate = true\n    }\n  }\n}\n"))
	f.Add([]byte(jobWithCount(`try(local.a, [for x in range(3) : x]...)`)))
	f.Add([]byte(jobWithCount(`"${1e308}" + attr.x["y"].z[*] ? -1 : null`)))
	f.Fuzz(func(t *testing.T, src []byte) {
		s, findings := Parse("f.hcl", src)
		again, findingsAgain := Parse("f.hcl", src)
		if diff := cmp.Diff(s, again); diff != "" {
			t.Errorf("two specs of one file:\n%s", diff)
		}
		if diff := cmp.Diff(findings, findingsAgain); diff != "" {
			t.Errorf("two lists of findings on one file:\n%s", diff)
		}
		if s == nil && (len(findings) == 0 || findings[0].Severity != jobs.SeverityError) {
			t.Errorf("no spec and no error: %v", findings)
		}
		for _, found := range append(findings, Check(s, "", Clients{})...) {
			if found.File != "f.hcl" || found.Line < 1 || found.Column < 1 || found.Rule == "" || found.Message == "" {
				t.Errorf("incomplete finding %+v", found)
			}
		}
	})
}
