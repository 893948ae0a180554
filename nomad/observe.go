package nomad

import (
	"context"
	"fmt"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// Observe returns the present picture of one group. While Watch runs it answers
// from memory, except for the first question about a job; Observation.At then
// says when a leader last answered, up to 5 s ago while all is well.
//
// Errors: jobs.ErrUnknownJob, jobs.ErrPurged, jobs.ErrUnknownGroup; what a read said.
func (f *Fleet) Observe(ctx context.Context, ref jobs.Ref) (jobs.Observation, error) {
	key := f.track(ref)
	obs, ok, err := f.pic.observe(key, ref, time.Now())
	if !ok || !f.watching.Load() {
		if err := f.load(ctx, key); err != nil {
			return jobs.Observation{}, fmt.Errorf("observe %s: %w", ref, err)
		}
		obs, _, err = f.pic.observe(key, ref, time.Now())
	}
	if err != nil {
		return jobs.Observation{}, fmt.Errorf("observe %s: %w", ref, err)
	}
	return obs, nil
}

// load reads one job, its allocations, and why some are missing, into the
// picture.
func (f *Fleet) load(ctx context.Context, key jobKey) error {
	if err := f.readJob(ctx, key); err != nil {
		return err
	}
	keys := []jobKey{key}
	if err := f.relistDeployments(ctx, key.namespace, keys); err != nil {
		return err
	}
	stubs, m, err := f.listAllocations(ctx, key.namespace, keys, 0, false)
	if err != nil {
		return err
	}
	f.pic.applyList(keys, stubs, m.index, m.fresh && m.index >= f.pic.highest().allocs)
	f.pic.hear(key.namespace, m)
	if !f.watching.Load() {
		if err := f.listDraining(ctx, false); err != nil {
			return err
		}
		return f.explain(ctx)
	}
	if f.pic.wanting() {
		signal(f.doubt)
	}
	return nil
}
