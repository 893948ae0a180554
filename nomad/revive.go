package nomad

import (
	"context"
	"fmt"

	"github.com/pilotlight/pilotlight/jobs"
)

// Revive is not built yet.
func (f *Fleet) Revive(context.Context, *jobs.Spec, jobs.Ref, string) error {
	return fmt.Errorf("revive: not supported yet")
}
