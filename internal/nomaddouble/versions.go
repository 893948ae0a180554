package nomaddouble

import (
	"encoding/json"
	"net/http"
)

func (s *Server) jobVersions(w http.ResponseWriter, r *http.Request) {
	s.onJob(w, r, "job versions not found", func(j *job) any {
		list := []document{}
		for _, v := range j.versions {
			list = append(list, v.document())
		}
		var diffs any
		if r.URL.Query().Get("diffs") == "true" {
			between := []document{}
			for i := 1; i < len(j.versions); i++ {
				between = append(between, difference(j.versions[i], j.versions[i-1], nil))
			}
			diffs = between
		}
		return document{"Diffs": diffs, "Versions": list, "Index": j.index, "KnownLeader": true, "LastContact": 0, "NextToken": ""}
	})
}

// revertJob registers a former version again, with the count that it had.
func (s *Server) revertJob(w http.ResponseWriter, r *http.Request) {
	var req struct {
		JobVersion          uint64
		EnforcePriorVersion *uint64
	}
	if !decode(w, r, &req) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.named(r)
	switch {
	case j == nil:
		refuse(w, 500, "job %q not found", r.PathValue("id"))
		return
	case req.JobVersion == j.version:
		refuse(w, 500, "can't revert to current version")
		return
	case req.EnforcePriorVersion != nil && *req.EnforcePriorVersion != j.version:
		refuse(w, 500, "Current job has version %d; enforcing version %d", j.version, *req.EnforcePriorVersion)
		return
	}
	for _, v := range j.versions {
		if v.version != req.JobVersion {
			continue
		}
		raw, err := json.Marshal(v.document())
		if err != nil {
			refuse(w, 500, "%v", err)
			return
		}
		again, err := readJob(raw)
		if err != nil {
			refuse(w, 500, "%v", err)
			return
		}
		e := s.register(again, j, false)
		answer(w, s.index, document{"EvalID": e.ID, "EvalCreateIndex": e.CreateIndex, "JobModifyIndex": e.JobModify,
			"Index": e.CreateIndex, "KnownLeader": false, "LastContact": 0, "NextToken": "", "Warnings": ""})
		return
	}
	refuse(w, 500, "job %q in namespace %q at version %d not found", j.ID, j.Namespace, req.JobVersion)
}

// jobStub is the job as lists have it.
func (s *Server) jobStub(j *job) document {
	return document{
		"ID": j.ID, "Name": j.doc["Name"], "ParentID": "", "Namespace": j.Namespace, "Datacenters": j.Datacenters,
		"NodePool": j.NodePool, "Type": j.Type, "Priority": j.doc["Priority"], "Periodic": j.doc["Periodic"] != nil,
		"ParameterizedJob": j.doc["ParameterizedJob"] != nil, "Stop": j.stopped, "Status": j.status, "StatusDescription": "",
		"JobSummary": s.summary(j), "Multiregion": nil, "CreateIndex": j.create, "ModifyIndex": j.modify,
		"JobModifyIndex": j.jobModify, "SubmitTime": j.submitted.UnixNano(),
	}
}

// summary counts the job's allocations by what their clients say.
func (s *Server) summary(j *job) document {
	groups := document{}
	for _, g := range j.Groups {
		counts := document{"Complete": 0, "Failed": 0, "Lost": 0, "Queued": 0, "Running": 0, "Starting": 0, "Unknown": 0}
		for _, a := range s.allocs {
			if a.job != j || a.group.Name != g.Name {
				continue
			}
			kind := map[string]string{"pending": "Starting", "running": "Running", "complete": "Complete", "failed": "Failed",
				"lost": "Lost", "unknown": "Unknown"}[a.Client]
			counts[kind] = counts[kind].(int) + 1
		}
		for _, e := range s.blocked(j) {
			counts["Queued"] = e.Queued[g.Name]
		}
		groups[g.Name] = counts
	}
	return document{"Children": document{"Dead": 0, "Pending": 0, "Running": 0}, "CreateIndex": j.create, "JobID": j.ID,
		"ModifyIndex": j.index, "Namespace": j.Namespace, "Summary": groups}
}

func (s *Server) jobSummary(w http.ResponseWriter, r *http.Request) {
	s.onJob(w, r, "job not found", func(j *job) any { return s.summary(j) })
}
