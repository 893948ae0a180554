package nomaddouble

import (
	"context"
	"time"
)

// evaluation of one job.
type evaluation struct {
	ID, JobID, Namespace  string
	Status                string // pending, complete, blocked, canceled, failed
	StatusDescription     string
	TriggeredBy           string
	Previous, Blocked     string
	Node                  string              // whose change triggered it
	Failed                map[string]document // group → why
	Queued                map[string]int
	Annotations           document // what it did, by group
	Deployment            string
	JobModify             uint64
	Snapshot              uint64
	CreateIndex, Modified uint64
	created, modified     time.Time
	waitUntil             time.Time // not before then
}

func (e *evaluation) document() document {
	d := document{"ID": e.ID, "JobID": e.JobID, "Namespace": e.Namespace, "Status": e.Status, "TriggeredBy": e.TriggeredBy,
		"Type": "service", "Priority": 50, "CreateIndex": e.CreateIndex, "ModifyIndex": e.Modified,
		"CreateTime": e.created.UnixNano(), "ModifyTime": e.modified.UnixNano()}
	for k, v := range map[string]string{"StatusDescription": e.StatusDescription, "PreviousEval": e.Previous, "BlockedEval": e.Blocked,
		"NodeID": e.Node, "DeploymentID": e.Deployment} {
		if v != "" {
			d[k] = v
		}
	}
	if e.JobModify > 0 {
		d["JobModifyIndex"] = e.JobModify
	}
	if !e.waitUntil.IsZero() {
		d["WaitUntil"] = e.waitUntil.UTC()
	}
	if e.Snapshot > 0 {
		d["SnapshotIndex"] = e.Snapshot
	}
	if len(e.Failed) > 0 {
		d["FailedTGAllocs"] = e.Failed
	}
	if e.Status == "blocked" {
		d["ClassEligibility"] = document{"v1:1": true}
	}
	if e.Queued != nil {
		d["QueuedAllocations"] = e.Queued
	}
	if e.Annotations != nil {
		d["PlanAnnotations"] = document{"DesiredTGUpdates": e.Annotations, "PreemptedAllocs": nil}
	}
	return d
}

// newEvaluation of the job, not written yet. s.mu is held.
func (s *Server) newEvaluation(j *job, trigger string) *evaluation {
	now := time.Now()
	e := &evaluation{ID: newID(), JobID: j.ID, Namespace: j.Namespace, Status: "pending", TriggeredBy: trigger, created: now, modified: now}
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
	j = s.jobs[jobKey{j.Namespace, j.ID}] // a purged one may have a namesake
	if j == nil {
		return nil
	}
	status := s.status(j)
	if status == j.status {
		return nil
	}
	j.index = index
	j.status, j.modify = status, index
	s.tables[tableJobs] = index
	return []event{jobEvent(kind, j)}
}

// process hands an evaluation to the scheduler. s.mu is held.
func (s *Server) process(j *job, e *evaluation) {
	s.spawn(func(ctx context.Context) {
		if !sleep(ctx, s.delayed(func(d Delays) time.Duration { return d.Plan })) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if now := s.jobs[jobKey{j.Namespace, j.ID}]; now != nil && now.create == j.create {
			j = now // another version of it has been registered meanwhile
		}
		if e.Status != "pending" && e.Status != "blocked" {
			return
		}
		if s.faults.failEvals > 0 {
			s.faults.failEvals--
			s.fail(j, e)
			return
		}
		s.plan(j, e)
	})
}

// fail ends an evaluation without a plan, as one whose plans were all refused:
// what it was to do waits in a blocked one.
func (s *Server) fail(j *job, e *evaluation) {
	b := s.newEvaluation(j, "max-plan-attempts")
	b.Status, b.StatusDescription, b.Previous, b.JobModify = "blocked", "created due to placement conflicts", e.ID, j.jobModify
	s.write([]string{tableEvals}, func(index uint64) []event {
		b.CreateIndex, b.Modified = index, index
		return []event{evalEvent("EvaluationUpdated", b)}
	})
	s.write([]string{tableEvals}, func(index uint64) []event {
		e.Status, e.StatusDescription, e.Modified, e.modified, e.Blocked = "failed", "maximum attempts reached (5)", index, time.Now(), b.ID
		return append([]event{evalEvent("EvaluationUpdated", e)}, s.restate(j, index, "EvaluationUpdated")...)
	})
	s.spawn(func(ctx context.Context) {
		if !sleep(ctx, failedRetry) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if b.Status == "blocked" {
			s.process(j, b)
		}
	})
}

// failedRetry is how long what a failed evaluation left waits at most.
const failedRetry = time.Minute

// complete ends an evaluation. What could not be placed waits in a blocked one,
// of which a job has at most one.
func (s *Server) complete(p *step) {
	j, e, failed := p.job, p.eval, p.failed
	again := e.Status == "blocked"
	e.Failed, e.Queued, e.Snapshot = failed, p.queued, p.snapshot
	e.Annotations = document{}
	for name, u := range p.done {
		e.Annotations[name] = u.document()
	}
	e.Status, e.StatusDescription = "complete", ""
	var canceled []*evaluation
	switch {
	case len(failed) > 0 && again:
		e.Status, e.StatusDescription = "blocked", "created to place remaining allocations"
	case len(failed) > 0:
		canceled = s.cancel(s.blocked(j))
		b := s.newEvaluation(j, "queued-allocs")
		b.Status, b.StatusDescription = "blocked", "created to place remaining allocations"
		b.Previous, b.Failed, b.JobModify, b.Snapshot = e.ID, failed, j.jobModify, e.Snapshot
		e.Blocked = b.ID
		s.write([]string{tableEvals}, func(index uint64) []event {
			b.CreateIndex, b.Modified = index, index
			return []event{evalEvent("EvaluationUpdated", b)}
		})
	default:
		canceled = s.cancel(s.blocked(j))
	}
	s.write([]string{tableEvals}, func(index uint64) []event {
		e.Modified, e.modified = index, time.Now()
		events := []event{evalEvent("EvaluationUpdated", e)}
		for _, b := range canceled {
			b.Modified, b.modified = index, time.Now()
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
		e.Status, e.StatusDescription = "canceled", "evaluation \""+e.ID+"\" is obsolete"
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
