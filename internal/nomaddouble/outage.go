package nomaddouble

import (
	"context"
	"fmt"
	"time"
)

// LoseNode cuts the client of a node, by name, off from the servers. Its tasks
// go on. After Delays.NodeLost the node is down and its allocations are lost, or
// disconnected and unknown where their group has a disconnect block.
func (s *Server) LoseNode(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(name)
	switch {
	case n == nil:
		return fmt.Errorf("nomaddouble: no node %s", name)
	case n.silent:
		return nil
	}
	n.silent, n.lost = true, make(chan struct{})
	back := n.lost
	s.spawn(func(ctx context.Context) {
		timer := time.NewTimer(s.delayed(func(d Delays) time.Duration { return d.NodeLost }))
		defer timer.Stop()
		select {
		case <-timer.C:
			s.mu.Lock()
			defer s.mu.Unlock()
			if n.silent && n.lost == back {
				s.nodeLost(n)
			}
		case <-back:
		case <-ctx.Done():
		}
	})
	return nil
}

// nodeLost writes that a node has missed its heartbeats. s.mu is held.
func (s *Server) nodeLost(n *node) {
	status, wait := statusDown, time.Duration(0)
	for _, a := range s.allocs {
		if a.node == n && a.Desired == "run" && !a.terminal() && a.group.LostAfter > 0 {
			status, wait = statusDisconnected, max(wait, a.group.LostAfter)
		}
	}
	s.setStatus(n, status, "Node heartbeat missed")
	s.evaluateNode(n)
	if status == statusDown {
		return
	}
	back := n.lost
	s.spawn(func(ctx context.Context) { // what is unknown is lost in the end
		timer := time.NewTimer(wait + time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-back:
			return
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, j := range s.on(n) {
			s.evaluate(j, "max-disconnect-timeout")
		}
		s.setStatus(n, statusDown, "Node heartbeat missed")
	})
}

// setStatus writes a node's status. s.mu is held.
func (s *Server) setStatus(n *node, status, message string) {
	s.write([]string{tableNodes}, func(index uint64) []event {
		n.status, n.statusAt, n.modify = status, time.Now(), index
		n.note("Cluster", message, index)
		return []event{nodeEvent("NodeStreamEvent", n)}
	})
}

// on returns the jobs with an allocation on a node that is not over.
func (s *Server) on(n *node) []*job {
	var all []*job
	seen := make(map[*job]bool)
	for _, a := range s.allocs {
		if a.node == n && !a.terminal() && !seen[a.job] {
			seen[a.job] = true
			all = append(all, a.job)
		}
	}
	return all
}

// evaluateNode lets the scheduler look at all jobs of a node. s.mu is held.
func (s *Server) evaluateNode(n *node) {
	for _, j := range s.on(n) {
		e := s.newEvaluation(j, "node-update")
		s.write([]string{tableEvals}, func(index uint64) []event {
			e.CreateIndex, e.Modified, e.Node = index, index, n.ID
			return []event{evalEvent("EvaluationUpdated", e)}
		})
		s.process(j, e)
	}
}

// ReturnNode lets the client of a lost node hear the servers again: it ends what
// was replaced, and what was unknown runs on.
func (s *Server) ReturnNode(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(name)
	switch {
	case n == nil:
		return fmt.Errorf("nomaddouble: no node %s", name)
	case !n.silent:
		return nil
	}
	n.silent = false
	close(n.lost)
	if n.status != statusReady {
		s.setStatus(n, statusReady, "Node reregistered by heartbeat")
		s.evaluateNode(n)
	}
	for _, a := range s.allocs {
		if a.node == n && a.Client == "unknown" && a.Desired == "run" {
			a.said = update{status: "running", why: "Tasks are running", state: a.states[a.mainTask()]}
			s.batch(n, a)
		}
	}
	if len(n.reports) > 0 {
		s.batch(n, nil)
	}
	s.unblock()
	return nil
}

// hears waits until the client of a node and the servers hear each other.
func (s *Server) hears(ctx context.Context, n *node) bool {
	for {
		s.mu.Lock()
		silent, lost := n.silent, n.lost
		s.mu.Unlock()
		if !silent {
			return true
		}
		select {
		case <-lost:
		case <-ctx.Done():
			return false
		}
	}
}
