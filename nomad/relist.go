package nomad

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"
)

// maxFilter is the length up to which a list is filtered by job by Nomad; with
// more jobs than fit it lists all, and the picture picks its own.
const maxFilter = 4096

// relist reads all tracked jobs and their allocations into the picture and
// returns the index of the allocations' table. With after > 0 it waits up to
// blockingWait for a higher one first.
func (f *Fleet) relist(ctx context.Context, after uint64) (uint64, error) {
	keys := f.pic.keys()
	stubs, index, err := f.listAllocations(ctx, keys, after)
	if err != nil {
		return 0, err
	}
	// Jobs before allocations: they say which task of an allocation serves.
	if err := f.relistJobs(ctx, keys); err != nil {
		return 0, err
	}
	if err := f.relistDeployments(ctx, keys); err != nil {
		return 0, err
	}
	f.pic.hear(time.Now())
	f.pic.applyList(keys, stubs, index)
	for _, key := range keys {
		if short, blocked := f.pic.shortGroups(key); len(short) > 0 || blocked {
			signal(f.doubt)
		}
	}
	return index, nil
}

func (f *Fleet) listAllocations(ctx context.Context, keys []jobKey, after uint64) (stubs []*api.AllocationListStub, index uint64, err error) {
	timeout := readTimeout
	q := &api.QueryOptions{
		Namespace: f.pic.scope(),
		Filter:    jobFilter("JobID", keys),
		Params:    map[string]string{"resources": "true"},
	}
	if after > 0 {
		q.WaitIndex, q.WaitTime = after, blockingWait
		timeout += blockingWait + blockingWait/16
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stubs, meta, err := f.client.Allocations().List(q.WithContext(ctx))
	if err != nil {
		return nil, 0, fmt.Errorf("list allocations: %w", err)
	}
	return stubs, meta.LastIndex, nil
}

// relistJobs finds jobs that changed or went, in one call, and reads only the
// changed ones: a job's count is not in the list.
func (f *Fleet) relistJobs(ctx context.Context, keys []jobKey) error {
	if len(keys) == 0 {
		return nil
	}
	var (
		stubs []*api.JobListStub
		meta  *api.QueryMeta
	)
	err := read(ctx, f.pic.scope(), func(q *api.QueryOptions) (err error) {
		q.Filter = jobFilter("ID", keys)
		stubs, meta, err = f.client.Jobs().List(q)
		return err
	})
	if err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	listed := make(map[jobKey]*api.JobListStub, len(stubs))
	for _, s := range stubs {
		listed[jobKey{s.Namespace, s.ID}] = s
	}
	for _, key := range keys {
		stub, there := listed[key]
		if !there {
			f.pic.applyAbsent(key, meta.LastIndex)
			continue
		}
		info, present, _, _ := f.pic.job(key)
		if present && info.modifyIndex == stub.JobModifyIndex && info.stopped == stub.Stop {
			continue
		}
		if present {
			f.learnOf(key, info.version+1) // it may take a moment to find out who changed it
			continue
		}
		if err := f.readJob(ctx, key); err != nil {
			return err
		}
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
