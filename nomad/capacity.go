package nomad

import (
	"slices"
	"strings"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// cluster is what room there is, node by node. What an allocation holds is taken
// until its client reports its end, whatever was asked of it.
type cluster struct {
	nodes []nodeRoom
}

type nodeRoom struct {
	*api.NodeListStub
	total, taken footprint
	devices      []deviceRoom
}

// deviceRoom is one group of devices of a node.
type deviceRoom struct {
	vendor, kind, name string
	healthy, free      int
	freeing            map[jobKey]int // taken by allocations that stop, by their job
}

func newCluster(nodes []*api.NodeListStub, allocs []*api.AllocationListStub) *cluster {
	nodes, allocs = wholeNodes(nodes), wholeAllocations(allocs)
	type instance struct{ node, id string }
	holders := make(map[instance]*api.AllocationListStub)
	taken := make(map[string]footprint)
	for _, a := range allocs {
		if a.AllocatedResources == nil {
			continue
		}
		for _, t := range a.AllocatedResources.Tasks {
			if t == nil {
				continue
			}
			taken[a.NodeID] = taken[a.NodeID].plus(footprint{t.Cpu.CpuShares, t.Memory.MemoryMB})
			for _, d := range t.Devices {
				for _, id := range d.DeviceIDs {
					holders[instance{a.NodeID, id}] = a
				}
			}
		}
	}
	c := new(cluster)
	for _, n := range nodes {
		room := nodeRoom{NodeListStub: n, taken: taken[n.ID]}
		if r := n.NodeResources; r != nil {
			room.total = footprint{r.Cpu.CpuShares, r.Memory.MemoryMB}
			for _, d := range r.Devices {
				dr := deviceRoom{vendor: d.Vendor, kind: d.Type, name: d.Name, freeing: make(map[jobKey]int)}
				for _, i := range d.Instances {
					if !i.Healthy {
						continue
					}
					dr.healthy++
					switch holder := holders[instance{n.ID, i.ID}]; {
					case holder == nil:
						dr.free++
					case holder.DesiredStatus != jobs.DesiredRun:
						dr.freeing[jobKey{holder.Namespace, holder.JobID}]++
					}
				}
				room.devices = append(room.devices, dr)
			}
		}
		if r := n.ReservedResources; r != nil {
			room.total.cpuMHz -= int64(r.Cpu.CpuShares)
			room.total.memoryMiB -= int64(r.Memory.MemoryMB)
		}
		c.nodes = append(c.nodes, room)
	}
	return c
}

// usable returns the nodes that may take allocations of the job.
func (c *cluster) usable(info jobInfo) []nodeRoom {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n nodeRoom) bool {
		return n.state() != "" || !info.mayUse(n.NodeListStub)
	})
}

// state says why the node takes no allocations, "" if it does.
func (n nodeRoom) state() string {
	switch {
	case n.Status != api.NodeStatusReady:
		return n.Status
	case n.Drain:
		return "being drained"
	case n.SchedulingEligibility == api.NodeSchedulingIneligible:
		return "ineligible"
	}
	return ""
}

func (n nodeRoom) free() footprint {
	return footprint{n.total.cpuMHz - n.taken.cpuMHz, n.total.memoryMiB - n.taken.memoryMiB}
}

// missingDriver returns a task driver that the group needs and the node has not,
// or has unhealthy; "" if it has all, or does not say.
func (n nodeRoom) missingDriver(g groupInfo) string {
	if len(n.Drivers) == 0 {
		return ""
	}
	for _, t := range g.tasks {
		if d := n.Drivers[t.driver]; d == nil || !d.Detected || !d.Healthy {
			return t.driver
		}
	}
	return ""
}

// matches reports whether the devices answer to an ask of the form type,
// vendor/type or vendor/type/name.
func (d deviceRoom) matches(ask string) bool {
	parts := strings.SplitN(ask, "/", 3)
	switch len(parts) {
	case 1:
		return d.kind == parts[0]
	case 2:
		return d.vendor == parts[0] && d.kind == parts[1]
	}
	return d.vendor == parts[0] && d.kind == parts[1] && d.name == parts[2]
}
