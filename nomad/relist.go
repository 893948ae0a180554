package nomad

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/hashicorp/nomad/api"
)

// maxFilter is the length up to which a list is filtered by job by Nomad; with
// more jobs than fit it lists all, and the picture picks its own.
const maxFilter = 4096

// relist reads all tracked jobs of a scope, their allocations and the nodes that
// are being drained into the picture, and returns the index of the allocations' table.
// With after > 0 it waits up to blockingWait for a higher one first. Answers that
// may be of the past add to the picture and are then an error.
func (f *Fleet) relist(ctx context.Context, scope string, after uint64) (uint64, error) {
	return f.relistBy(ctx, scope, after, false)
}

// relistStale learns what a server without a leader still knows.
func (f *Fleet) relistStale(ctx context.Context, scope string) error {
	_, err := f.relistBy(ctx, scope, 0, true)
	return err
}

func (f *Fleet) relistBy(ctx context.Context, scope string, after uint64, stale bool) (uint64, error) {
	keys, floor := f.pic.keysIn(scope), f.pic.highest()
	allocs, am, err := f.listAllocations(ctx, scope, keys, after, stale)
	if err != nil {
		return 0, err
	}
	jobStubs, jm, err := f.listJobs(ctx, scope, keys, stale)
	if err != nil {
		return 0, err
	}
	complete := am.fresh && jm.fresh
	var back bool
	if complete {
		var believed bool
		if back, believed = f.pic.judge(tables{am.index, jm.index}, floor, am.at); believed {
			f.log.WarnContext(ctx, "nomad's index went back: its state was restored, or it is another cluster; everything is read anew",
				"from", floor.allocs, "to", am.index)
			back = false
		}
		complete = !back
	}
	// Jobs before allocations: they say which task of an allocation serves.
	if err := f.readJobs(ctx, keys, jobStubs, jm.index, complete); err != nil {
		return 0, err
	}
	if err := f.relistDeployments(ctx, scope, keys); err != nil && complete {
		return 0, err
	}
	f.pic.applyList(keys, allocs, am.index, complete)
	if err := f.listDraining(ctx, stale); err != nil {
		return 0, err
	}
	if f.pic.wanting() {
		signal(f.doubt)
	}
	switch {
	case back:
		return 0, errBack
	case !complete:
		return am.index, errStale
	}
	f.pic.hear(scope, am)
	return am.index, nil
}

func (f *Fleet) listAllocations(ctx context.Context, scope string, keys []jobKey, after uint64, stale bool) ([]*api.AllocationListStub, meta, error) {
	timeout := readTimeout
	q := api.QueryOptions{
		Namespace:  scope,
		AllowStale: stale,
		Filter:     jobFilter("JobID", keys),
		Params:     map[string]string{"resources": "true"},
	}
	if after > 0 {
		q.WaitIndex, q.WaitTime = after, blockingWait
		timeout += blockingWait + blockingWait/16
	}
	stubs, m, err := get[[]*api.AllocationListStub](ctx, f, "/v1/allocations", q, timeout)
	if err != nil {
		return nil, m, fmt.Errorf("list allocations: %w", denied(err, "read-job", scope))
	}
	return stubs, m, nil
}

func (f *Fleet) listJobs(ctx context.Context, scope string, keys []jobKey, stale bool) ([]*api.JobListStub, meta, error) {
	q := api.QueryOptions{Namespace: scope, AllowStale: stale, Filter: jobFilter("ID", keys)}
	stubs, m, err := get[[]*api.JobListStub](ctx, f, "/v1/jobs", q, readTimeout)
	if err != nil {
		return nil, m, fmt.Errorf("list jobs: %w", denied(err, "list-jobs", scope))
	}
	return stubs, m, nil
}

// readJobs reads the jobs that changed, because a job's count is not in the
// list. Those that a complete list as of index does not have are gone.
func (f *Fleet) readJobs(ctx context.Context, keys []jobKey, stubs []*api.JobListStub, index uint64, complete bool) error {
	listed := make(map[jobKey]*api.JobListStub, len(stubs))
	for _, s := range stubs {
		listed[jobKey{s.Namespace, s.ID}] = s
	}
	for _, key := range keys {
		stub, there := listed[key]
		if !there {
			if complete {
				f.pic.applyAbsent(key, index)
			}
			continue
		}
		info, present, _, _ := f.pic.job(key)
		if present && info.modifyIndex == stub.JobModifyIndex && info.stopped == stub.Stop {
			continue
		}
		if !complete {
			if err := f.readStaleJob(ctx, key); err != nil {
				return err
			}
			continue
		}
		if present && info.index > 0 { // else its index went back
			f.learnOf(key, info.version+1) // it may take a moment to find out who changed it
			continue
		}
		if err := f.readJob(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// readStaleJob reads a job from a server that may not hear a leader.
func (f *Fleet) readStaleJob(ctx context.Context, key jobKey) error {
	job, _, err := get[*api.Job](ctx, f, "/v1/job/"+url.PathEscape(key.id),
		api.QueryOptions{Namespace: key.namespace, AllowStale: true}, readTimeout)
	switch {
	case notFound(err):
		return nil // nothing is gone because such a server does not have it
	case err != nil:
		return fmt.Errorf("read job %s: %w", key, denied(err, "read-job", key.namespace))
	}
	if job != nil {
		f.pic.applyJob(key, toJobInfo(job))
	}
	return nil
}

// jobFilter is the expression that keeps what belongs to the jobs; it matches
// nothing for none, and is "" if it would be too long.
func jobFilter(field string, keys []jobKey) string {
	if len(keys) == 0 {
		return field + ` == ""`
	}
	var b strings.Builder
	for i, k := range keys {
		if i > 0 {
			b.WriteString(" or ")
		}
		b.WriteString(field + " == " + strconv.Quote(k.id))
		if b.Len() > maxFilter {
			return ""
		}
	}
	return b.String()
}
