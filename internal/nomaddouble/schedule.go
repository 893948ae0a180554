package nomaddouble

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// newEvaluation of the job, not written yet. s.mu is held.
func (s *Server) newEvaluation(j *job, trigger string) *evaluation {
	e := &evaluation{ID: newID(), JobID: j.ID, Namespace: j.Namespace, Status: "pending", TriggeredBy: trigger, created: time.Now()}
	s.evals = append(s.evals, e)
	return e
}

// evaluate writes an evaluation of the job in an entry of its own and lets the
// scheduler process it. s.mu is held.
func (s *Server) evaluate(j *job, trigger string) *evaluation {
	e := s.newEvaluation(j, trigger)
	s.write([]string{tableEvals}, func(index uint64) []event {
		e.JobModify, e.CreateIndex, e.Modified = j.jobModify, index, index
		return append([]event{evalEvent("EvaluationUpdated", e)}, s.restate(j, index, "EvaluationUpdated")...)
	})
	s.process(j, e)
	return e
}

// restate sets the job's status anew and returns the event of its change, if
// it is one. s.mu is held, in an entry being written.
func (s *Server) restate(j *job, index uint64, kind string) []event {
	j.index = index
	status := s.status(j)
	if purged := s.jobs[jobKey{j.Namespace, j.ID}] != j; purged || status == j.status {
		return nil
	}
	j.status, j.modify = status, index
	s.tables[tableJobs] = index
	return []event{jobEvent(kind, j)}
}

// process hands an evaluation to the scheduler. s.mu is held.
func (s *Server) process(j *job, e *evaluation) {
	s.spawn(func(ctx context.Context) {
		if !sleep(ctx, s.delays.Plan) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if e.Status == "pending" || e.Status == "blocked" {
			s.plan(j, e)
		}
	})
}

// plan places what is missing and stops what is too many. s.mu is held.
func (s *Server) plan(j *job, e *evaluation) {
	var (
		changed   []*allocation
		failed    = make(map[string]document)
		queued    = make(map[string]int)
		remaining int
	)
	for _, g := range j.Groups {
		want := g.Count
		if j.stopped {
			want = 0
		}
		remaining += want
		live := s.wanted(j, g)
		queued[g.Name] = 0
		for len(live) > want { // the highest first, blind to health
			a := live[len(live)-1]
			live = live[:len(live)-1]
			s.tellToStop(a, "alloc not needed due to job update")
			changed = append(changed, a)
		}
		for _, a := range live {
			if !s.due(a) {
				continue
			}
			if again, why := s.place(j, g, e, a.Index); why == nil {
				a.Next = again.ID
				s.tellToStop(a, "alloc was rescheduled because it failed")
				changed = append(changed, a, again)
			} else {
				failed[g.Name] = why
				queued[g.Name]++
			}
		}
		for len(live) < want {
			a, why := s.place(j, g, e, lowestFree(live))
			if why != nil {
				failed[g.Name] = why
				queued[g.Name] += want - len(live)
				break
			}
			changed = append(changed, a)
			live = append(live, a)
			slices.SortFunc(live, byIndex)
		}
	}
	s.writePlan(j, e, changed)
	s.complete(j, e, failed, queued)
	for _, g := range j.Groups {
		if len(changed) > 0 && remaining > 0 && g.MaxParallel > 0 && !j.stopped {
			j.deploymentUntil = time.Now().Add(s.delays.Deployment)
		}
	}
	for _, a := range changed {
		if a.Desired == "run" {
			s.spawn(func(ctx context.Context) { s.live(ctx, a) })
		}
	}
}

// wanted returns the group's allocations that are to run, by index; failed
// ones hold theirs until they are replaced.
func (s *Server) wanted(j *job, g *group) []*allocation {
	var live []*allocation
	for _, a := range s.allocs {
		if a.job.ID == j.ID && a.job.Namespace == j.Namespace && a.group.Name == g.Name &&
			a.Desired == "run" && a.Client != "complete" && a.Client != "lost" {
			live = append(live, a)
		}
	}
	slices.SortFunc(live, byIndex)
	return live
}

func byIndex(a, b *allocation) int { return cmp.Compare(a.Index, b.Index) }

func lowestFree(live []*allocation) int {
	for i, a := range live {
		if a.Index != i {
			return i
		}
	}
	return len(live)
}

// due reports whether a failed allocation is to be replaced now.
func (s *Server) due(a *allocation) bool {
	return a.Client == "failed" && a.group.Reschedule && time.Since(a.modified) >= a.group.RescheduleDelay
}

func (s *Server) tellToStop(a *allocation, why string) {
	a.Desired, a.DesiredWhy = "stop", why
	close(a.stop)
}

// place finds a node for one more allocation; why is the reason if none has
// room.
func (s *Server) place(j *job, g *group, e *evaluation, index int) (a *allocation, why document) {
	var evaluated, exhausted, filtered int
	available := make(map[string]int)
	for _, n := range s.nodes {
		if n.ineligible || !n.accepts(j) {
			continue
		}
		evaluated++
		available[n.Datacenter]++
		shares, has, free := n.reserve(g, s.devicesInUse(n))
		switch {
		case !has:
			filtered++
			continue
		case !free:
			exhausted++
			continue
		}
		now := time.Now()
		a = &allocation{ID: newID(), job: j, group: g, node: n, Index: index, EvalID: e.ID, Desired: "run", Client: "pending",
			Ports: s.ports(g), Devices: shares, created: now, modified: now, stop: make(chan struct{}), fail: make(chan exit, 1)}
		s.allocs = append(s.allocs, a)
		return a, nil
	}
	why = document{"NodesEvaluated": evaluated, "NodesFiltered": filtered, "NodesExhausted": exhausted, "NodesInPool": evaluated,
		"NodePool": j.NodePool, "NodesAvailable": available, "ClassFiltered": nil, "ClassExhausted": nil, "QuotaExhausted": nil,
		"ConstraintFiltered": nil, "DimensionExhausted": nil, "CoalescedFailures": 0, "ResourcesExhausted": nil, "Scores": nil, "ScoreMetaData": nil}
	if filtered > 0 {
		why["ConstraintFiltered"] = map[string]int{"missing devices": filtered}
	}
	if exhausted > 0 {
		why["DimensionExhausted"] = map[string]int{"devices: no devices match request": exhausted}
	}
	return nil, why
}

// devicesInUse returns the devices of a node that allocations hold. They keep
// them until their client has reported the end.
func (s *Server) devicesInUse(n *node) map[string]bool {
	used := make(map[string]bool)
	for _, a := range s.allocs {
		if a.node != n || a.gone {
			continue
		}
		for _, shares := range a.Devices {
			for _, g := range shares {
				for _, id := range g.IDs {
					used[id] = true
				}
			}
		}
	}
	return used
}

func (s *Server) writePlan(j *job, e *evaluation, changed []*allocation) {
	if len(changed) == 0 {
		return
	}
	s.write([]string{tableAllocs, tableEvals}, func(index uint64) []event {
		events := []event{evalEvent("PlanResult", e)}
		for _, a := range changed {
			if a.CreateIndex == 0 {
				a.CreateIndex = index
			}
			a.ModifyIndex = index
			events = append(events, allocEvent("PlanResult", a))
		}
		return append(events, s.restate(j, index, "PlanResult")...)
	})
}

// complete ends an evaluation. What could not be placed waits in a blocked one,
// of which a job has at most one.
func (s *Server) complete(j *job, e *evaluation, failed map[string]document, queued map[string]int) {
	again := e.Status == "blocked"
	e.Failed, e.Queued = failed, queued
	e.Status = "complete"
	var canceled []*evaluation
	switch {
	case len(failed) > 0 && again:
		e.Status = "blocked"
	case len(failed) > 0:
		canceled = s.cancel(s.blocked(j))
		b := s.newEvaluation(j, "queued-allocs")
		b.Status, b.Previous, b.Failed, b.JobModify = "blocked", e.ID, failed, j.jobModify
		e.Blocked = b.ID
		s.write([]string{tableEvals}, func(index uint64) []event {
			b.CreateIndex, b.Modified = index, index
			return []event{evalEvent("EvaluationUpdated", b)}
		})
	default:
		canceled = s.cancel(s.blocked(j))
	}
	s.write([]string{tableEvals}, func(index uint64) []event {
		e.Modified = index
		events := []event{evalEvent("EvaluationUpdated", e)}
		for _, b := range canceled {
			b.Modified = index
			events = append(events, evalEvent("EvaluationUpdated", b))
		}
		return append(events, s.restate(j, index, "EvaluationUpdated")...)
	})
}

// blocked returns the job's evaluations that wait for room.
func (s *Server) blocked(j *job) []*evaluation {
	var waiting []*evaluation
	for _, e := range s.evals {
		if e.JobID == j.ID && e.Namespace == j.Namespace && e.Status == "blocked" {
			waiting = append(waiting, e)
		}
	}
	return waiting
}

func (s *Server) cancel(waiting []*evaluation) []*evaluation {
	for _, e := range waiting {
		e.Status = "canceled"
	}
	return waiting
}

// unblock lets everything that waits for room be tried again. s.mu is held.
func (s *Server) unblock() {
	for _, j := range s.jobs {
		for _, e := range s.blocked(j) {
			s.process(j, e)
		}
	}
}

// status of a job: dead already while its last allocation is still stopping.
func (s *Server) status(j *job) string {
	for _, a := range s.allocs {
		if a.job == j && a.Desired == "run" && !a.terminal() {
			return "running"
		}
	}
	for _, e := range s.evals {
		if e.JobID == j.ID && e.Namespace == j.Namespace && (e.Status == "pending" || e.Status == "blocked") {
			return "pending"
		}
	}
	return "dead"
}

// scale sets the count of a group. s.mu is held.
func (s *Server) scale(j *job, g *group, count int, message string, meta document) (answer document) {
	previous := g.Count
	s.write([]string{tableJobs}, func(index uint64) []event {
		g.Count = count
		j.version++
		j.modify, j.jobModify, j.index = index, index, index
		j.submitted = time.Now()
		return []event{jobEvent("JobRegistered", j)}
	})
	e := s.evaluate(j, "job-scaling")
	index := s.note(j, g, document{"Count": count, "PreviousCount": previous, "Error": false, "EvalID": e.ID, "Message": message, "Meta": meta})
	return document{"EvalID": e.ID, "EvalCreateIndex": e.CreateIndex, "JobModifyIndex": j.jobModify, "Index": index,
		"KnownLeader": true, "LastContact": 0, "NextToken": "", "Warnings": ""}
}

// note writes a scaling event; the last twenty of a group are kept, newest
// first. No stream event tells of it.
func (s *Server) note(j *job, g *group, scaling document) uint64 {
	return s.write(nil, func(index uint64) []event {
		scaling["CreateIndex"], scaling["Time"] = index, time.Now().UnixNano()
		events := append([]document{scaling}, j.scalings[g.Name]...)
		j.scalings[g.Name] = events[:min(len(events), 20)]
		return nil
	})
}

// refuseScale returns status and text of why a scale is not done, 0 if it is.
func (s *Server) refuseScale(j *job, g *group, count *int, target string, modifyIndex uint64) (int, string) {
	switch {
	case target == "":
		return 400, "missing task group name for scaling action"
	case g == nil:
		return 400, fmt.Sprintf("task group %q specified for scaling does not exist in job", target)
	case count == nil:
		return 0, ""
	case *count < 0:
		return 400, "scaling action count can't be negative"
	case modifyIndex != 0 && modifyIndex != j.jobModify:
		return 500, fmt.Sprintf("Enforcing job modify index %d: job exists with conflicting job modify index: %d", modifyIndex, j.jobModify)
	case g.Scaling != nil && *count < g.Scaling.Min:
		return 400, fmt.Sprintf("group count was less than scaling policy minimum: %d < %d", *count, g.Scaling.Min)
	case g.Scaling != nil && g.Scaling.Max > 0 && *count > g.Scaling.Max:
		return 400, fmt.Sprintf("group count was greater than scaling policy maximum: %d > %d", *count, g.Scaling.Max)
	case time.Now().Before(j.deploymentUntil):
		return 400, "job scaling blocked due to active deployment"
	}
	return 0, ""
}
