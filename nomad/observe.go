package nomad

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// Observe returns the present picture of one group. While Watch runs it answers
// from memory, except for the first question about a job; Observation.At then
// says when Nomad was last heard, up to 30 s ago while nothing happens.
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
	var (
		stubs []*api.AllocationListStub
		meta  *api.QueryMeta
	)
	err := read(ctx, key.namespace, func(q *api.QueryOptions) (err error) {
		q.Filter = jobFilter("JobID", []jobKey{key})
		q.Params = map[string]string{"resources": "true"}
		stubs, meta, err = f.client.Allocations().List(q)
		return err
	})
	if err != nil {
		return fmt.Errorf("list allocations of %s: %w", key, err)
	}
	f.pic.hear(time.Now())
	f.pic.applyList([]jobKey{key}, stubs, meta.LastIndex)
	return f.explain(ctx, key, f.readCluster(ctx))
}
