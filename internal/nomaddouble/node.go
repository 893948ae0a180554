package nomaddouble

import (
	"cmp"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Statuses of a node.
const (
	statusReady        = "ready"
	statusDown         = "down"
	statusDisconnected = "disconnected"
)

// node of the cluster with its devices and its client.
type node struct {
	Node
	ID           string
	status       string
	ineligible   bool
	drain        *drain
	lastDrain    document
	events       []document
	create       uint64
	modify       uint64
	statusAt     time.Time
	silent       bool          // its client and the servers do not hear each other
	lost         chan struct{} // closed when it is heard again
	reports      []*allocation // what its client says with the next batch
	measurements map[string]Measurement
	statistics   Statistics
	thaw         chan struct{} // closed when its client answers again
}

func newNode(n Node) *node {
	n.Datacenter = cmp.Or(n.Datacenter, "dc1")
	n.Pool = cmp.Or(n.Pool, "default")
	made := &node{Node: n, ID: newID(), status: statusReady, statusAt: time.Now(), measurements: make(map[string]Measurement)}
	for _, d := range n.Devices {
		for _, id := range d.IDs {
			made.measurements[id] = Measurement{Utilization: 0, MemoryUsed: 3, MemoryTotal: 81559}
		}
	}
	return made
}

func (n *node) eligibility() string {
	if n.ineligible {
		return "ineligible"
	}
	return "eligible"
}

func (n *node) note(subsystem, message string, index uint64) {
	n.events = append(n.events, document{"CreateIndex": index, "Details": nil, "Message": message, "Subsystem": subsystem, "Timestamp": time.Now().UTC()})
	if over := len(n.events) - 10; over > 0 {
		n.events = slices.Clone(n.events[over:])
	}
}

// stub is the node as GET /v1/nodes lists it, its resources if asked for.
func (n *node) stub(withResources bool) document {
	d := document{
		"ID": n.ID, "Name": n.Name, "Datacenter": n.Datacenter, "NodePool": n.Pool, "NodeClass": n.Class,
		"Address": "127.0.0.1", "Drain": n.drain != nil, "LastDrain": orNil(n.lastDrain), "SchedulingEligibility": n.eligibility(),
		"Status": n.status, "StatusDescription": "", "Version": "2.0.6-dev", "CreateIndex": n.create, "ModifyIndex": n.modify,
	}
	if withResources {
		d["NodeResources"], d["ReservedResources"] = n.resources(), n.reserved()
	}
	return d
}

// document is the node as GET /v1/node/:id and the event stream have it.
func (n *node) document() document {
	d := n.stub(true)
	delete(d, "Address")
	delete(d, "Version")
	attributes := document{"nomad.version": "2.0.6-dev", "driver.raw_exec": "1"}
	for k, v := range n.Attributes {
		attributes[k] = v
	}
	d["Attributes"], d["Events"], d["HTTPAddr"] = attributes, n.events, "127.0.0.1:4646"
	d["StatusUpdatedAt"], d["DrainStrategy"] = n.statusAt.Unix(), nil
	if n.drain != nil {
		d["DrainStrategy"] = n.drain.document()
	}
	return d
}

func (n *node) resources() document {
	var devices any // null without any
	if len(n.Devices) > 0 {
		all := []document{}
		for _, d := range n.Devices {
			all = append(all, d.document())
		}
		devices = all
	}
	address := document{"Address": "127.0.0.1", "Alias": "default", "Family": "ipv4", "Gateway": "", "ReservedPorts": ""}
	return document{
		"Cpu":  document{"CpuShares": cmp.Or(n.CPU, 4498), "ReservableCpuCores": []int{0, 1}, "TotalCpuCores": 2},
		"Disk": document{"DiskMB": 258019}, "Memory": document{"MemoryMB": cmp.Or(n.Memory, 24105)}, "Devices": devices,
		"MinDynamicPort": 20000, "MaxDynamicPort": 32000,
		"Networks": []document{{"Mode": "bridge"}, {"CIDR": "127.0.0.1/32", "Device": "lo", "IP": "127.0.0.1", "MBits": 1000, "Mode": "host"}},
		"NodeNetworks": []document{{"Addresses": nil, "Device": "", "MacAddress": "", "Mode": "bridge", "Speed": 0},
			{"Addresses": []document{address}, "Device": "lo", "MacAddress": "", "Mode": "host", "Speed": 1000}},
		"Processors": document{"Topology": document{"Cores": []document{{"BaseSpeed": 2249, "Disable": false, "Grade": true, "GuessSpeed": 0,
			"ID": 0, "MaxSpeed": 0, "NodeID": 0, "SocketID": 0}}, "Distances": nil, "Nodes": []int{0}, "OverrideTotalCompute": 0, "OverrideWitholdCompute": 0}},
	}
}

func (n *node) reserved() document {
	return document{"Cpu": document{"CpuShares": 0, "ReservedCpuCores": nil}, "Disk": document{"DiskMB": 0},
		"Memory": document{"MemoryMB": 0}, "Networks": document{"ReservedHostPorts": ""}}
}

// computedClass is what nodes that no constraint tells apart share.
func (n *node) computedClass() string {
	var b strings.Builder
	fmt.Fprint(&b, n.Datacenter, n.Pool, n.Class, n.Attributes)
	for _, d := range n.Devices {
		fmt.Fprint(&b, d.Vendor, d.Type, d.Name, len(d.IDs), d.Attributes)
	}
	return b.String()
}

// accepts reports whether the job's datacenters allow the node.
func (n *node) accepts(j *job) bool {
	return len(j.Datacenters) == 0 || slices.ContainsFunc(j.Datacenters, func(dc string) bool {
		ok, err := path.Match(dc, n.Datacenter)
		return err == nil && ok
	})
}

func (s *Server) listNodes(w http.ResponseWriter, r *http.Request) {
	s.blocking(w, r, tableNodes, func() (any, error) {
		list := []document{}
		for _, n := range s.nodes {
			list = append(list, n.stub(r.URL.Query().Get("resources") == "true"))
		}
		return filtered(r, list)
	})
}

func (s *Server) getNode(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.node(r.PathValue("id")); n != nil {
		answer(w, s.tables[tableNodes], n.document())
		return
	}
	refuse(w, 404, "node not found")
}

// node with that id or name, nil if there is none. s.mu is held.
func (s *Server) node(id string) *node {
	for _, n := range s.nodes {
		if n.ID == id || n.Name == id {
			return n
		}
	}
	return nil
}

// nodeAllocations lists what is on a node, whole.
func (s *Server) nodeAllocations(w http.ResponseWriter, r *http.Request) {
	s.blocking(w, r, tableAllocs, func() (any, error) {
		list := []document{}
		for _, a := range s.allocs {
			if a.node.ID == r.PathValue("id") {
				list = append(list, a.document())
			}
		}
		return list, nil
	})
}

func (s *Server) putEligibility(w http.ResponseWriter, r *http.Request) {
	var req struct{ Eligibility string }
	if !decode(w, r, &req) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(r.PathValue("id"))
	if n == nil {
		refuse(w, 404, "node not found")
		return
	}
	index := s.write([]string{tableNodes}, func(index uint64) []event {
		n.ineligible, n.modify = req.Eligibility == "ineligible", index
		n.note("Cluster", "Node marked as "+n.eligibility()+" for scheduling", index)
		return []event{nodeEvent("NodeEligibility", n)}
	})
	if !n.ineligible {
		s.unblock()
	}
	answer(w, index, document{"EvalIDs": nil, "EvalCreateIndex": 0, "NodeModifyIndex": 0, "Index": index})
}

// Attribute of a device: a text, or a number with its unit.
type Attribute struct {
	Text string
	Int  int64
	Unit string
}

func (a Attribute) document() document {
	d := document{"Bool": nil, "Float": nil, "Int": nil, "String": nil, "Unit": a.Unit}
	if a.Text != "" {
		d["String"] = a.Text
	} else {
		d["Int"] = a.Int
	}
	return d
}

func (d Device) document() document {
	instances := []document{}
	for i, id := range d.IDs {
		healthy, why := !slices.Contains(d.Unhealthy, id), ""
		if !healthy {
			why = "device is not answering"
		}
		instances = append(instances, document{"ID": id, "Healthy": healthy, "HealthDescription": why,
			"Locality": document{"PciBusID": fmt.Sprintf("0000:%02x:00.0", 7+16*i)}})
	}
	attributes := document{}
	for name, a := range d.Attributes {
		attributes[name] = a.document()
	}
	return document{"Vendor": d.Vendor, "Type": d.Type, "Name": d.Name, "Instances": instances, "Attributes": attributes}
}

func (d Device) matches(ask deviceAsk) bool {
	parts := strings.SplitN(ask.Name, "/", 3)
	named := d.Vendor == parts[0]
	switch len(parts) {
	case 1:
		named = d.Type == parts[0]
	case 2:
		named = named && d.Type == parts[1]
	default:
		named = named && d.Type == parts[1] && d.Name == parts[2]
	}
	return named && !slices.ContainsFunc(ask.Constraints, func(c constraint) bool { return !d.meets(c) })
}

// meets compares ${device.attr.NAME} with a number and unit, or with a text.
func (d Device) meets(c constraint) bool {
	name, isAttribute := strings.CutPrefix(strings.TrimSuffix(strings.TrimPrefix(c.LTarget, "${"), "}"), "device.attr.")
	a, ok := d.Attributes[name]
	if !isAttribute {
		return c.LTarget != "${device.model}" || d.Name == c.RTarget
	}
	if !ok {
		return false
	}
	want, unit := amount(c.RTarget)
	if a.Text != "" || want < 0 {
		return (a.Text == c.RTarget) == (c.Operand == "" || c.Operand == "=" || c.Operand == "==")
	}
	have := float64(a.Int) * units[a.Unit]
	want *= units[cmp.Or(unit, a.Unit)]
	switch c.Operand {
	case ">=":
		return have >= want
	case ">":
		return have > want
	case "<=":
		return have <= want
	case "<":
		return have < want
	case "!=":
		return have != want
	}
	return have == want
}

var units = map[string]float64{"": 1, "MiB": 1 << 20, "GiB": 1 << 30, "MB": 1e6, "GB": 1e9, "W": 1, "MHz": 1, "MB/s": 1}

// amount reads "120 GiB"; a negative number says that it is none.
func amount(text string) (float64, string) {
	number, unit, _ := strings.Cut(strings.TrimSpace(text), " ")
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return -1, ""
	}
	return v, unit
}

// granted is a task's share of a device group.
type granted struct {
	Device
	IDs []string
}

// hasDevices reports whether the node could serve the group's asks if it were
// empty.
func (n *node) hasDevices(g *group) bool {
	for _, t := range g.Tasks {
		for _, ask := range t.Devices {
			if !slices.ContainsFunc(n.Devices, func(d Device) bool { return d.matches(ask) && len(d.IDs)-len(d.Unhealthy) >= ask.Count }) {
				return false
			}
		}
	}
	return true
}

// reserve finds devices for all tasks of the group. used are the ids taken.
func (n *node) reserve(g *group, used map[string]bool) (shares map[string][]granted, ok bool) {
	shares = make(map[string][]granted)
	taken := make(map[string]bool)
	for _, t := range g.Tasks {
		for _, ask := range t.Devices {
			i := slices.IndexFunc(n.Devices, func(d Device) bool { return d.matches(ask) && len(d.unused(used, taken)) >= ask.Count })
			if i < 0 {
				return nil, false
			}
			ids := n.Devices[i].unused(used, taken)[:ask.Count]
			for _, id := range ids {
				taken[id] = true
			}
			shares[t.Name] = append(shares[t.Name], granted{Device: n.Devices[i], IDs: ids})
		}
	}
	return shares, true
}

func (d Device) unused(used, taken map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(d.IDs), func(id string) bool { return used[id] || taken[id] || slices.Contains(d.Unhealthy, id) })
}
