package main

import "github.com/pilotlight/pilotlight/policies"

// gpus of a replica under a policy: the devices that its job spec asks for, where
// it is known here and asks for any, else what the policy says.
func (n *node) gpus(p *policies.Policy) int {
	if spec, known := n.specs.find(p.Job); known {
		if g := spec.GroupNamed(p.Group); g != nil {
			devices := 0
			for _, t := range g.Tasks {
				devices += t.GPUs
			}
			if devices > 0 {
				return devices
			}
		}
	}
	return p.GPUs()
}
