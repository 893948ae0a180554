package nomad

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// portLabel of the port that serves.
const portLabel = "http"

// toAllocation translates what a list or an event says of an allocation of the
// group.
func toAllocation(stub *api.AllocationListStub, group groupInfo) jobs.Allocation {
	a := jobs.Allocation{
		ID:      stub.ID,
		Ref:     jobs.Ref{Namespace: stub.Namespace, Job: stub.JobID, Group: stub.TaskGroup},
		Index:   nameIndex(stub.Name),
		Node:    cmp.Or(stub.NodeName, stub.NodeID),
		NodeID:  stub.NodeID,
		Address: address(stub.AllocatedResources),
		Desired: stub.DesiredStatus,
		Client:  stub.ClientStatus,
		Created: unixNano(stub.CreateTime),
		Version: stub.JobVersion,
		Devices: deviceIDs(stub.AllocatedResources),
	}
	if a.Desired != jobs.DesiredRun {
		a.Desired = jobs.DesiredStop // "evict", by a preemption, too
	}
	readPhases(&a, stub.TaskStates, group)
	if a.Terminal() && a.Finished.IsZero() {
		a.Finished = unixNano(stub.ModifyTime)
	}
	return a
}

// deviceIDs returns the ids of the GPUs and other devices of all tasks, sorted.
func deviceIDs(r *api.AllocatedResources) []string {
	if r == nil {
		return nil
	}
	var ids []string
	for _, t := range r.Tasks {
		if t == nil {
			continue
		}
		for _, d := range t.Devices {
			ids = append(ids, d.DeviceIDs...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
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
