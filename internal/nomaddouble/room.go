package nomaddouble

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// room looks for places within one evaluation. It counts as free what the same
// evaluation stops; what was told to stop before is in use until its client has
// reported the end.
type room struct {
	s       *Server
	job     *job
	freed   map[*allocation]bool
	refused map[string]bool // classes of nodes that failed a constraint before
}

// place for one allocation.
type spot struct {
	node    *node
	shares  map[string][]granted // task → devices
	metrics document
}

func (s *Server) newRoom(j *job) *room {
	return &room{s: s, job: j, freed: make(map[*allocation]bool), refused: make(map[string]bool)}
}

func (r *room) free(a *allocation) { r.freed[a] = true }
func (r *room) hold(a *allocation) { delete(r.freed, a) }

// in use on a node.
type usage struct {
	devices     map[string]bool
	cpu, memory int
	same        int // allocations of the group
}

func (r *room) usage(n *node, g *group) usage {
	u := usage{devices: make(map[string]bool)}
	for _, a := range r.s.allocs {
		if a.node != n || a.gone || r.freed[a] {
			continue
		}
		if a.job == r.job && a.group.Name == g.Name && a.Desired == "run" {
			u.same++
		}
		for _, t := range a.group.Tasks {
			u.cpu, u.memory = u.cpu+t.CPU, u.memory+t.Memory
		}
		for _, shares := range a.Devices {
			for _, share := range shares {
				for _, id := range share.IDs {
					u.devices[id] = true
				}
			}
		}
	}
	return u
}

// find looks for the node with room that has the fewest of the group; why says
// what was in the way on each if none has. The successor of a failed one rather
// goes elsewhere.
func (r *room) find(g *group, previous *allocation) (at *spot, why document) {
	m := newMetrics(r.job.NodePool)
	best := 0
	for _, n := range r.s.nodes {
		if n.Pool != r.job.NodePool && r.job.NodePool != "all" {
			continue
		}
		m.pool++
		if n.status != statusReady || n.ineligible || !n.accepts(r.job) {
			continue
		}
		m.evaluated++
		m.available[n.Datacenter]++
		if what := r.unfit(n, g); what != "" {
			m.filter(n, what)
			continue
		}
		u := r.usage(n, g)
		shares, free := n.reserve(g, u.devices)
		if what := exhausted(n, g, u, free); what != "" {
			m.exhaust(n, g, what)
			continue
		}
		if previous != nil && previous.Client == "failed" && previous.node == n {
			u.same += 1000
		}
		if at == nil || u.same < best {
			at, best = &spot{node: n, shares: shares}, u.same
		}
	}
	if at == nil {
		return nil, m.document()
	}
	at.metrics = m.document()
	at.metrics["ScoreMetaData"] = []document{{"NodeID": at.node.ID, "NormScore": 0.0073545013411394754,
		"Scores": document{"binpack": 0.0073545013411394754, "job-anti-affinity": 0.0, "node-affinity": 0.0, "node-reschedule-penalty": 0.0}}}
	return at, nil
}

// unfit returns the constraint that a node fails whatever is free on it.
func (r *room) unfit(n *node, g *group) string {
	class := n.computedClass()
	if r.refused[class] {
		return "computed class ineligible"
	}
	all := append(slices.Clone(r.job.Constraints), g.Constraints...)
	for _, t := range g.Tasks {
		all = append(all, t.Constraints...)
	}
	for _, c := range all {
		if !n.meets(c) {
			r.refused[class] = true
			return fmt.Sprintf("%s %s %s", c.LTarget, c.Operand, c.RTarget)
		}
	}
	if !n.hasDevices(g) {
		r.refused[class] = true
		return "missing devices"
	}
	return ""
}

// exhausted returns the dimension of which too little is free, "" if none is.
func exhausted(n *node, g *group, u usage, devices bool) string {
	cpu, memory := u.cpu, u.memory
	for _, t := range g.Tasks {
		cpu, memory = cpu+t.CPU, memory+t.Memory
	}
	switch {
	case n.CPU > 0 && cpu > n.CPU:
		return "cpu"
	case n.Memory > 0 && memory > n.Memory:
		return "memory"
	case !devices:
		return "devices: no devices match request"
	}
	return ""
}

// metrics of one search.
type metrics struct {
	poolName                                 string
	pool, evaluated                          int
	available, classFiltered, classExhausted map[string]int
	constraints, dimensions                  map[string]int
	short                                    document // task → resources
}

func newMetrics(pool string) *metrics {
	return &metrics{poolName: pool, available: map[string]int{}, classFiltered: map[string]int{}, classExhausted: map[string]int{},
		constraints: map[string]int{}, dimensions: map[string]int{}, short: document{}}
}

func (m *metrics) filter(n *node, what string) {
	m.constraints[what]++
	if n.Class != "" {
		m.classFiltered[n.Class]++
	}
}

func (m *metrics) exhaust(n *node, g *group, what string) {
	m.dimensions[what]++
	if n.Class != "" {
		m.classExhausted[n.Class]++
	}
	for _, t := range g.Tasks {
		d := resources(0, 0, 0)
		switch what {
		case "cpu":
			d["CPU"] = t.CPU
		case "memory":
			d["MemoryMB"] = t.Memory
		}
		m.short[t.Name] = d
	}
}

func (m *metrics) document() document {
	sum := func(counts map[string]int) (n int) {
		for v := range maps.Values(counts) {
			n += v
		}
		return n
	}
	orNull := func(counts map[string]int) any {
		if len(counts) == 0 {
			return nil
		}
		return counts
	}
	d := document{"AllocationTime": 71980, "ClassExhausted": orNull(m.classExhausted), "ClassFiltered": orNull(m.classFiltered),
		"CoalescedFailures": 0, "ConstraintFiltered": orNull(m.constraints), "DimensionExhausted": orNull(m.dimensions),
		"NodePool": m.poolName, "NodesAvailable": m.available, "NodesEvaluated": m.evaluated, "NodesExhausted": sum(m.dimensions),
		"NodesFiltered": sum(m.constraints), "NodesInPool": m.pool, "QuotaExhausted": nil, "ResourcesExhausted": nil,
		"ScoreMetaData": nil, "Scores": nil}
	if len(m.short) > 0 {
		d["ResourcesExhausted"] = m.short
	}
	return d
}

// resources as Nomad still writes them beside AllocatedResources.
func resources(cpu, memory, disk int) document {
	return document{"CPU": cpu, "Cores": 0, "Devices": nil, "DiskMB": disk, "IOPS": 0, "MemoryMB": memory, "MemoryMaxMB": 0,
		"NUMA": nil, "Networks": nil, "SecretsMB": 0}
}

// meets reports whether a node satisfies a constraint. Operands other than
// equality are taken as met.
func (n *node) meets(c constraint) bool {
	got, known := n.target(c.LTarget)
	switch c.Operand {
	case "", "=", "==", "is":
		return known && got == c.RTarget
	case "!=", "not":
		return got != c.RTarget
	}
	return true
}

func (n *node) target(text string) (string, bool) {
	name := strings.TrimSuffix(strings.TrimPrefix(text, "${"), "}")
	switch name {
	case "node.class":
		return n.Class, true
	case "node.datacenter":
		return n.Datacenter, true
	case "node.pool":
		return n.Pool, true
	case "node.unique.name":
		return n.Name, true
	case "node.unique.id":
		return n.ID, true
	}
	v, ok := n.Attributes[strings.TrimPrefix(name, "attr.")]
	return v, ok
}
