package nomaddouble

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// node of the cluster with its devices.
type node struct {
	Node
	ID         string
	ineligible bool
	create     uint64
	modify     uint64
}

func newNode(n Node) *node {
	n.Datacenter = cmp.Or(n.Datacenter, "dc1")
	n.Pool = cmp.Or(n.Pool, "default")
	return &node{Node: n, ID: newID()}
}

func (n *node) eligibility() string {
	if n.ineligible {
		return "ineligible"
	}
	return "eligible"
}

// document returns the node as GET /v1/nodes?resources=true lists it.
func (n *node) document() document {
	devices := []document{}
	for _, d := range n.Devices {
		instances := []document{}
		for _, id := range d.IDs {
			instances = append(instances, document{"ID": id, "Healthy": true, "HealthDescription": "", "Locality": nil})
		}
		devices = append(devices, document{"Vendor": d.Vendor, "Type": d.Type, "Name": d.Name, "Instances": instances, "Attributes": document{}})
	}
	return document{
		"ID": n.ID, "Name": n.Name, "Datacenter": n.Datacenter, "NodePool": n.Pool, "NodeClass": n.Class,
		"Address": "127.0.0.1", "Drain": false, "LastDrain": nil, "SchedulingEligibility": n.eligibility(),
		"Status": "ready", "StatusDescription": "", "Version": "2.0.6-dev", "CreateIndex": n.create, "ModifyIndex": n.modify,
		"NodeResources": document{"Devices": devices, "MinDynamicPort": 20000, "MaxDynamicPort": 32000},
	}
}

// accepts reports whether the job's pool and datacenters allow the node.
func (n *node) accepts(j *job) bool {
	if j.NodePool != "all" && j.NodePool != n.Pool {
		return false
	}
	return len(j.Datacenters) == 0 || slices.ContainsFunc(j.Datacenters, func(dc string) bool {
		ok, err := path.Match(dc, n.Datacenter)
		return err == nil && ok
	})
}

func (d Device) matches(ask string) bool {
	parts := strings.SplitN(ask, "/", 3)
	switch len(parts) {
	case 1:
		return d.Type == parts[0]
	case 2:
		return d.Vendor == parts[0] && d.Type == parts[1]
	}
	return d.Vendor == parts[0] && d.Type == parts[1] && d.Name == parts[2]
}

// granted is a task's share of a device group.
type granted struct {
	Device
	IDs []string
}

// reserve finds devices for all tasks of the group on one node. used are the
// ids taken on it. has is false if the node could not serve the asks even empty.
func (n *node) reserve(g *group, used map[string]bool) (shares map[string][]granted, has, free bool) {
	shares = make(map[string][]granted)
	taken := make(map[string]bool)
	has, free = true, true
	for _, t := range g.Tasks {
		for _, ask := range t.Devices {
			found, room := false, false
			for _, d := range n.Devices {
				if !d.matches(ask.Name) || len(d.IDs) < ask.Count {
					continue
				}
				found = true
				var ids []string
				for _, id := range d.IDs {
					if !used[id] && !taken[id] && len(ids) < ask.Count {
						ids = append(ids, id)
					}
				}
				if len(ids) < ask.Count {
					continue
				}
				for _, id := range ids {
					taken[id] = true
				}
				shares[t.Name] = append(shares[t.Name], granted{Device: d, IDs: ids})
				room = true
				break
			}
			has, free = has && found, free && room
		}
	}
	return shares, has, free
}
