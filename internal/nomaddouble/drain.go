package nomaddouble

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// drain of a node: its allocations leave it, one of a group at a time, all that
// are left at the deadline.
type drain struct {
	Deadline         time.Duration // negative: at once
	IgnoreSystemJobs bool
	started          time.Time
	over             chan struct{} // closed when it is called off
}

func (d *drain) document() document {
	doc := document{"Deadline": d.Deadline, "IgnoreSystemJobs": d.IgnoreSystemJobs, "StartedAt": d.started.UTC(), "ForceDeadline": time.Time{}}
	if d.Deadline > 0 {
		doc["ForceDeadline"] = d.started.Add(d.Deadline).UTC()
	}
	return doc
}

func (s *Server) putDrain(w http.ResponseWriter, r *http.Request) {
	var req struct {
		DrainSpec *struct {
			Deadline         time.Duration
			IgnoreSystemJobs bool
		}
		MarkEligible bool
		Meta         map[string]string
	}
	if !decode(w, r, &req) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(r.PathValue("id"))
	if n == nil {
		refuse(w, 500, "node not found")
		return
	}
	if n.drain != nil {
		close(n.drain.over)
		n.drain = nil
	}
	if req.DrainSpec == nil {
		index := s.endDrain(n, "canceled", req.MarkEligible)
		s.unblock()
		answer(w, index, document{"EvalIDs": nil, "EvalCreateIndex": 0, "NodeModifyIndex": index, "Index": index})
		return
	}
	d := &drain{Deadline: req.DrainSpec.Deadline, IgnoreSystemJobs: req.DrainSpec.IgnoreSystemJobs, started: time.Now(), over: make(chan struct{})}
	index := s.write([]string{tableNodes}, func(index uint64) []event {
		at := d.started.UTC().Truncate(time.Second)
		n.drain, n.ineligible, n.modify = d, true, index
		n.lastDrain = document{"AccessorID": "token:acls-disabled", "Meta": nil, "StartedAt": at, "UpdatedAt": at, "Status": "draining"}
		if req.Meta != nil {
			n.lastDrain["Meta"] = req.Meta
		}
		n.note("Drain", "Node drain strategy set", index)
		return []event{nodeEvent("NodeDrain", n)}
	})
	s.spawn(func(ctx context.Context) { s.empty(ctx, n, d) })
	answer(w, index, document{"EvalIDs": nil, "EvalCreateIndex": 0, "NodeModifyIndex": index, "Index": index})
}

// endDrain writes that a node is not drained any more. s.mu is held.
func (s *Server) endDrain(n *node, status string, eligible bool) uint64 {
	return s.write([]string{tableNodes}, func(index uint64) []event {
		message := "Node drain disabled"
		if status == "complete" {
			message = "Node drain complete"
		}
		n.drain, n.modify = nil, index
		if eligible {
			n.ineligible = false
		}
		if n.lastDrain != nil && n.lastDrain["Status"] == "draining" {
			last := document{}
			for k, v := range n.lastDrain {
				last[k] = v
			}
			last["Status"], last["UpdatedAt"] = status, time.Now().UTC().Truncate(time.Second)
			n.lastDrain = last
		}
		n.note("Drain", message, index)
		return []event{nodeEvent("NodeDrain", n)}
	})
}

// empty moves the allocations away from a node that is being drained.
func (s *Server) empty(ctx context.Context, n *node, d *drain) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-d.over:
			cancel()
		case <-ctx.Done():
		}
	}()
	every := s.delayed(func(d Delays) time.Duration { return d.Drain })
	for {
		if !sleep(ctx, every) {
			return
		}
		s.mu.Lock()
		var left []*allocation
		for _, a := range s.allocs {
			if a.node == n && !a.terminal() {
				left = append(left, a)
			}
		}
		if len(left) == 0 {
			s.endDrain(n, "complete", false)
			s.mu.Unlock()
			return
		}
		all := d.Deadline < 0 || (d.Deadline > 0 && time.Since(d.started) >= d.Deadline)
		next := make(map[*job][]*allocation)
		for _, a := range left {
			if a.Desired != "run" || a.migrate {
				continue
			}
			if all || s.moving(a.job, a.group) < a.group.Migrate {
				a.migrate = true
				next[a.job] = append(next[a.job], a)
			}
		}
		for j, allocs := range next {
			s.writeMigrate(j, allocs)
		}
		s.mu.Unlock()
	}
}

// moving counts the allocations of a group that are on their way to another
// node or not yet healthy there.
func (s *Server) moving(j *job, g *group) (n int) {
	for _, a := range s.allocs {
		if a.job != j || a.group.Name != g.Name {
			continue
		}
		if (a.migrate && a.Desired == "run") || (a.Desired == "run" && !a.terminal() && a.healthy == nil) {
			n++
		}
	}
	return n
}

// writeMigrate asks the scheduler to move allocations. s.mu is held.
func (s *Server) writeMigrate(j *job, allocs []*allocation) {
	e := s.newEvaluation(j, "node-drain")
	s.write([]string{tableAllocs, tableEvals}, func(index uint64) []event {
		e.CreateIndex, e.Modified = index, index
		var events []event
		for _, a := range allocs {
			a.ModifyIndex, a.allocModify, j.index = index, index, index
			events = append(events, allocEvent("AllocationUpdateDesiredStatus", a))
		}
		return append(events, evalEvent("AllocationUpdateDesiredStatus", e))
	})
	s.process(j, e)
}

// DrainNode drains a node, by name, as nomad node drain does; a negative
// deadline moves everything at once.
func (s *Server) DrainNode(name string, deadline time.Duration) error {
	return s.onNode(name, "drain", document{"DrainSpec": document{"Deadline": deadline}})
}

// UndrainNode calls a drain off and makes the node eligible again.
func (s *Server) UndrainNode(name string) error {
	return s.onNode(name, "drain", document{"DrainSpec": nil, "MarkEligible": true})
}

// onNode puts a document to one of a node's routes.
func (s *Server) onNode(name, route string, d document) error {
	s.mu.Lock()
	n := s.node(name)
	s.mu.Unlock()
	if n == nil {
		return fmt.Errorf("nomaddouble: no node %s", name)
	}
	return s.put("/v1/node/"+n.ID+"/"+route, d)
}
