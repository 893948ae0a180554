package nomad

import (
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// held is one allocation of the picture.
type held struct {
	jobs.Allocation
	index uint64    // of its last change
	seen  uint64    // index of the latest list that had it
	words lastWords // of its tasks, without the log
	log   string    // the last lines of the failed task, once read
}

// applyAllocs takes in allocations of tracked jobs in one step. Older news is
// dropped.
func (p *picture) applyAllocs(stubs []*api.AllocationListStub) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range stubs {
		key := jobKey{s.Namespace, s.JobID}
		if j := p.jobs[key]; j == nil || j.overtaken(s) {
			continue
		}
		p.takeAlloc(key, s)
	}
}

// overtaken reports whether s, which the picture does not have, is older than a list
// that had another allocation in its place: it had gone by then. Only a complete list
// says more by what it has not; this also holds of one that may be stale.
func (j *jobPicture) overtaken(s *api.AllocationListStub) bool {
	if _, known := j.allocs[s.ID]; known || s.DesiredStatus != jobs.DesiredRun {
		return false
	}
	for _, a := range j.allocs {
		if a.seen >= s.ModifyIndex && a.Ref.Group == s.TaskGroup && a.Index == nameIndex(s.Name) {
			return true
		}
	}
	return false
}

// take keeps what stub says unless it is old, and reports whether it was news.
// An allocation that the picture does not have, and that is no newer than the
// last complete list, is one that Nomad has forgotten since: a server that comes
// back tells its old events again.
func (j *jobPicture) take(stub *api.AllocationListStub) (old held, isNews bool) {
	old, had := j.allocs[stub.ID]
	if had && stub.ModifyIndex <= old.index || !had && stub.ModifyIndex <= j.listed {
		return old, false
	}
	group := j.info.groups[stub.TaskGroup]
	h := held{Allocation: toAllocation(stub, group), words: lastWordsOf(stub, group), index: stub.ModifyIndex}
	if had {
		h.Allocation = carryOver(old.Allocation, h.Allocation)
		h.words, h.log, h.LogDue = h.words.or(old.words), old.log, old.LogDue
		h.seen = old.seen
	}
	j.allocs[stub.ID] = h
	return old, true
}

// takeAlloc is take with what follows from it. p.mu is held.
func (p *picture) takeAlloc(key jobKey, stub *api.AllocationListStub) {
	j := p.jobs[key]
	if j == nil {
		return
	}
	old, isNews := j.take(stub)
	if !isNews {
		return
	}
	now := j.allocs[stub.ID]
	if old.ID == "" {
		j.unlisted = true
	}
	if now.words.logged() && !old.words.logged() {
		now.LogDue = p.wantLog(logAsk{key: key, alloc: now.ID, node: now.NodeID, task: now.words.task})
		j.allocs[now.ID] = now
	}
	p.changed(j)
}

// applyList takes in the whole list of allocations of the given jobs as of
// index: what a complete list does not have was forgotten by Nomad, unless it is
// newer than the list. A list that is not complete, because it may be stale,
// only adds; but what it has in the place of one that it does not have any more
// was put there when that one had gone.
func (p *picture) applyList(keys []jobKey, stubs []*api.AllocationListStub, index uint64, complete bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	listed := make(map[jobKey]map[string]bool, len(keys))
	for _, k := range keys {
		listed[k] = make(map[string]bool)
	}
	for _, s := range stubs {
		if ids, wanted := listed[jobKey{s.Namespace, s.JobID}]; wanted {
			ids[s.ID] = true
		}
	}
	for _, s := range stubs {
		key := jobKey{s.Namespace, s.JobID}
		ids, wanted := listed[key]
		j := p.jobs[key]
		if !wanted || j == nil {
			continue
		}
		if !complete {
			if j.overtaken(s) {
				continue
			}
			j.replace(s, ids, index)
		}
		p.takeAlloc(key, s)
		if a, ok := j.allocs[s.ID]; ok && a.index == s.ModifyIndex && a.Version != s.JobVersion {
			a.Version = s.JobVersion // events do not tell it
			j.allocs[s.ID] = a
			p.changed(j)
		}
	}
	for key, ids := range listed {
		j := p.jobs[key]
		if j == nil {
			continue
		}
		for id := range ids { // after all were taken: those of one list are there at once
			if a, had := j.allocs[id]; had {
				a.seen = max(a.seen, index)
				j.allocs[id] = a
			}
		}
		if complete {
			for id, a := range j.allocs {
				if !ids[id] && a.index <= index {
					delete(j.allocs, id)
					p.changed(j)
				}
			}
			j.listed, j.unlisted = max(j.listed, index), false
		}
		if !j.loaded && (complete || j.present) {
			j.loaded = true
			p.changed(j)
		}
	}
}

// replace forgets whom a new allocation of a list as of index stands in for: one
// of its place that is wanted as far as is known, and that the list has not.
func (j *jobPicture) replace(s *api.AllocationListStub, listed map[string]bool, index uint64) {
	if _, known := j.allocs[s.ID]; known || s.DesiredStatus != jobs.DesiredRun {
		return
	}
	for id, a := range j.allocs {
		if !listed[id] && a.index <= index && a.Ref.Group == s.TaskGroup && a.Index == nameIndex(s.Name) {
			delete(j.allocs, id)
		}
	}
}

// takeUnlisted reports whether an event has told of an allocation of the scope
// that no list has had yet: only lists tell which version of its job it runs.
func (p *picture) takeUnlisted(scope string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	var was bool
	for key, j := range p.jobs {
		if covers(scope, key.namespace) {
			was = was || j.unlisted
			j.unlisted = false
		}
	}
	return was
}

// shown is the allocation as callers see it, under the name they gave the
// group.
func (p *picture) shown(h held, ref jobs.Ref) jobs.Allocation {
	a := h.Allocation
	a.Ref = ref
	a.NodeDraining = p.nodes[a.NodeID].draining && !a.Terminal()
	a.Failure = h.words.sentence(h.log)
	return a
}

// old reports whether an allocation has been gone for so long that it is no
// longer shown; Nomad forgets it later.
func (h held) old(now time.Time) bool {
	return h.Terminal() && !h.Finished.IsZero() && now.Sub(h.Finished) > keepTerminal
}
