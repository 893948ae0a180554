package nomaddouble

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// deployment of one version of a job: opened by the plan that changes a group
// with an update block, over when all its allocations are healthy.
type deployment struct {
	ID             string
	job            *job
	version        uint64
	spec           uint64 // JobModifyIndex of the version
	Status         string
	Description    string
	groups         map[string]*rollout
	create, modify uint64
	created        time.Time
	modified       time.Time
	failed         chan struct{} // closed when somebody fails or cancels it
}

// rollout is a deployment's part in one group.
type rollout struct {
	desired, placed, healthy, unhealthy int
	progressBy                          time.Time
	progressDeadline                    time.Duration
}

func (d *deployment) active() bool { return d.Status == "running" || d.Status == "paused" }

func (d *deployment) document() document {
	groups := document{}
	for name, g := range d.groups {
		groups[name] = document{"AutoPromote": false, "AutoRevert": false, "DesiredCanaries": 0, "DesiredTotal": g.desired,
			"HealthyAllocs": g.healthy, "PlacedAllocs": g.placed, "PlacedCanaries": nil, "ProgressDeadline": g.progressDeadline,
			"Promoted": false, "RequireProgressBy": g.progressBy.UTC(), "UnhealthyAllocs": g.unhealthy}
	}
	return document{"CreateIndex": d.create, "CreateTime": d.created.UnixNano(), "EvalPriority": 50, "ID": d.ID, "IsMultiregion": false,
		"JobCreateIndex": d.job.create, "JobID": d.job.ID, "JobModifyIndex": d.spec, "JobSpecModifyIndex": d.spec, "JobVersion": d.version,
		"ModifyIndex": d.modify, "ModifyTime": d.modified.UnixNano(), "Namespace": d.job.Namespace, "Status": d.Status,
		"StatusDescription": d.Description, "TaskGroups": groups}
}

func deploymentEvent(kind string, d *deployment) event {
	return event{Topic: "Deployment", Type: kind, Key: d.ID, Namespace: d.job.Namespace, FilterKeys: []string{d.job.ID}, Payload: document{"Deployment": d.document()}}
}

// written notes the entry that changes d. s.mu is held.
func (d *deployment) written(s *Server, index uint64) {
	if d.create == 0 {
		d.create = index
	}
	d.modify, d.modified = index, time.Now()
	s.tables[tableDeployments] = index
}

// latest deployment of a job, nil if there is none. s.mu is held.
func (s *Server) latest(j *job) *deployment {
	for _, d := range slices.Backward(s.deployments) {
		if d.job == j {
			return d
		}
	}
	return nil
}

// deploy puts what a plan changes into a deployment, opening one if need be,
// and returns it; nil if the plan needs none. s.mu is held.
func (s *Server) deploy(p *step) *deployment {
	d := s.latest(p.job)
	if d != nil && d.active() && (d.version != p.job.version || p.job.stopped) {
		s.end(d, "cancelled", "Cancelled due to newer version of job", "PlanResult")
		d = nil
	}
	if d != nil && !d.active() {
		d = nil
	}
	changes := func(g *group) (n int) {
		for _, a := range slices.Concat(p.kept, p.placed) {
			if a.group == g && a.Client != "unknown" && !a.terminal() && (a.previous == nil || a.previous.version != a.version) {
				n++
			}
		}
		return n
	}
	for _, g := range p.job.Groups {
		n := changes(g)
		if n == 0 || g.MaxParallel == 0 || p.job.stopped || g.Count == 0 {
			continue
		}
		if d == nil {
			if last := s.latest(p.job); last != nil && last.version == p.job.version {
				continue // it is over: what comes now replaces what was lost
			}
			d = &deployment{ID: newID(), job: p.job, version: p.job.version, spec: p.job.jobModify, Status: "running",
				Description: "Deployment is running", groups: make(map[string]*rollout), created: time.Now(), failed: make(chan struct{})}
			s.deployments = append(s.deployments, d)
			s.spawn(func(ctx context.Context) { s.watchDeployment(ctx, d) })
		}
		if d.groups[g.Name] == nil {
			d.groups[g.Name] = &rollout{desired: g.Count, progressDeadline: g.ProgressDeadline, progressBy: time.Now().Add(g.ProgressDeadline)}
		}
		d.groups[g.Name].placed += n
	}
	if d == nil {
		return nil
	}
	p.eval.Deployment = d.ID
	for _, a := range slices.Concat(p.kept, p.placed) {
		if d.groups[a.group.Name] != nil {
			a.deployment, a.healthy = d.ID, nil
		}
	}
	return d
}

// inProgress counts the allocations of a group that a deployment waits for.
func (s *Server) inProgress(j *job, g *group) (n int) {
	for _, a := range s.wanted(j, g) {
		if a.version == j.version && a.deployment != "" && a.healthy == nil {
			n++
		}
	}
	return n
}

// watchDeployment takes the allocations of a deployment for healthy some time
// after they run, and lets the next ones follow, until all are.
func (s *Server) watchDeployment(ctx context.Context, d *deployment) {
	for {
		var fresh []*allocation
		s.mu.Lock()
		for _, a := range s.allocs {
			if a.deployment == d.ID && a.healthy == nil && a.Desired == "run" {
				fresh = append(fresh, a)
			}
		}
		s.mu.Unlock()
		if !s.healthy(ctx, d, fresh) {
			return
		}
		s.mu.Lock()
		if !d.active() {
			s.mu.Unlock()
			return
		}
		more := s.progress(d, fresh)
		s.mu.Unlock()
		if !more {
			return
		}
		moved := false // the next ones are placed
		s.await(ctx, maxWait, func() bool {
			for _, a := range s.allocs {
				moved = moved || (a.deployment == d.ID && a.healthy == nil && a.Desired == "run")
			}
			return moved || !d.active()
		})
		if !moved {
			return
		}
	}
}

// healthy waits until all of a deployment's allocations run, and the time of
// Delays.Deployment since they were placed has passed; false if it is over.
func (s *Server) healthy(ctx context.Context, d *deployment, fresh []*allocation) bool {
	timer := time.NewTimer(s.delayed(func(d Delays) time.Duration { return d.Deployment }))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.failed:
		return false
	case <-ctx.Done():
		return false
	}
	ok := false
	s.await(ctx, maxWait, func() bool {
		for _, a := range fresh {
			switch {
			case a.Client == "failed":
				if d.active() {
					s.end(d, "failed", "Failed due to unhealthy allocations", "DeploymentAllocHealth")
				}
				return true
			case a.Desired == "run" && a.Client != "running":
				return !d.active()
			}
		}
		ok = true
		return true
	})
	return ok
}

// progress writes the health of allocations, and lets the scheduler go on; it
// reports whether there are more to come. s.mu is held.
func (s *Server) progress(d *deployment, fresh []*allocation) (more bool) {
	s.write([]string{tableAllocs, tableDeployments}, func(index uint64) []event {
		var events []event
		for _, a := range fresh {
			if a.Desired != "run" {
				continue
			}
			a.setHealthy(index)
			g := d.groups[a.group.Name]
			g.healthy++
			g.progressBy = time.Now().Add(g.progressDeadline)
			events = append(events, allocEvent("AllocationUpdated", a))
		}
		d.written(s, index)
		return append([]event{deploymentEvent("AllocationUpdated", d)}, events...)
	})
	for _, g := range d.job.Groups {
		if r := d.groups[g.Name]; r != nil && r.healthy < r.desired {
			more = true
		}
	}
	e := s.newEvaluation(d.job, "deployment-watcher")
	e.Deployment = d.ID
	s.write([]string{tableEvals}, func(index uint64) []event {
		e.CreateIndex, e.Modified = index, index
		return []event{evalEvent("AllocationUpdateDesiredStatus", e)}
	})
	if !more {
		s.write([]string{tableDeployments}, func(index uint64) []event {
			d.Status, d.Description = "successful", "Deployment completed successfully"
			d.written(s, index)
			d.job.modify, d.job.index, d.job.stable = index, index, true
			s.tables[tableJobs] = index
			return []event{deploymentEvent("PlanResult", d), jobEvent("PlanResult", d.job), evalEvent("PlanResult", e)}
		})
	}
	s.process(d.job, e)
	return more
}

// end writes that a deployment is over without success. s.mu is held.
func (s *Server) end(d *deployment, status, why, kind string) *evaluation {
	d.Status, d.Description = status, why
	close(d.failed)
	e := s.newEvaluation(d.job, "deployment-watcher")
	e.Deployment = d.ID
	s.write([]string{tableDeployments, tableEvals}, func(index uint64) []event {
		e.CreateIndex, e.Modified = index, index
		d.written(s, index)
		return []event{deploymentEvent(kind, d), evalEvent(kind, e)}
	})
	if status == "failed" {
		s.process(d.job, e)
	}
	return e
}

func (s *Server) listDeployments(w http.ResponseWriter, r *http.Request) {
	s.blocking(w, r, tableDeployments, func() (any, error) {
		list := []document{}
		for _, d := range slices.Backward(s.deployments) {
			if in(r, d.job.Namespace) {
				list = append(list, d.document())
			}
		}
		return filtered(r, list)
	})
}

// jobDeployments knows no 404.
func (s *Server) jobDeployments(w http.ResponseWriter, r *http.Request) {
	s.blocking(w, r, tableDeployments, func() (any, error) {
		list := []document{}
		for _, d := range slices.Backward(s.deployments) {
			if d.job == s.named(r) {
				list = append(list, d.document())
			}
		}
		return list, nil
	})
}

// jobDeployment answers null for none, also of an unknown job.
func (s *Server) jobDeployment(w http.ResponseWriter, r *http.Request) {
	s.blocking(w, r, tableDeployments, func() (any, error) {
		if j := s.named(r); j != nil {
			if d := s.latest(j); d != nil {
				return d.document(), nil
			}
		}
		return nil, nil
	})
}

func (s *Server) getDeployment(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.deployment(r.PathValue("id")); d != nil {
		answer(w, s.tables[tableDeployments], d.document())
		return
	}
	refuse(w, 404, "deployment not found")
}

func (s *Server) deployment(id string) *deployment {
	for _, d := range s.deployments {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// failDeployment ends a deployment; its allocations stay.
func (s *Server) failDeployment(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.deployment(r.PathValue("id"))
	switch {
	case d == nil:
		refuse(w, 500, "deployment not found")
		return
	case !d.active():
		refuse(w, 500, "can't fail terminal deployment")
		return
	}
	e := s.end(d, "failed", "Deployment marked as failed", "DeploymentStatusUpdate")
	answer(w, s.index, document{"EvalID": e.ID, "EvalCreateIndex": e.CreateIndex, "DeploymentModifyIndex": e.CreateIndex,
		"Index": e.CreateIndex, "RevertedJobVersion": nil})
}
