package nomad

import (
	"context"
	"fmt"

	"github.com/pilotlight/pilotlight/jobs"
)

// Note is not built yet.
func (f *Fleet) Note(context.Context, jobs.Ref, string, map[string]string) error {
	return fmt.Errorf("note: not supported yet")
}
