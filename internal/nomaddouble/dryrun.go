package nomaddouble

import (
	"encoding/json"
	"net/http"
)

// planJob says what registering a job would do, and does not do it.
func (s *Server) planJob(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Job            json.RawMessage
		Diff           bool
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
	case j.ID != r.PathValue("id"):
		refuse(w, 400, "Job ID does not match")
		return
	}
	if q := r.URL.Query().Get("namespace"); q != "" {
		j.Namespace = q
	}
	if text := joined(j.invalid()); text != "" {
		refuse(w, 500, "%s", text)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.jobs[jobKey{j.Namespace, j.ID}]
	modify := uint64(0)
	if old != nil {
		modify = old.jobModify
	}
	does, told := document{}, map[string]document{}
	var failed document
	for _, g := range j.Groups {
		u, why := s.foresee(j, old, g)
		does[g.Name] = u.document()
		told[g.Name] = u.words()
		if why != nil {
			if failed == nil {
				failed = document{}
			}
			failed[g.Name] = why
		}
	}
	var diff any
	if req.Diff {
		diff = difference(old, j, told)
	}
	var created any // the evaluation that would wait for room
	if failed != nil {
		b := s.newEvaluation(j, "queued-allocs")
		s.evals = s.evals[:len(s.evals)-1] // it is nobody's
		b.Status, b.StatusDescription, b.Previous, b.JobModify = "blocked", "created to place remaining allocations", newID(), modify+1
		d := b.document()
		d["FailedTGAllocs"] = failed
		delete(d, "CreateIndex")
		delete(d, "ModifyIndex")
		delete(d, "SnapshotIndex")
		created = []document{d}
	}
	answer(w, s.index, document{"Annotations": document{"DesiredTGUpdates": does, "PreemptedAllocs": nil}, "CreatedEvals": created,
		"Diff": diff, "FailedTGAllocs": orNil(failed), "Index": modify, "JobModifyIndex": modify, "NextPeriodicLaunch": nil, "Warnings": ""})
}

func orNil(d document) any {
	if d == nil {
		return nil
	}
	return d
}

// updates counts what an evaluation does to a group.
type updates struct{ place, stop, migrate, inPlace, destructive, ignore int }

func (u updates) document() document {
	return document{"Canary": 0, "DestructiveUpdate": u.destructive, "Disconnect": 0, "Ignore": u.ignore, "InPlaceUpdate": u.inPlace,
		"Migrate": u.migrate, "Place": u.place, "Preemptions": 0, "Reconnect": 0, "RescheduleLater": 0, "RescheduleNow": 0, "Stop": u.stop}
}

// words are the counts as a plan's difference has them, without the zeros.
func (u updates) words() document {
	d := document{}
	for k, n := range map[string]int{"create": u.place, "destroy": u.stop, "migrate": u.migrate, "in-place update": u.inPlace,
		"create/destroy update": u.destructive, "ignore": u.ignore} {
		if n > 0 {
			d[k] = n
		}
	}
	return d
}

// foresee says what registering j would do to a group, and why a part of it
// would find no room. s.mu is held.
func (s *Server) foresee(j, old *job, g *group) (updates, document) {
	var u updates
	var live []*allocation
	if old != nil {
		live = s.wanted(old, g)
	}
	u.stop = max(len(live)-g.Count, 0)
	same := old != nil && j.sameAs(old)
	for _, a := range live[:min(len(live), g.Count)] {
		switch {
		case same:
			u.ignore++
		case g.replaces(a.group):
			u.destructive++
		default:
			u.inPlace++
		}
	}
	u.place = max(g.Count-len(live), 0)
	var why document
	r := s.newRoom(j)
	for i := range u.place {
		if _, lacking := r.find(g, nil); lacking != nil {
			why = lacking
			why["CoalescedFailures"] = u.place - i - 1
			break
		}
	}
	return u, why
}
