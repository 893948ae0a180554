package nomad

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/nomad/api"
)

// reason says in a sentence with numbers why the group cannot be placed: counted
// on the nodes as far as they are known, else what the evaluation ran into. c is
// nil if the nodes could not be read.
func (b blockage) reason(key jobKey, info jobInfo, group string, c *cluster) string {
	m := b.metric
	switch {
	case m == nil:
		return "not placed yet: " + cmp.Or(b.description, "nomad gives no reason")
	case len(m.QuotaExhausted) > 0:
		return "quota exhausted: " + strings.Join(m.QuotaExhausted, ", ")
	case m.NodesEvaluated == 0:
		return noNode(m, info, c)
	case c == nil:
		return inTheWay(m)
	}
	g := info.groups[group]
	nodes := c.usable(info)
	if aboutDevices(m) {
		for _, ask := range g.devices {
			if s := noDevice(ask, key, g, nodes, m); s != "" {
				return s + awayWith(ask, info, c) + lackingDriver(g, nodes)
			}
		}
	}
	if s := noMemory(g.ask(), nodes, m); s != "" {
		return s
	}
	return inTheWay(m) + lackingDriver(g, nodes)
}

const (
	missingDevices   = "missing devices"
	classIneligible  = "computed class ineligible"
	exhaustedDevices = "devices" // prefix of the dimension
)

// aboutDevices reports whether devices may be what is missing. "computed class
// ineligible" hides the reason of an earlier refusal.
func aboutDevices(m *api.AllocationMetric) bool {
	return exhausted(m, exhaustedDevices) || m.ConstraintFiltered[missingDevices] > 0 || m.ConstraintFiltered[classIneligible] > 0
}

func exhausted(m *api.AllocationMetric, prefix string) bool {
	for dimension := range m.DimensionExhausted {
		if strings.HasPrefix(dimension, prefix) {
			return true
		}
	}
	return false
}

// noDevice says what is missing for one ask; "" if a node has it free.
func noDevice(ask deviceAsk, key jobKey, g groupInfo, usable []nodeRoom, m *api.AllocationMetric) string {
	var nodes, lacking, healthy, free, freeing, own, mostFree, most int
	for _, n := range usable {
		if n.missingDriver(g) != "" {
			continue // said apart
		}
		has := false
		for _, d := range n.devices {
			if !d.matches(ask.name) {
				continue
			}
			has = true
			healthy += d.healthy
			free += d.free
			mostFree = max(mostFree, d.free)
			most = max(most, d.healthy)
			for job, n := range d.freeing {
				freeing += n
				if job == key {
					own += n
				}
			}
		}
		if has {
			nodes++
		} else {
			lacking++
		}
	}
	what := noun(ask.name)
	var s string
	switch {
	case nodes == 0:
		return fmt.Sprintf("no %s: no node has %s", what, ask.name)
	case most < ask.count:
		s = fmt.Sprintf("no fitting %s: %s, at most %d %s on one, %d needed on one node", what, plural(nodes, "node"), most, ask.name, ask.count)
	case ask.constraints != "" && m.ConstraintFiltered[missingDevices] > 0 && !exhausted(m, exhaustedDevices):
		s = fmt.Sprintf("no fitting %s: %s with %s, none with %s", what, plural(nodes, "node"), ask.name, ask.constraints)
	case mostFree >= ask.count:
		return ""
	case freeing > 0:
		s = fmt.Sprintf("%s being freed: %s, %d of %d %s free, %d being freed", what, plural(nodes, "node"), free, healthy, ask.name, freeing)
		switch {
		case own == freeing:
			s += " by replicas of this service that stop"
		case own > 0:
			s += fmt.Sprintf(", %d by replicas of this service that stop", own)
		}
	default:
		s = fmt.Sprintf("no free %s: %s, %d of %d %s free", what, plural(nodes, "node"), free, healthy, ask.name)
		if free > 0 {
			s += fmt.Sprintf(", %d needed on one node", ask.count)
		}
	}
	if lacking > 0 {
		s += fmt.Sprintf("; %s %s or its driver", lack(lacking), ask.name)
	}
	return s
}

// awayWith says how many nodes have the device and take no allocations now.
func awayWith(ask deviceAsk, info jobInfo, c *cluster) string {
	states := make(map[string]int)
	for _, n := range c.nodes {
		has := slices.ContainsFunc(n.devices, func(d deviceRoom) bool { return d.matches(ask.name) })
		if state := n.state(); has && state != "" && info.mayUse(n.NodeListStub) {
			states[state]++
		}
	}
	var b strings.Builder
	for _, state := range slices.Sorted(maps.Keys(states)) {
		fmt.Fprintf(&b, "; %s with it %s", plural(states[state], "node"), state)
	}
	return b.String()
}

// noMemory says how much memory or CPU is missing; "" if some node has both free,
// or neither is what was in the way.
func noMemory(ask footprint, usable []nodeRoom, m *api.AllocationMetric) string {
	hidden := m.ConstraintFiltered[classIneligible] > 0
	for _, dimension := range []struct {
		name, unit string
		of         func(footprint) int64
	}{
		{"memory", "MiB of memory", func(f footprint) int64 { return f.memoryMiB }},
		{"cpu", "MHz of CPU", func(f footprint) int64 { return f.cpuMHz }},
	} {
		asked := dimension.of(ask)
		if asked == 0 || !hidden && !exhausted(m, dimension.name) {
			continue
		}
		var free, total int64
		for _, n := range usable {
			free = max(free, dimension.of(n.free()))
			total = max(total, dimension.of(n.total))
		}
		switch {
		case total == 0: // the nodes do not tell
		case total < asked:
			return fmt.Sprintf("no room: %d %s asked on one node, none of %s has more than %d", asked, dimension.unit, plural(len(usable), "node"), total)
		case free < asked:
			return fmt.Sprintf("no room: %d %s asked on one node, at most %d free on %s", asked, dimension.unit, free, plural(len(usable), "node"))
		}
	}
	return ""
}

// lackingDriver says how many nodes lack a task driver that the group needs.
func lackingDriver(g groupInfo, usable []nodeRoom) string {
	missing := make(map[string]int)
	for _, n := range usable {
		if d := n.missingDriver(g); d != "" {
			missing[d]++
		}
	}
	var b strings.Builder
	for _, d := range slices.Sorted(maps.Keys(missing)) {
		fmt.Fprintf(&b, "; %s the driver %s", lack(missing[d]), d)
	}
	return b.String()
}

func lack(nodes int) string {
	if nodes == 1 {
		return "1 node lacks"
	}
	return fmt.Sprintf("%d nodes lack", nodes)
}

// noNode says that not one node was looked at, and what became of those there are.
func noNode(m *api.AllocationMetric, info jobInfo, c *cluster) string {
	s := "no eligible node in the job's datacenters"
	if m.NodePool != "" {
		s += fmt.Sprintf(" and node pool %q", m.NodePool)
	}
	if c == nil {
		return s
	}
	states := make(map[string]int)
	for _, n := range c.nodes {
		if state := n.state(); state != "" && info.mayUse(n.NodeListStub) {
			states[state]++
		}
	}
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(states)) {
		parts = append(parts, fmt.Sprintf("%d %s", states[state], state))
	}
	if len(parts) > 0 {
		s += ": " + strings.Join(parts, ", ")
	}
	return s
}

// inTheWay puts the evaluation's own figures into words, constraints as they
// are written in the job.
func inTheWay(m *api.AllocationMetric) string {
	var parts []string
	for _, dimension := range slices.Sorted(maps.Keys(m.DimensionExhausted)) {
		parts = append(parts, fmt.Sprintf("%s exhausted on %s", dimension, plural(m.DimensionExhausted[dimension], "node")))
	}
	for _, constraint := range slices.Sorted(maps.Keys(m.ConstraintFiltered)) {
		if constraint == classIneligible {
			continue
		}
		parts = append(parts, fmt.Sprintf("%s on %s", constraint, plural(m.ConstraintFiltered[constraint], "node")))
	}
	if n := m.ConstraintFiltered[classIneligible]; n > 0 {
		parts = append(parts, plural(n, "node")+" of a kind that was refused already")
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
