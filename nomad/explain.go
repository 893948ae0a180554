package nomad

import (
	"context"
	"fmt"

	"github.com/hashicorp/nomad/api"
)

// explain finds out why groups of the job miss allocations, if some do. An
// evaluation in status blocked waits for room and carries, per group, what was
// in the way.
func (f *Fleet) explain(ctx context.Context, key jobKey) error {
	short, blocked := f.pic.shortGroups(key)
	if len(short) == 0 {
		if blocked {
			f.pic.setBlocked(key, map[string]string{})
		}
		return nil
	}
	var evals []*api.Evaluation
	err := read(ctx, key.namespace, func(q *api.QueryOptions) (err error) {
		evals, _, err = f.client.Jobs().Evaluations(key.id, q)
		return err
	})
	if err != nil {
		return fmt.Errorf("read evaluations: %w", err)
	}
	failed := stillBlocked(evals)
	info, _, _, _ := f.pic.job(key)
	reasons := make(map[string]string, len(short))
	var room *capacity
	for _, name := range short {
		metric, ok := failed[name]
		if !ok {
			continue
		}
		asks := info.groups[name].devices
		if len(asks) > 0 && room == nil {
			// Without it the evaluation's own figures have to do.
			room, err = f.readCapacity(ctx, info)
		}
		reasons[name] = noRoom(metric, asks, room)
	}
	f.pic.setBlocked(key, reasons)
	if err != nil {
		return fmt.Errorf("read capacity: %w", err)
	}
	return nil
}

// stillBlocked returns what is in the way of each group, from the newest
// evaluation that waits for room.
func stillBlocked(evals []*api.Evaluation) map[string]*api.AllocationMetric {
	failed := make(map[string]*api.AllocationMetric)
	newest := make(map[string]uint64)
	for _, e := range evals {
		if e.Status != api.EvalStatusBlocked {
			continue
		}
		for group, metric := range e.FailedTGAllocs {
			if metric != nil && e.ModifyIndex >= newest[group] {
				failed[group], newest[group] = metric, e.ModifyIndex
			}
		}
	}
	return failed
}

// readCapacity counts the devices of the nodes that the job may use.
func (f *Fleet) readCapacity(ctx context.Context, info jobInfo) (*capacity, error) {
	var nodes []*api.NodeListStub
	err := read(ctx, "", func(q *api.QueryOptions) (err error) {
		q.Params = map[string]string{"resources": "true"}
		nodes, _, err = f.client.Nodes().List(q)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	var allocs []*api.AllocationListStub
	err = read(ctx, api.AllNamespacesNamespace, func(q *api.QueryOptions) (err error) {
		q.Params = map[string]string{"resources": "true"}
		q.Filter = `ClientStatus == "pending" or ClientStatus == "running" or ClientStatus == "unknown"`
		allocs, _, err = f.client.Allocations().List(q)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list allocations: %w", err)
	}
	return newCapacity(info, nodes, allocs), nil
}
