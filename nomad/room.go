package nomad

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/nomad/api"

	"github.com/pilotlight/pilotlight/jobs"
)

// room counts the GPUs for replicas of a group, as if nothing ran on the nodes.
func (c *cluster) room(info jobInfo, g groupInfo) jobs.Room {
	asks := gpuAsks(g)
	room := jobs.Room{Where: info.where()}
	var names []string
	for _, a := range asks {
		room.PerReplica += a.count
		if !slices.Contains(names, a.name) {
			names = append(names, a.name)
		}
	}
	room.Device = strings.Join(names, " and ")
	if room.PerReplica == 0 {
		return room
	}
	left := map[string]leftOut{}
	for _, n := range c.nodes {
		healthy, unhealthy := 0, 0
		for k, d := range n.devices {
			if slices.ContainsFunc(asks, func(a deviceAsk) bool { return d.matches(a.name) }) {
				healthy += d.healthy
				unhealthy += len(n.NodeResources.Devices[k].Instances) - d.healthy
			}
		}
		why := n.leftOut(info, g)
		if why != "" && healthy > 0 {
			left[why] = left[why].plus(healthy)
		}
		if why == "" && unhealthy > 0 {
			left["unhealthy"] = left["unhealthy"].plus(unhealthy)
		}
		if why == "" && healthy > 0 {
			room.GPUs += healthy
			room.Nodes++
			room.Replicas += n.replicas(asks)
		}
	}
	for _, why := range slices.Sorted(maps.Keys(left)) {
		room.Left = append(room.Left, fmt.Sprintf("%d on %s %s", left[why].gpus, plural(left[why].nodes, "node"), why))
	}
	return room
}

type leftOut struct{ gpus, nodes int }

func (l leftOut) plus(gpus int) leftOut { return leftOut{l.gpus + gpus, l.nodes + 1} }

// leftOut says why a node takes no replicas of a group, "" if it does.
func (n nodeRoom) leftOut(info jobInfo, g groupInfo) string {
	if !info.mayUse(n.NodeListStub) {
		return "in other datacenters or node pools"
	}
	if state := n.state(); state != "" {
		return state
	}
	if d := n.missingDriver(g); d != "" {
		return "without the driver " + d
	}
	return ""
}

// gpuAsks are the group's asks for GPUs.
func gpuAsks(g groupInfo) []deviceAsk {
	return slices.DeleteFunc(slices.Clone(g.devices), func(a deviceAsk) bool { return noun(a.name) != "GPU" || a.count == 0 })
}

// replicas that find all their devices on the node if nothing else has any. All
// of one ask are of one group of devices; one that several groups would do for
// takes of those that the fewest asks would do with.
func (n nodeRoom) replicas(asks []deviceAsk) (fit int) {
	wanted := func(d deviceRoom) (by int) {
		for _, a := range asks {
			if d.matches(a.name) {
				by++
			}
		}
		return by
	}
	devices := slices.SortedStableFunc(slices.Values(n.devices), func(a, b deviceRoom) int { return cmp.Compare(wanted(a), wanted(b)) })
	for {
		for _, a := range asks {
			i := slices.IndexFunc(devices, func(d deviceRoom) bool { return d.matches(a.name) && d.healthy >= a.count })
			if i < 0 {
				return fit
			}
			devices[i].healthy -= a.count
		}
		fit++
	}
}

// where says what the job keeps to, "" if it may go anywhere.
func (i jobInfo) where() string {
	var parts []string
	if len(i.datacenters) > 0 && !slices.Contains(i.datacenters, "*") {
		word := "datacenter "
		if len(i.datacenters) > 1 {
			word = "datacenters "
		}
		parts = append(parts, word+strings.Join(i.datacenters, ", "))
	}
	if i.pool != "" && i.pool != api.NodePoolAll && i.pool != api.NodePoolDefault {
		parts = append(parts, "node pool "+i.pool)
	}
	return strings.Join(parts, ", ")
}
