package nomaddouble

import (
	"fmt"
	"net/http"
	"time"
)

func (s *Server) getScale(w http.ResponseWriter, r *http.Request) {
	s.onJob(w, r, "job not found", func(j *job) any {
		groups := document{}
		for _, g := range j.Groups {
			var placed, running, healthy int
			for _, a := range s.wanted(j, g) {
				placed++
				if a.Client == "running" {
					running++
				}
				if a.deployment != "" && a.healthy != nil {
					healthy++
				}
			}
			var events any // null for none
			if len(j.scalings[g.Name]) > 0 {
				events = j.scalings[g.Name]
			}
			groups[g.Name] = document{"Desired": g.Count, "Placed": placed, "Running": running, "Healthy": healthy, "Unhealthy": 0, "Events": events}
		}
		return document{"JobID": j.ID, "Namespace": j.Namespace, "JobCreateIndex": j.create, "JobModifyIndex": j.modify,
			"JobStopped": j.stopped, "TaskGroups": groups}
	})
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
	if !decode(w, r, &req) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.named(r)
	switch {
	case req.Target["Job"] != "" && req.Target["Job"] != r.PathValue("id"):
		refuse(w, 400, "job ID in payload did not match URL")
		return
	case req.Target["Namespace"] != "" && req.Target["Namespace"] != namespace(r):
		refuse(w, 400, "namespace in payload did not match header")
		return
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

// scale sets the count of a group. s.mu is held.
func (s *Server) scale(j *job, g *group, count int, message string, meta document) (answer document) {
	previous := g.Count
	s.write([]string{tableJobs}, func(index uint64) []event {
		g.Count = count
		j.version++
		j.stable = false
		j.modify, j.jobModify, j.index = index, index, index
		j.submitted = time.Now()
		j.keepVersion()
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
	case j.Type == "system" && *count > 1:
		return 400, "jobs of type \"system\" can only be scaled between 0 and 1"
	case s.latest(j) != nil && s.latest(j).active():
		return 400, "job scaling blocked due to active deployment"
	}
	return 0, ""
}
