package nomad

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/nomad/api"
)

// explain finds out why groups of the job miss allocations, if some do. An
// evaluation in status blocked waits for room and carries, per group, what was
// in the way. cluster reads nodes and allocations, once for all jobs of a round.
func (f *Fleet) explain(ctx context.Context, key jobKey, cluster func() (clusterState, error)) error {
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
			var state clusterState
			if state, err = cluster(); err == nil {
				room = newCapacity(info, state.nodes, state.allocs)
			}
		}
		reasons[name] = noRoom(metric, asks, room)
	}
	f.pic.setBlocked(key, reasons)
	if err != nil {
		return fmt.Errorf("read the cluster's devices: %w", err)
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

// clusterState is what devices are counted on.
type clusterState struct {
	nodes  []*api.NodeListStub
	allocs []*api.AllocationListStub // of all namespaces, that may hold devices
}

// readCluster returns a function that reads the cluster's nodes and allocations
// when it is first called.
func (f *Fleet) readCluster(ctx context.Context) func() (clusterState, error) {
	return sync.OnceValues(func() (state clusterState, err error) {
		err = read(ctx, "", func(q *api.QueryOptions) (err error) {
			q.Params = map[string]string{"resources": "true"}
			state.nodes, _, err = f.client.Nodes().List(q)
			return err
		})
		if err != nil {
			return clusterState{}, fmt.Errorf("list nodes: %w", err)
		}
		err = read(ctx, api.AllNamespacesNamespace, func(q *api.QueryOptions) (err error) {
			q.Params = map[string]string{"resources": "true"}
			q.Filter = `ClientStatus == "pending" or ClientStatus == "running" or ClientStatus == "unknown"`
			state.allocs, _, err = f.client.Allocations().List(q)
			return err
		})
		if err != nil {
			return clusterState{}, fmt.Errorf("list allocations: %w", err)
		}
		return state, nil
	})
}
