package main

import "github.com/pilotlight/pilotlight/policies"

// gpus of a replica under a policy: the devices that its job spec asks for, where
// it is known here and asks for any, else what the policy says.
func (n *node) gpus(p *policies.Policy) int {
	if devices, _ := n.devices(p); devices > 0 {
		return devices
	}
	return p.GPUs()
}

// gpusNamed is gpus, where something names them; else 0.
func (n *node) gpusNamed(p *policies.Policy) int {
	if devices, known := n.devices(p); known {
		return devices
	}
	if p.Cost != nil && p.Cost.GPU != "" {
		return p.GPUs()
	}
	return 0
}

// devices are the GPUs that the job spec of a policy asks for, if it is known here.
func (n *node) devices(p *policies.Policy) (count int, known bool) {
	spec, known := n.specs.find(p.Job)
	if !known {
		return 0, false
	}
	g := spec.GroupNamed(p.Group)
	if g == nil {
		return 0, false
	}
	for _, t := range g.Tasks {
		count += t.GPUs
	}
	return count, true
}
