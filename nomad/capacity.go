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

// capacity counts devices per node and kind. A device is in use until its
// client reports the allocation's end, whatever was asked of the allocation.
type capacity struct {
	devices []nodeDevices
}

type nodeDevices struct {
	node, vendor, kind, name string
	healthy, free, freeing   int
}

func newCapacity(info jobInfo, nodes []*api.NodeListStub, allocs []*api.AllocationListStub) *capacity {
	type instance struct{ node, id string }
	used := make(map[instance]bool) // true: being freed
	for _, a := range allocs {
		if a.AllocatedResources == nil {
			continue
		}
		for _, t := range a.AllocatedResources.Tasks {
			if t == nil {
				continue
			}
			for _, d := range t.Devices {
				for _, id := range d.DeviceIDs {
					used[instance{a.NodeID, id}] = a.DesiredStatus != jobs.DesiredRun
				}
			}
		}
	}
	c := new(capacity)
	for _, n := range nodes {
		if n.Status != api.NodeStatusReady || n.Drain || n.SchedulingEligibility == api.NodeSchedulingIneligible ||
			n.NodeResources == nil || !info.mayUse(n) {
			continue
		}
		for _, d := range n.NodeResources.Devices {
			nd := nodeDevices{node: n.ID, vendor: d.Vendor, kind: d.Type, name: d.Name}
			for _, i := range d.Instances {
				if !i.Healthy {
					continue
				}
				nd.healthy++
				freeing, taken := used[instance{n.ID, i.ID}]
				switch {
				case !taken:
					nd.free++
				case freeing:
					nd.freeing++
				}
			}
			c.devices = append(c.devices, nd)
		}
	}
	return c
}

// matches reports whether the device answers to an ask of the form type,
// vendor/type or vendor/type/name.
func (d nodeDevices) matches(ask string) bool {
	parts := strings.SplitN(ask, "/", 3)
	switch len(parts) {
	case 1:
		return d.kind == parts[0]
	case 2:
		return d.vendor == parts[0] && d.kind == parts[1]
	}
	return d.vendor == parts[0] && d.kind == parts[1] && d.name == parts[2]
}

// noRoom says in a sentence why the group cannot be placed: devices counted on
// the nodes where it asks for some, else what the evaluation ran into. room is
// nil if the nodes could not be read.
func noRoom(metric *api.AllocationMetric, asks []deviceAsk, room *capacity) string {
	if room != nil && aboutDevices(metric) {
		for _, ask := range asks {
			if s := room.lacking(ask); s != "" {
				return s
			}
		}
	}
	return inTheWay(metric)
}

// aboutDevices reports whether devices may be what is missing. "computed class
// ineligible" hides the reason of an earlier refusal.
func aboutDevices(m *api.AllocationMetric) bool {
	for dimension := range m.DimensionExhausted {
		if strings.HasPrefix(dimension, "devices") {
			return true
		}
	}
	return m.ConstraintFiltered["missing devices"] > 0 || m.ConstraintFiltered["computed class ineligible"] > 0
}

// lacking says what is missing for one ask; "" if a node has it.
func (c *capacity) lacking(ask deviceAsk) string {
	var nodes, healthy, free, freeing, most int
	for _, d := range c.devices {
		if !d.matches(ask.name) {
			continue
		}
		nodes++
		healthy += d.healthy
		free += d.free
		freeing += d.freeing
		most = max(most, d.free)
	}
	what := noun(ask.name)
	switch {
	case nodes == 0:
		return fmt.Sprintf("no %s: no node has %s", what, ask.name)
	case most >= ask.count:
		return ""
	case freeing > 0:
		return fmt.Sprintf("%s being freed: %s, %d of %d %s free, %d being freed", what, plural(nodes, "node"), free, healthy, ask.name, freeing)
	case free > 0:
		return fmt.Sprintf("no free %s: %s, %d of %d %s free, %d needed on one node", what, plural(nodes, "node"), free, healthy, ask.name, ask.count)
	}
	return fmt.Sprintf("no free %s: %s, %d of %d %s free", what, plural(nodes, "node"), free, healthy, ask.name)
}

// inTheWay puts the evaluation's own figures into words.
func inTheWay(m *api.AllocationMetric) string {
	if m.NodesEvaluated == 0 {
		if m.NodePool != "" {
			return fmt.Sprintf("no eligible node in the job's datacenters and node pool %q", m.NodePool)
		}
		return "no eligible node in the job's datacenters"
	}
	var parts []string
	for _, dimension := range slices.Sorted(maps.Keys(m.DimensionExhausted)) {
		parts = append(parts, fmt.Sprintf("%s exhausted on %s", dimension, plural(m.DimensionExhausted[dimension], "node")))
	}
	for _, constraint := range slices.Sorted(maps.Keys(m.ConstraintFiltered)) {
		parts = append(parts, fmt.Sprintf("%s on %s", constraint, plural(m.ConstraintFiltered[constraint], "node")))
	}
	for _, quota := range m.QuotaExhausted {
		parts = append(parts, "quota exhausted: "+quota)
	}
	return fmt.Sprintf("no room: %s looked at, %s", plural(m.NodesEvaluated, "node"),
		cmp.Or(strings.Join(parts, ", "), "no reason given"))
}

// noun is what people call a device: GPU for gpu, its type otherwise.
func noun(ask string) string {
	kind := ask
	if parts := strings.SplitN(ask, "/", 3); len(parts) > 1 {
		kind = parts[1]
	}
	if kind == "gpu" {
		return "GPU"
	}
	return kind
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
