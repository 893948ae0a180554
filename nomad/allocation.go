package nomad

import (
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// portLabel of the port that serves.
const portLabel = "http"

// toAllocation translates what a list or an event says of an allocation. task
// is the name of the task that serves, "" if not known.
func toAllocation(stub *api.AllocationListStub, task string) jobs.Allocation {
	a := jobs.Allocation{
		ID:      stub.ID,
		Ref:     jobs.Ref{Namespace: stub.Namespace, Job: stub.JobID, Group: stub.TaskGroup},
		Index:   nameIndex(stub.Name),
		Node:    stub.NodeName,
		Address: address(stub.AllocatedResources),
		Desired: stub.DesiredStatus,
		Client:  stub.ClientStatus,
		Created: unixNano(stub.CreateTime),
	}
	if a.Node == "" {
		a.Node = stub.NodeID
	}
	if a.Desired != jobs.DesiredRun {
		a.Desired = jobs.DesiredStop // "evict" too
	}
	state := mainState(stub.TaskStates, task)
	if state != nil {
		a.Restarts = int(state.Restarts)
		a.Started = state.StartedAt
		for _, e := range state.Events {
			switch e.Type {
			case api.TaskReceived:
				a.Received = first(a.Received, unixNano(e.Time))
			case api.TaskSetup, api.TaskDownloadingArtifacts, api.TaskDriverMessage:
				a.Pulling = first(a.Pulling, unixNano(e.Time))
			case api.TaskStarted:
				if state.StartedAt.IsZero() {
					a.Started = unixNano(e.Time)
				}
			}
		}
	}
	if a.Terminal() {
		a.Finished = unixNano(stub.ModifyTime)
		if state != nil && !state.FinishedAt.IsZero() {
			a.Finished = state.FinishedAt
		}
	}
	a.Failure = lastWords(stub, state)
	return a
}

// carryOver keeps what the new picture of an allocation has lost: Nomad keeps
// the last ten events of a task only, and what the scheduler writes comes
// without any.
func carryOver(old, now jobs.Allocation) jobs.Allocation {
	now.Received = first(old.Received, now.Received)
	now.Pulling = first(old.Pulling, now.Pulling)
	if now.Started.IsZero() {
		now.Started = old.Started
	}
	if now.Address == "" {
		now.Address = old.Address
	}
	if now.Failure == "" {
		now.Failure = old.Failure
	}
	now.Restarts = max(now.Restarts, old.Restarts)
	return now
}

// first returns a, or b if a is not known yet.
func first(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return a
}

// mainState finds the state of the serving task; without its name that of the
// only task, because prestart tasks have states of their own.
func mainState(states map[string]*api.TaskState, task string) *api.TaskState {
	if s, ok := states[task]; ok {
		return s
	}
	if len(states) != 1 {
		return nil
	}
	for _, s := range states {
		return s
	}
	return nil
}

// address returns host:port of the port labelled "http", else of the first one,
// as seen from outside the node's network namespaces.
func address(r *api.AllocatedResources) string {
	if r == nil {
		return ""
	}
	var fallback string
	take := func(label, ip string, port int) (string, bool) {
		if ip == "" || port == 0 {
			return "", false
		}
		hostPort := net.JoinHostPort(ip, strconv.Itoa(port))
		if fallback == "" {
			fallback = hostPort
		}
		return hostPort, label == portLabel
	}
	for _, p := range r.Shared.Ports {
		if hp, ok := take(p.Label, p.HostIP, p.Value); ok {
			return hp
		}
	}
	networks := r.Shared.Networks
	for _, t := range r.Tasks {
		if t != nil {
			networks = append(networks[:len(networks):len(networks)], t.Networks...)
		}
	}
	for _, n := range networks {
		if n == nil {
			continue
		}
		for _, ports := range [][]api.Port{n.DynamicPorts, n.ReservedPorts} {
			for _, p := range ports {
				if hp, ok := take(p.Label, n.IP, p.Value); ok {
					return hp
				}
			}
		}
	}
	return fallback
}

// nameIndex parses N of job.group[N]; -1 if the name has none.
func nameIndex(name string) int {
	open := strings.LastIndexByte(name, '[')
	if open < 0 || !strings.HasSuffix(name, "]") {
		return -1
	}
	n, err := strconv.Atoi(name[open+1 : len(name)-1])
	if err != nil {
		return -1
	}
	return n
}

func unixNano(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
