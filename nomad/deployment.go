package nomad

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/nomad/api"
)

// deployment is one of a job, as far as it matters whether it refuses scales.
type deployment struct {
	index       uint64 // of its last change
	version     uint64 // of the job
	status      string
	description string
}

func toDeployment(d *api.Deployment) deployment {
	return deployment{index: d.ModifyIndex, version: d.JobVersion, status: d.Status, description: d.StatusDescription}
}

// active reports whether Nomad refuses scales meanwhile.
func (d deployment) active() bool {
	switch d.status {
	case "initializing", api.DeploymentStatusPending, api.DeploymentStatusRunning,
		api.DeploymentStatusPaused, api.DeploymentStatusBlocked, api.DeploymentStatusUnblocking:
		return true
	}
	return false
}

// sentence says what it is and what ends it.
func (d deployment) sentence(id string) string {
	short := id[:min(8, len(id))]
	var ends string
	switch {
	case d.status == api.DeploymentStatusPaused:
		ends = "nomad deployment resume " + short + " lets it go on"
	case d.status == api.DeploymentStatusRunning && d.description == "Deployment is running but requires manual promotion":
		ends = "it waits for nomad deployment promote " + short
	case d.status == api.DeploymentStatusRunning:
		ends = "it ends by itself when its allocations are healthy or its progress deadline has passed"
	default:
		ends = "it waits for its job's other regions"
	}
	return fmt.Sprintf("deployment %s of version %d is %s, and Nomad refuses to scale the job meanwhile: %s; nomad deployment fail %s ends it at once",
		short, d.version, d.status, ends, short)
}

// activeDeployment is the sentence of the newest active one, "" if there is
// none. p.mu is held.
func (j *jobPicture) activeDeployment() string {
	var id string
	for i, d := range j.deployments {
		if d.active() && (id == "" || d.version > j.deployments[id].version) {
			id = i
		}
	}
	if id == "" {
		return ""
	}
	return j.deployments[id].sentence(id)
}

// applyDeployment takes in one deployment of a tracked job. Older news is
// dropped.
func (p *picture) applyDeployment(d *api.Deployment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[jobKey{d.Namespace, d.JobID}]
	if j == nil || d.JobCreateIndex < j.info.created || d.ModifyIndex <= j.deployments[d.ID].index {
		return
	}
	j.deployments[d.ID] = toDeployment(d)
	p.changed(j)
}

// applyDeployments takes in the whole list of deployments of the given jobs as
// of index: an active one that it does not have has gone.
func (p *picture) applyDeployments(keys []jobKey, list []*api.Deployment, index uint64) {
	for _, d := range list {
		p.applyDeployment(d)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	listed := func(id string) bool {
		return slices.ContainsFunc(list, func(d *api.Deployment) bool { return d.ID == id })
	}
	for _, key := range keys {
		j := p.jobs[key]
		if j == nil {
			continue
		}
		had := j.activeDeployment()
		maps.DeleteFunc(j.deployments, func(id string, d deployment) bool { return d.index <= index && !listed(id) })
		if j.activeDeployment() != had {
			p.changed(j)
		}
	}
}

// mayDeploy reports whether any of the jobs may have an active deployment.
func (p *picture) mayDeploy(keys []jobKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range keys {
		j := p.jobs[key]
		if j == nil || !j.present {
			continue
		}
		if j.activeDeployment() != "" {
			return true
		}
		for _, g := range j.info.groups {
			if g.deployments {
				return true
			}
		}
	}
	return false
}

// relistDeployments reads the deployments of the given jobs into the picture, if
// any of them may have one.
func (f *Fleet) relistDeployments(ctx context.Context, scope string, keys []jobKey) error {
	if !f.pic.mayDeploy(keys) {
		return nil
	}
	var (
		list []*api.Deployment
		meta *api.QueryMeta
	)
	err := read(ctx, scope, func(q *api.QueryOptions) (err error) {
		q.Filter = jobFilter("JobID", keys)
		list, meta, err = f.client.Deployments().List(q)
		return err
	})
	if err != nil {
		return fmt.Errorf("list deployments: %w", denied(err, "read-job", scope))
	}
	f.pic.applyDeployments(keys, whole(list), meta.LastIndex)
	return nil
}
