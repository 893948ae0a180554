package nomad

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/nomad/api"
)

const (
	explainEvery = 30 * time.Second       // while a group misses allocations and nothing changes
	explainGap   = 250 * time.Millisecond // least time between two looks
)

// explainLoop keeps the sentences current that say why allocations are missing.
// It looks when something has changed that may have changed the reason, and
// otherwise rarely: Nomad itself places what waits as soon as there is room.
func (f *Fleet) explainLoop(ctx context.Context) {
	var told sayings
	for {
		again := time.NewTimer(explainEvery)
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-f.doubt:
		case <-again.C:
		}
		again.Stop()
		if err := f.explain(ctx); err == nil {
			told.over()
		} else if ctx.Err() == nil && told.isNew(err) {
			f.log.WarnContext(ctx, "cannot tell why allocations are missing", "err", err)
		}
		sleep(ctx, explainGap)
	}
}

// explain finds out why groups miss allocations, if some do: at most three
// calls for each scope, however many there are. An evaluation in status blocked waits for room
// and carries, per group, what was in the way.
func (f *Fleet) explain(ctx context.Context) error {
	if !f.pic.wanting() {
		return nil
	}
	var errs []error
	for _, scope := range f.pic.scopes() {
		errs = append(errs, f.explainIn(ctx, scope))
	}
	return errors.Join(errs...)
}

func (f *Fleet) explainIn(ctx context.Context, scope string) error {
	wants := slices.DeleteFunc(f.pic.wants(), func(w want) bool { return !covers(scope, w.key.namespace) })
	if len(wants) == 0 {
		return nil
	}
	evals, m, err := get[[]*api.Evaluation](ctx, f, "/v1/evaluations",
		api.QueryOptions{Namespace: scope, Filter: `Status == "blocked"`}, readTimeout)
	if err != nil {
		return fmt.Errorf("list blocked evaluations: %w", denied(err, "read-job", scope))
	}
	if !m.fresh {
		return errStale
	}
	blocked := newestBlocked(evals)
	var (
		cluster *cluster
		failed  error // without the nodes the evaluation's own figures have to do
	)
	for _, w := range wants {
		reasons := make(map[string]string)
		for _, group := range w.short {
			b, ok := blocked[groupKey{w.key, group}]
			if !ok {
				b, ok = blocked[groupKey{job: w.key}] // it names no group
			}
			if !ok {
				continue
			}
			if cluster == nil && failed == nil {
				cluster, failed = f.readCluster(ctx)
			}
			reasons[group] = b.reason(w.key, w.info, group, cluster)
		}
		f.pic.setBlocked(w.key, reasons)
	}
	return failed
}

// groupKey names a group of a job; without a group it is the job.
type groupKey struct {
	job   jobKey
	group string
}

// blockage is what is in the way of a group.
type blockage struct {
	metric      *api.AllocationMetric // nil if the evaluation names none
	description string                // of the evaluation
	index       uint64
}

// newestBlocked returns what is in the way of each group, from the newest
// evaluation that waits for room.
func newestBlocked(evals []*api.Evaluation) map[groupKey]blockage {
	newest := make(map[groupKey]blockage)
	note := func(k groupKey, b blockage) {
		if old, had := newest[k]; !had || b.index >= old.index {
			newest[k] = b
		}
	}
	for _, e := range evals {
		if e.Status != api.EvalStatusBlocked {
			continue
		}
		job := jobKey{e.Namespace, e.JobID}
		for group, metric := range e.FailedTGAllocs {
			if metric != nil {
				note(groupKey{job, group}, blockage{metric, e.StatusDescription, e.ModifyIndex})
			}
		}
		if len(e.FailedTGAllocs) == 0 {
			note(groupKey{job: job}, blockage{nil, e.StatusDescription, e.ModifyIndex})
		}
	}
	return newest
}

// want is a job that misses allocations, or did when last looked at.
type want struct {
	key   jobKey
	info  jobInfo
	short []string // groups with fewer allocations than their count
}

// wants returns the jobs of which it has to be said, or said no longer, why they
// miss allocations.
func (p *picture) wants() []want {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []want
	for key, j := range p.jobs {
		if !j.present {
			continue
		}
		w := want{key: key, info: j.info}
		for name := range j.info.groups {
			if j.short(name) {
				w.short = append(w.short, name)
			}
		}
		if len(w.short) > 0 || len(j.blocked) > 0 {
			all = append(all, w)
		}
	}
	return all
}

// wanting reports whether a job misses allocations, and forgets the reasons of
// those that do not any more.
func (p *picture) wanting() bool {
	short := false
	for _, w := range p.wants() {
		if len(w.short) == 0 {
			p.setBlocked(w.key, nil)
			continue
		}
		short = true
	}
	return short
}

// setBlocked takes in why groups of a job cannot be placed; a group that is not
// in it can.
func (p *picture) setBlocked(key jobKey, blocked map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	if j == nil || maps.Equal(j.blocked, blocked) {
		return
	}
	j.blocked = blocked
	p.changed(j)
}

// blockedJob reports whether a job is said to be without room.
func (p *picture) blockedJob(key jobKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	return j != nil && len(j.blocked) > 0
}

// readCluster reads what room there is on all nodes; nil without the right to
// read them, which listDraining says.
func (f *Fleet) readCluster(ctx context.Context) (*cluster, error) {
	if f.blind.Load() {
		return nil, nil
	}
	resources := map[string]string{"resources": "true"}
	nodes, _, err := get[[]*api.NodeListStub](ctx, f, "/v1/nodes", api.QueryOptions{Params: resources}, readTimeout)
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	// Of all namespaces: others' allocations take room too.
	allocs, _, err := get[[]*api.AllocationListStub](ctx, f, "/v1/allocations", api.QueryOptions{
		Namespace: api.AllNamespacesNamespace,
		Params:    resources,
		Filter:    `ClientStatus == "pending" or ClientStatus == "running" or ClientStatus == "unknown"`,
	}, readTimeout)
	if err != nil {
		return nil, fmt.Errorf("list allocations of all namespaces: %w", err)
	}
	return newCluster(nodes, allocs), nil
}
