package nomaddouble

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /v1/jobs":                  s.listJobs,
		"PUT /v1/jobs":                  s.registerJob,
		"PUT /v1/jobs/parse":            s.parseJob,
		"PUT /v1/validate/job":          s.validateJob,
		"GET /v1/job/{id}":              s.getJob,
		"DELETE /v1/job/{id}":           s.stopJob,
		"PUT /v1/job/{id}/plan":         s.planJob,
		"GET /v1/job/{id}/scale":        s.getScale,
		"PUT /v1/job/{id}/scale":        s.putScale,
		"GET /v1/job/{id}/evaluations":  s.jobEvaluations,
		"GET /v1/job/{id}/allocations":  s.jobAllocations,
		"GET /v1/allocations":           s.listAllocations,
		"GET /v1/allocation/{id}":       s.getAllocation,
		"GET /v1/evaluations":           s.listEvaluations,
		"GET /v1/evaluation/{id}":       s.getEvaluation,
		"GET /v1/nodes":                 s.listNodes,
		"GET /v1/node/{id}":             s.getNode,
		"PUT /v1/node/{id}/eligibility": s.putEligibility,
		"GET /v1/event/stream":          s.stream,
	} {
		mux.HandleFunc(pattern, h)
		if method, path, _ := cutMethod(pattern); method == http.MethodPut {
			mux.HandleFunc("POST "+path, h)
		}
	}
	mux.HandleFunc("/v1/job/{id}/scale", func(w http.ResponseWriter, _ *http.Request) { refuse(w, 405, "Invalid method") })
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, 404, "") })
	return mux
}

func cutMethod(pattern string) (method, path string, ok bool) {
	for i := range pattern {
		if pattern[i] == ' ' {
			return pattern[:i], pattern[i+1:], true
		}
	}
	return "", pattern, false
}

func namespace(r *http.Request) string { return cmp.Or(r.URL.Query().Get("namespace"), "default") }

// in reports whether a thing of namespace ns belongs to what r asks for.
func in(r *http.Request, ns string) bool { return namespace(r) == "*" || namespace(r) == ns }

// named returns the job of the path; s.mu is held.
func (s *Server) named(r *http.Request) *job { return s.jobs[jobKey{namespace(r), r.PathValue("id")}] }

func (s *Server) listJobs(w http.ResponseWriter, r *http.Request) {
	s.blocking(w, r, tableJobs, func() (any, error) {
		stubs := []document{}
		for _, j := range s.jobs {
			if in(r, j.Namespace) {
				stubs = append(stubs, j.stub())
			}
		}
		slices.SortFunc(stubs, func(a, b document) int { return cmp.Compare(a["ID"].(string), b["ID"].(string)) })
		return filtered(r, stubs)
	})
}

func (s *Server) registerJob(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Job            json.RawMessage
		EnforceIndex   bool
		JobModifyIndex uint64
		PreserveCounts bool
	}
	if err := json.Unmarshal(body(r), &req); err != nil {
		refuse(w, 400, "%v", err)
		return
	}
	j, err := readJob(req.Job)
	switch {
	case err != nil:
		refuse(w, 400, "%v", err)
		return
	case j.ID == "":
		refuse(w, 400, "Job ID is invalid")
		return
	}
	if q := r.URL.Query().Get("namespace"); q != "" {
		j.Namespace = q
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.jobs[jobKey{j.Namespace, j.ID}]
	if req.EnforceIndex {
		switch {
		case req.JobModifyIndex == 0 && old != nil:
			refuse(w, 500, "Enforcing job modify index 0: job already exists")
			return
		case req.JobModifyIndex != 0 && old == nil:
			refuse(w, 500, "Enforcing job modify index %d: job does not exist", req.JobModifyIndex)
			return
		case old != nil && req.JobModifyIndex != old.jobModify:
			refuse(w, 500, "Enforcing job modify index %d: job exists with conflicting job modify index: %d", req.JobModifyIndex, old.jobModify)
			return
		}
	}
	if req.PreserveCounts && old != nil {
		for _, g := range j.Groups {
			if was := old.group(g.Name); was != nil {
				g.Count = was.Count
			}
		}
	}
	if text := j.invalid(); text != "" {
		refuse(w, 500, "%s", text)
		return
	}
	e := s.register(j, old)
	answer(w, s.index, document{"EvalID": e.ID, "EvalCreateIndex": e.CreateIndex, "JobModifyIndex": j.jobModify,
		"Index": s.index, "KnownLeader": false, "LastContact": 0, "NextToken": "", "Warnings": ""})
}

// register puts a job, with its evaluation in the same entry, in the place of
// its former version, whose allocations and history it takes over. s.mu is held.
func (s *Server) register(j, old *job) *evaluation {
	e := s.newEvaluation(j, "job-register")
	s.write([]string{tableJobs, tableEvals}, func(index uint64) []event {
		j.create, j.status = index, "pending"
		if old != nil {
			j.create, j.version, j.scalings, j.status = old.create, old.version+1, old.scalings, old.status
			for _, a := range s.allocs {
				if a.job == old {
					a.job = j
				}
			}
		}
		j.modify, j.jobModify, j.index, j.submitted = index, index, index, time.Now()
		e.JobModify, e.CreateIndex, e.Modified = index, index, index
		s.jobs[jobKey{j.Namespace, j.ID}] = j
		return []event{jobEvent("JobRegistered", j), evalEvent("JobRegistered", e)}
	})
	s.process(j, e)
	return e
}

func (s *Server) validateJob(w http.ResponseWriter, r *http.Request) {
	var req struct{ Job json.RawMessage }
	if err := json.Unmarshal(body(r), &req); err != nil {
		refuse(w, 400, "%v", err)
		return
	}
	j, err := readJob(req.Job)
	if err != nil {
		refuse(w, 400, "%v", err)
		return
	}
	var problems []string
	text := j.invalid()
	if text != "" {
		problems = []string{text}
	}
	answer(w, 0, document{"DriverConfigValidated": true, "Error": text, "ValidationErrors": problems, "Warnings": ""})
}

func (s *Server) planJob(w http.ResponseWriter, r *http.Request) {
	var req struct{ Job json.RawMessage }
	if err := json.Unmarshal(body(r), &req); err != nil {
		refuse(w, 400, "%v", err)
		return
	}
	j, err := readJob(req.Job)
	if err != nil {
		refuse(w, 400, "%v", err)
		return
	}
	if text := j.invalid(); text != "" {
		refuse(w, 500, "%s", text)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.jobs[jobKey{j.Namespace, j.ID}]
	kind, modify := "Added", uint64(0)
	if old != nil {
		kind, modify = "Edited", old.jobModify
	}
	updates := document{}
	for _, g := range j.Groups {
		have := 0
		if old != nil {
			have = len(s.wanted(old, g))
		}
		updates[g.Name] = document{"Place": max(g.Count-have, 0), "Stop": max(have-g.Count, 0), "Ignore": min(g.Count, have),
			"Canary": 0, "DestructiveUpdate": 0, "InPlaceUpdate": 0, "Migrate": 0, "Preemptions": 0}
	}
	answer(w, s.index, document{"Annotations": document{"DesiredTGUpdates": updates, "PreemptedAllocs": nil}, "CreatedEvals": nil,
		"Diff": document{"ID": j.ID, "Type": kind, "Fields": nil, "Objects": nil, "TaskGroups": nil}, "FailedTGAllocs": nil,
		"Index": modify, "JobModifyIndex": modify, "NextPeriodicLaunch": nil, "Warnings": ""})
}

func (s *Server) getJob(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.named(r)
	if j == nil {
		refuse(w, 404, "job not found")
		return
	}
	answer(w, j.index, j.document())
}

func (s *Server) stopJob(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.named(r)
	if j == nil {
		refuse(w, 404, "job not found")
		return
	}
	e := s.deregister(j, r.URL.Query().Get("purge") == "true")
	answer(w, s.index, document{"EvalID": e.ID, "EvalCreateIndex": e.CreateIndex, "JobModifyIndex": j.jobModify, "Index": s.index,
		"KnownLeader": false, "LastContact": 0, "NextToken": "", "VolumeEvalID": "", "VolumeEvalIndex": 0})
}

// deregister stops a job, with its evaluation in the same entry; a purge forgets
// it and its finished allocations at once. s.mu is held.
func (s *Server) deregister(j *job, purge bool) *evaluation {
	e := s.newEvaluation(j, "job-deregister")
	s.write([]string{tableJobs, tableEvals}, func(index uint64) []event {
		e.CreateIndex, e.Modified, j.index = index, index, index
		gone := jobEvent("JobDeregistered", j)
		if purge {
			gone.Payload["Deleted"] = true // the job as it last was
			delete(s.jobs, jobKey{j.Namespace, j.ID})
			s.allocs = slices.DeleteFunc(s.allocs, func(a *allocation) bool { return a.job == j && a.gone })
		}
		j.stopped = true
		if !purge {
			j.modify, j.jobModify = index, index
			j.version++
			gone = jobEvent("JobDeregistered", j)
		}
		e.JobModify = j.jobModify
		return []event{gone, evalEvent("JobDeregistered", e)}
	})
	s.process(j, e)
	return e
}

func (s *Server) getScale(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.named(r)
	if j == nil {
		refuse(w, 404, "job not found")
		return
	}
	groups := document{}
	for _, g := range j.Groups {
		var placed, running int
		for _, a := range s.wanted(j, g) {
			placed++
			if a.Client == "running" {
				running++
			}
		}
		groups[g.Name] = document{"Desired": g.Count, "Placed": placed, "Running": running, "Healthy": 0, "Unhealthy": 0, "Events": j.scalings[g.Name]}
	}
	answer(w, j.index, document{"JobID": j.ID, "Namespace": j.Namespace, "JobCreateIndex": j.create, "JobModifyIndex": j.modify,
		"JobStopped": j.stopped, "TaskGroups": groups})
}

func (s *Server) putScale(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Count          *int
		Target         map[string]string
		Message        string
		Error          bool
		Meta           document
		JobModifyIndex uint64
	}
	if err := json.Unmarshal(body(r), &req); err != nil {
		refuse(w, 400, "%v", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.named(r)
	switch {
	case req.Count != nil && req.Error:
		refuse(w, 400, "scaling action should not contain count if error is true")
		return
	case j == nil:
		refuse(w, 404, "job %q not found", r.PathValue("id"))
		return
	}
	g := j.group(req.Target["Group"])
	if status, text := s.refuseScale(j, g, req.Count, req.Target["Group"], req.JobModifyIndex); status != 0 {
		refuse(w, status, "%s", text)
		return
	}
	if req.Count == nil { // a note only
		s.note(j, g, document{"Count": nil, "PreviousCount": g.Count, "Error": req.Error, "EvalID": nil, "Message": req.Message, "Meta": req.Meta})
		answer(w, s.index, document{"EvalID": "", "EvalCreateIndex": 0, "JobModifyIndex": j.modify, "Index": s.index,
			"KnownLeader": true, "LastContact": 0, "NextToken": "", "Warnings": ""})
		return
	}
	done := s.scale(j, g, *req.Count, req.Message, req.Meta)
	answer(w, s.index, done)
}
