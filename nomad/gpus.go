package nomad

import (
	"context"
	"fmt"

	"github.com/pilotlight/pilotlight/jobs"
)

// GPUs is not built yet.
func (f *Fleet) GPUs(context.Context, jobs.Ref) (map[string]jobs.GPU, error) {
	return nil, fmt.Errorf("GPU statistics: not supported yet")
}
