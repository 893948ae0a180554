package nomaddouble

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// step is one plan being made: what it changes, in the order in which its
// entry tells it.
type step struct {
	job      *job
	eval     *evaluation
	snapshot uint64 // the index that it looked at
	room     *room
	kept     []*allocation // updated in place
	placed   []*allocation
	stopped  []*allocation
	failed   map[string]document
	queued   map[string]int
	done     map[string]updates
}

// plan places what is missing and stops what is too many. s.mu is held.
func (s *Server) plan(j *job, e *evaluation) {
	p := &step{job: j, eval: e, snapshot: s.index, room: s.newRoom(j), failed: make(map[string]document), queued: make(map[string]int), done: make(map[string]updates)}
	for _, g := range j.Groups {
		s.reconcile(p, g)
	}
	for _, a := range s.allocs { // of groups that the job has no more
		if a.job == j && a.Desired == "run" && !a.terminal() && j.group(a.group.Name) == nil {
			s.tellToStop(p, a, "alloc not needed due to job update")
		}
	}
	s.writePlan(p)
	s.complete(p)
	for _, a := range p.placed {
		s.spawn(func(ctx context.Context) { s.live(ctx, a) })
	}
}

// reconcile decides about one group: first what is gone with its node, then
// what is too many, then what must be replaced, then what is missing.
func (s *Server) reconcile(p *step, g *group) {
	want := g.Count
	if p.job.stopped {
		want = 0
	}
	p.queued[g.Name] = 0
	u := updates{}
	live := s.wanted(p.job, g)
	var again []*allocation // to be replaced
	live = slices.DeleteFunc(live, func(a *allocation) bool {
		if !s.lose(p, a) {
			return false
		}
		again = append(again, a)
		return true
	})
	for len(live)+len(again) > want && len(again) > 0 { // lost and not needed
		again = again[:len(again)-1]
	}
	surplus := func(a *allocation) bool {
		u.stop++
		return s.tellToStop(p, a, "alloc not needed due to job update")
	}
	for i := len(live) - 1; i >= 0 && len(live)+len(again) > want; i-- { // those on the move first
		if live[i].migrate {
			surplus(live[i])
			live = slices.Delete(live, i, i+1)
		}
	}
	for len(live)+len(again) > want { // then the highest, blind to health
		surplus(live[len(live)-1])
		live = live[:len(live)-1]
	}
	u.place += s.replaceLost(p, g, again)
	u.migrate += s.moveAway(p, g, live)
	s.update(p, g, live, &u)
	s.reschedule(p, g, live)
	u.place += s.fill(p, g, append(live, again...), want)
	p.done[g.Name] = u
}

// lose marks an allocation whose node is gone, and reports whether that is for
// good. One of a group with a disconnect block is unknown for a while first.
func (s *Server) lose(p *step, a *allocation) bool {
	switch a.node.status {
	case statusDisconnected:
		if a.Client == "unknown" && time.Since(a.unknownSince) >= a.group.LostAfter {
			break
		}
		if a.Client != "unknown" && !a.terminal() {
			a.Client, a.ClientWhy, a.unknownSince = "unknown", "alloc is unknown since its node is disconnected", time.Now()
			p.kept = append(p.kept, a)
		}
		return false
	case statusDown:
	default:
		return false
	}
	if a.terminal() {
		return false
	}
	a.Client, a.gone = "lost", true
	s.tellToStop(p, a, "alloc is lost since its node is down")
	return true
}

// replaceLost places what was lost anew, each with its index.
func (s *Server) replaceLost(p *step, g *group, lost []*allocation) (placed int) {
	for i, a := range lost {
		if !s.successor(p, g, a) {
			p.queued[g.Name] += len(lost) - i
			break
		}
		placed++
	}
	return placed
}

// moveAway stops what is to leave its node, whether there is room elsewhere or
// not.
func (s *Server) moveAway(p *step, g *group, live []*allocation) (moved int) {
	for i, a := range live {
		if !a.migrate {
			continue
		}
		moved++
		s.tellToStop(p, a, "alloc is being migrated")
		if s.successor(p, g, a) {
			live[i] = p.placed[len(p.placed)-1]
		} else {
			p.queued[g.Name]++
		}
	}
	return moved
}

// update brings what runs an older version of the group to this one: in place
// where the task may go on, else by replacing it, all at once without an update
// block and so many at a time with one.
func (s *Server) update(p *step, g *group, live []*allocation, u *updates) {
	atOnce := len(live)
	if g.MaxParallel > 0 {
		atOnce = g.MaxParallel - s.inProgress(p.job, g)
	}
	for i, a := range live {
		switch {
		case a.version == p.job.version || a.terminal() || a.Desired != "run":
			u.ignore++
		case !g.replaces(a.group):
			u.inPlace++
			a.group, a.version = g, p.job.version
			p.kept = append(p.kept, a)
		case atOnce > 0:
			atOnce--
			u.destructive++
			p.room.free(a)
			if s.successor(p, g, a) { // without room the old one goes on
				s.tellToStop(p, a, "alloc is being updated due to job update")
				live[i] = p.placed[len(p.placed)-1]
			} else {
				p.room.hold(a)
				p.queued[g.Name]++
			}
		default:
			u.ignore++
		}
	}
}

// reschedule replaces what has failed once its time has come, and until then
// leaves an evaluation that waits for it.
func (s *Server) reschedule(p *step, g *group, live []*allocation) {
	for i, a := range live {
		if a.Client != "failed" || !a.group.Reschedule {
			continue
		}
		if wait := a.group.RescheduleDelay - time.Since(a.failedAt); wait > 0 && !a.force {
			if a.followup == "" {
				a.followup = s.later(p.job, a, wait)
				p.kept = append(p.kept, a)
			}
			continue
		}
		a.force = false
		if s.successor(p, g, a) {
			s.tellToStop(p, a, "alloc was rescheduled because it failed")
			live[i] = p.placed[len(p.placed)-1]
		} else {
			p.queued[g.Name]++
		}
	}
}

// later writes an evaluation that waits. s.mu is held.
func (s *Server) later(j *job, a *allocation, wait time.Duration) string {
	e := s.newEvaluation(j, "alloc-reschedule")
	e.JobModify, e.waitUntil = j.jobModify, time.Now().Add(wait)
	e.StatusDescription = "created for delayed rescheduling"
	s.write([]string{tableEvals}, func(index uint64) []event {
		e.CreateIndex, e.Modified = index, index
		return []event{evalEvent("EvaluationUpdated", e)}
	})
	s.spawn(func(ctx context.Context) {
		if !sleep(ctx, wait) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if a.Desired == "run" && e.Status == "pending" {
			s.process(j, e)
		}
	})
	return e.ID
}

// fill places what is missing, at the lowest free indexes.
func (s *Server) fill(p *step, g *group, live []*allocation, want int) (placed int) {
	live = slices.Clone(live)
	slices.SortFunc(live, byIndex)
	for len(live) < want {
		a := s.place(p, g, lowestFree(live), nil)
		if a == nil {
			p.queued[g.Name] += want - len(live)
			if why := p.failed[g.Name]; why != nil {
				why["CoalescedFailures"] = want - len(live) - 1
			}
			break
		}
		placed++
		live = append(live, a)
		slices.SortFunc(live, byIndex)
	}
	return placed
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

func (s *Server) tellToStop(p *step, a *allocation, why string) bool {
	if a.Desired == "stop" {
		return false
	}
	a.Desired, a.DesiredWhy = "stop", why
	close(a.stop)
	p.room.free(a)
	p.stopped = append(p.stopped, a)
	return true
}

// successor places what takes over name and index of an allocation. Its task
// waits until the old one has ended.
func (s *Server) successor(p *step, g *group, old *allocation) bool {
	a := s.place(p, g, old.Index, old)
	if a == nil {
		return false
	}
	old.Next = a.ID
	return true
}

// place finds a node for one more allocation; without one the plan keeps why.
func (s *Server) place(p *step, g *group, index int, previous *allocation) *allocation {
	at, why := p.room.find(g, previous)
	if at == nil {
		if was := p.failed[g.Name]; was != nil {
			was["CoalescedFailures"] = was["CoalescedFailures"].(int) + 1
		} else {
			p.failed[g.Name] = why
		}
		return nil
	}
	now := time.Now()
	a := &allocation{ID: newID(), job: p.job, group: g, version: p.job.version, node: at.node, Index: index, EvalID: p.eval.ID,
		Desired: "run", Client: "pending", Ports: s.ports(g), Devices: at.shares, metrics: at.metrics, created: now, modified: now,
		stop: make(chan struct{}), fail: make(chan Exit, 1), ended: make(chan struct{}), previous: previous}
	s.allocs = append(s.allocs, a)
	p.placed = append(p.placed, a)
	return a
}

func (s *Server) writePlan(p *step) {
	deployment := s.deploy(p)
	if len(p.kept)+len(p.placed)+len(p.stopped) == 0 {
		return
	}
	s.write([]string{tableAllocs, tableEvals}, func(index uint64) []event {
		e := p.eval
		e.Modified = index
		events := []event{evalEvent("PlanResult", e)}
		touch := func(all []*allocation) {
			for _, a := range all {
				if a.CreateIndex == 0 {
					a.CreateIndex = index
				}
				a.ModifyIndex, a.allocModify, a.modified = index, index, time.Now()
				events = append(events, allocEvent("PlanResult", a))
			}
		}
		touch(p.kept)
		if deployment != nil {
			deployment.written(s, index)
			events = append(events, deploymentEvent("PlanResult", deployment))
		}
		touch(p.placed)
		touch(p.stopped)
		return append(events, s.restate(p.job, index, "PlanResult")...)
	})
}
