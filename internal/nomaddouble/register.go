package nomaddouble

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

// keptVersions of a job.
const keptVersions = 6

func (s *Server) listJobs(w http.ResponseWriter, r *http.Request) {
	s.blocking(w, r, tableJobs, func() (any, error) {
		stubs := []document{}
		for _, j := range s.jobs {
			if in(r, j.Namespace) && strings.HasPrefix(j.ID, r.URL.Query().Get("prefix")) {
				stubs = append(stubs, s.jobStub(j))
			}
		}
		slices.SortFunc(stubs, func(a, b document) int { return cmp.Compare(a["ID"].(string), b["ID"].(string)) })
		return filtered(r, stubs)
	})
}

// getJob blocks on the job itself where it is asked to; one that is not there
// is answered at once.
func (s *Server) getJob(w http.ResponseWriter, r *http.Request) {
	s.onJob(w, r, "job not found", func(j *job) any { return j.document() })
}

func (s *Server) registerJob(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Job            json.RawMessage
		EnforceIndex   bool
		JobModifyIndex uint64
		PreserveCounts bool
	}
	if !decode(w, r, &req) {
		return
	}
	j, err := readJob(req.Job)
	switch {
	case err != nil:
		refuse(w, 400, "%v", err)
		return
	case j.ID == "":
		refuse(w, 400, "Job ID hasn't been provided")
		return
	}
	if q := r.URL.Query().Get("namespace"); q != "" {
		j.Namespace = q
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.jobs[jobKey{j.Namespace, j.ID}]
	if req.EnforceIndex {
		if text := enforce(old, req.JobModifyIndex); text != "" {
			refuse(w, 500, "%s", text)
			return
		}
	}
	if text := joined(j.invalid()); text != "" {
		refuse(w, 500, "%s", text)
		return
	}
	e := s.register(j, old, req.PreserveCounts)
	modify := e.JobModify
	if now := s.jobs[jobKey{j.Namespace, j.ID}]; now == old { // as it was: the other index, as of a note
		modify = now.modify
	}
	answer(w, s.index, document{"EvalID": e.ID, "EvalCreateIndex": e.CreateIndex, "JobModifyIndex": modify,
		"Index": e.CreateIndex, "KnownLeader": false, "LastContact": 0, "NextToken": "", "Warnings": ""})
}

// enforce returns why a write with that index is refused, "" if it is not.
func enforce(old *job, index uint64) string {
	switch {
	case index == 0 && old != nil:
		return "Enforcing job modify index 0: job already exists"
	case index != 0 && old == nil:
		return fmt.Sprintf("Enforcing job modify index %d: job does not exist", index)
	case old != nil && index != old.jobModify:
		return fmt.Sprintf("Enforcing job modify index %d: job exists with conflicting job modify index: %d", index, old.jobModify)
	}
	return ""
}

// register puts a job, with its evaluation in the same entry, in the place of
// its former version, whose allocations and history it takes over. One that is
// as it was, its counts included, is no new version. s.mu is held.
func (s *Server) register(j, old *job, preserve bool) *evaluation {
	if old != nil && !old.stopped && j.sameAs(old) {
		return s.evaluate(old, "job-register")
	}
	if preserve && old != nil {
		for _, g := range j.Groups {
			if was := old.group(g.Name); was != nil {
				g.Count = was.Count
			}
		}
	}
	e := s.newEvaluation(j, "job-register")
	s.writeLines([]string{tableJobs, tableEvals}, func(index uint64) [][]event {
		j.create, j.status = index, "pending"
		if old != nil {
			s.succeed(j, old)
		}
		j.modify, j.jobModify, j.index, j.submitted = index, index, index, time.Now()
		j.keepVersion()
		s.jobs[jobKey{j.Namespace, j.ID}] = j
		e.JobModify, e.CreateIndex, e.Modified = index, index, index
		registered := jobEvent("JobRegistered", j)
		second := []event{evalEvent("JobRegistered", e)}
		return [][]event{{registered}, append(second, s.restate(j, index, "JobRegistered")...)}
	})
	s.process(j, e)
	return e
}

// succeed lets j take the place of old. s.mu is held.
func (s *Server) succeed(j, old *job) {
	j.create, j.version, j.scalings, j.status, j.versions = old.create, old.version+1, old.scalings, old.status, old.versions
	for _, a := range s.allocs {
		if a.job == old {
			a.job = j
		}
	}
	for _, d := range s.deployments {
		if d.job == old {
			d.job = j
		}
	}
}

// keepVersion remembers the job as it is now, and forgets the seventh.
func (j *job) keepVersion() {
	then := *j
	then.versions = nil
	then.Groups = nil
	for _, g := range j.Groups {
		copied := *g
		then.Groups = append(then.Groups, &copied)
	}
	j.versions = append([]*job{&then}, j.versions...)
	j.versions = j.versions[:min(len(j.versions), keptVersions)]
}

// sameAs compares what is registered, counts included.
func (j *job) sameAs(old *job) bool {
	a, b := j.document(), old.document()
	for _, k := range []string{"Version", "CreateIndex", "ModifyIndex", "JobModifyIndex", "SubmitTime", "Stop", "Status", "Stable"} {
		delete(a, k)
		delete(b, k)
	}
	return reflect.DeepEqual(a, b)
}

func (s *Server) stopJob(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.named(r)
	e := &evaluation{} // of a job that is not there: 200 and nothing
	if j != nil {
		e = s.deregister(j, r.URL.Query().Get("purge") == "true")
	}
	answer(w, s.index, document{"EvalID": e.ID, "EvalCreateIndex": e.CreateIndex, "JobModifyIndex": e.JobModify, "Index": e.CreateIndex,
		"KnownLeader": false, "LastContact": 0, "NextToken": "", "VolumeEvalID": "", "VolumeEvalIndex": 0})
}

// deregister stops a job, with its evaluation in the same entry; a purge forgets
// it and its allocations at once, without a word of those. s.mu is held.
func (s *Server) deregister(j *job, purge bool) *evaluation {
	e := s.newEvaluation(j, "job-deregister")
	s.writeLines([]string{tableJobs, tableEvals}, func(index uint64) [][]event {
		e.CreateIndex, e.Modified, e.JobModify, j.index = index, index, index, index
		if purge {
			gone := jobEvent("JobDeregistered", j) // as it last was
			gone.Payload["Deleted"] = true
			delete(s.jobs, jobKey{j.Namespace, j.ID})
			s.allocs = slices.DeleteFunc(s.allocs, func(a *allocation) bool {
				if a.job == j && a.Desired == "run" {
					a.Desired = "stop"
					close(a.stop)
				}
				return a.job == j
			})
			s.deployments = slices.DeleteFunc(s.deployments, func(d *deployment) bool { return d.job == j })
			j.stopped = true
			return [][]event{{gone}, {evalEvent("JobDeregistered", e)}}
		}
		j.stopped = true
		j.modify, j.jobModify = index, index
		j.version++
		j.keepVersion()
		stopped := jobEvent("JobDeregistered", j)
		second := []event{evalEvent("JobDeregistered", e)}
		return [][]event{{stopped}, append(second, s.restate(j, index, "JobDeregistered")...)}
	})
	s.process(j, e)
	if purge {
		s.unblock()
	}
	return e
}

// Purge removes a job as nomad job stop -purge does.
func (s *Server) Purge(namespace, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[jobKey{namespace, id}]; j != nil {
		s.deregister(j, true)
	}
}

func (s *Server) evaluateJob(w http.ResponseWriter, r *http.Request) {
	var req struct {
		EvalOptions struct{ ForceReschedule bool }
	}
	if !decode(w, r, &req) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.named(r)
	if j == nil {
		refuse(w, 404, "job not found")
		return
	}
	if req.EvalOptions.ForceReschedule {
		for _, a := range s.allocs {
			a.force = a.force || a.job == j && a.Client == "failed" && a.group.Reschedule
		}
	}
	e := s.evaluate(j, "job-register")
	answer(w, s.index, document{"EvalID": e.ID, "EvalCreateIndex": e.CreateIndex, "JobModifyIndex": j.jobModify, "Index": e.CreateIndex,
		"KnownLeader": false, "LastContact": 0, "NextToken": "", "Warnings": ""})
}
