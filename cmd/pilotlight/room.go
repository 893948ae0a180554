package main

import (
	"context"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// room that the cluster has for a policy's replicas. Of a job that Nomad does not
// have yet, what a replica takes is told by the job spec, else by the policy.
func (n *node) room(ctx context.Context, p *policies.Policy) (jobs.Room, error) {
	ref := jobs.Ref{Namespace: p.Namespace, Job: p.Job, Group: p.Group}
	return n.inventory.Room(ctx, ref, n.gpusNamed(p))
}
