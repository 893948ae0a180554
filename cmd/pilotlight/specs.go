package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/spec"
	"github.com/pilotlight/pilotlight/jobs/specs"
)

var errNeedListen = errors.New("where to listen? Give --listen, or run it where NOMAD_PORT_http is set")

// jobSpecs by job id.
type jobSpecs map[string]*jobs.Spec

// find is what the scaler asks.
func (s jobSpecs) find(job string) (*jobs.Spec, bool) {
	x, ok := s[job]
	return x, ok
}

// loadSpecs reads the shipped job specs, and those of a folder over them; those
// that say that they are not to be scaled are left out.
func loadSpecs(dir string) (jobSpecs, error) {
	out := jobSpecs{}
	if err := out.readAll(specs.FS, ""); err != nil {
		return nil, err
	}
	if dir == "" {
		return out, nil
	}
	if err := out.readAll(os.DirFS(dir), dir); err != nil {
		return nil, err
	}
	return out, nil
}

func (s jobSpecs) readAll(files fs.FS, dir string) error {
	names, err := fs.Glob(files, "*.nomad.hcl")
	if err != nil {
		return err
	}
	if dir != "" {
		if _, err := fs.Stat(files, "."); err != nil {
			return fmt.Errorf("job specs: %w", err)
		}
	}
	for _, name := range names {
		src, err := fs.ReadFile(files, name)
		if err != nil {
			return fmt.Errorf("job specs: %w", err)
		}
		shown := filepath.Join(dir, name)
		x, findings := spec.Parse(shown, src)
		var wrong []string
		for _, f := range findings {
			if f.Severity == jobs.SeverityError {
				wrong = append(wrong, fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message))
			}
		}
		if len(wrong) > 0 {
			return errors.New(strings.Join(wrong, "\n"))
		}
		if x != nil && !x.Unscaled {
			s[x.ID] = x
		}
	}
	return nil
}
