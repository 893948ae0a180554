package nomad

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// keepTerminal is how long allocations that are gone stay in the picture:
// long enough that whoever looks now and then learns why they failed.
const keepTerminal = 10 * time.Minute

// picture is what the Fleet knows of the jobs it was asked about. News is
// applied by Nomad's indexes, so that it does not matter which way it came and
// in which order. Its methods do no I/O.
type picture struct {
	mu       sync.Mutex
	jobs     map[jobKey]*jobPicture
	tracking map[string]int          // namespace → how many of jobs are in it
	home     string                  // the namespace to listen to while there are none
	contacts map[string]contactState // by scope

	tables  tables               // the highest indexes that fresh lists had
	back    time.Time            // since when lists have had lower ones
	nodes   map[string]nodeFacts // those that are being drained
	drains  uint64               // index of the last complete list of them
	logs    []logAsk             // failed tasks whose log is to be read
	askLogs chan struct{}        // holds one token while logs is not empty
	dirty   map[jobs.Ref]struct{}
	wake    chan struct{} // holds one token while dirty is not empty

	unlearned map[jobKey]uint64   // jobs to learn about, and from which version on
	learning  map[jobKey]struct{} // jobs that somebody learns about now
}

type jobPicture struct {
	refs     map[jobs.Ref]struct{} // as callers name them
	asked    time.Time             // when somebody last asked about it
	loaded   bool                  // job and allocations have been read once
	present  bool                  // Nomad has the job
	known    bool                  // Nomad has it, or has had it
	absent   uint64                // index at which it was seen to be gone
	info     jobInfo
	allocs   map[string]held
	listed   uint64            // index of the last complete list of them
	unlisted bool              // some of them no list has had
	blocked  map[string]string // group → why allocations cannot be placed

	own         uint64                          // the newest version that this process knows to be Pilotlight's
	reshaped    uint64                          // JobModifyIndex of the newest version that may be more than a count
	changes     map[string]jobs.Change          // group → the last change that was not Pilotlight's
	told        map[jobs.Ref]uint64             // Index of the change that was last observed
	deployments map[string]deployment           // by id
	notes       map[string]map[string]time.Time // group → text → when it was left
	drift       drift
}

func newPicture() *picture {
	return &picture{
		jobs:    make(map[jobKey]*jobPicture),
		home:    "default",
		dirty:   make(map[jobs.Ref]struct{}),
		wake:    make(chan struct{}, 1),
		nodes:   make(map[string]nodeFacts),
		askLogs: make(chan struct{}, 1),

		tracking:  make(map[string]int),
		contacts:  make(map[string]contactState),
		unlearned: make(map[jobKey]uint64),
		learning:  make(map[jobKey]struct{}),
	}
}

// track makes the job of ref one of those that are kept, and reports whether it
// is the first of its namespace.
func (p *picture) track(key jobKey, ref jobs.Ref) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	j, ok := p.jobs[key]
	if !ok {
		j = &jobPicture{
			refs:    make(map[jobs.Ref]struct{}),
			allocs:  make(map[string]held),
			blocked: make(map[string]string),

			changes:     make(map[string]jobs.Change),
			told:        make(map[jobs.Ref]uint64),
			deployments: make(map[string]deployment),
			notes:       make(map[string]map[string]time.Time),
		}
		p.jobs[key] = j
	}
	j.refs[ref] = struct{}{}
	j.asked = time.Now()
	if !ok {
		p.tracking[key.namespace]++
	}
	return !ok && p.tracking[key.namespace] == 1
}

func (p *picture) tracked(key jobKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.jobs[key]
	return ok
}

// job returns what is known of a job; loaded is false before its first read.
func (p *picture) job(key jobKey) (info jobInfo, present, known, loaded bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j, ok := p.jobs[key]
	if !ok {
		return jobInfo{}, false, false, false
	}
	return j.info, j.present, j.known, j.loaded
}

// observe returns the picture of one group, ok is false before its first read.
func (p *picture) observe(key jobKey, ref jobs.Ref, now time.Time) (obs jobs.Observation, ok bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	if j == nil || !j.loaded {
		return jobs.Observation{}, false, nil
	}
	if !j.present {
		if j.known {
			return jobs.Observation{}, true, jobs.ErrPurged
		}
		return jobs.Observation{}, true, jobs.ErrUnknownJob
	}
	name, group, found := j.info.group(ref.Group)
	if !found {
		return jobs.Observation{}, true, jobs.ErrUnknownGroup
	}
	contact := p.contactOf(key.namespace)
	obs = jobs.Observation{Count: group.count, At: contact.heard, Silence: contact.silence}
	for _, h := range j.allocs {
		if h.Ref.Group == name && !h.old(now) {
			obs.Allocations = append(obs.Allocations, p.shown(h, ref))
		}
	}
	slices.SortFunc(obs.Allocations, func(a, b jobs.Allocation) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	j.tell(&obs, ref, name)
	switch {
	case !j.info.scalable:
		obs.Blocked = jobs.ErrWrongType.Error()
	case j.short(name):
		obs.Blocked = j.blocked[name]
	}
	return obs, true, nil
}

// short reports whether the group has fewer wanted allocations than its count.
func (j *jobPicture) short(group string) bool {
	var have int
	for _, a := range j.allocs {
		if a.Ref.Group == group && a.Desired == jobs.DesiredRun && !a.Terminal() {
			have++
		}
	}
	return !j.info.stopped && have < j.info.groups[group].count
}

// applyJob takes in a job as Nomad has it. Older news is dropped.
func (p *picture) applyJob(key jobKey, info jobInfo) { p.applyChanged(key, info, nil) }

// applyChanged takes in a job with the changes of its groups that its version
// shows to be somebody else's, in one step: a count without who set it would be
// mistaken for nobody's.
func (p *picture) applyChanged(key jobKey, info jobInfo, changes map[string]jobs.Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	if j == nil || info.index < j.info.index {
		return
	}
	if !j.present && j.absent > 0 && info.index <= j.absent {
		return
	}
	if info.created != j.info.created { // another job of that name
		clear(j.changes)
		clear(j.told)
		j.own, j.reshaped = 0, info.modifyIndex
	}
	if info.version > max(j.own, j.info.version) {
		j.reshaped = info.modifyIndex
	}
	maps.Copy(j.changes, changes)
	j.info, j.present, j.known = info, true, true
	p.changed(j)
}

// applyScale takes in that our own scale was accepted as modifyIndex.
func (p *picture) applyScale(key jobKey, group string, count int, modifyIndex uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	if j == nil || modifyIndex <= j.info.modifyIndex {
		return
	}
	groups := maps.Clone(j.info.groups)
	g := groups[group]
	g.count = count
	groups[group] = g
	j.info.groups = groups
	j.info.version++ // it was compared and set
	j.own = j.info.version
	j.info.modifyIndex = modifyIndex
	j.info.index = max(j.info.index, modifyIndex)
	p.changed(j)
}

// applyAbsent takes in that Nomad had no such job at index. Its allocations are
// forgotten with it: a purge takes them out of Nomad's lists too.
func (p *picture) applyAbsent(key jobKey, index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	if j == nil || index < j.info.index {
		return
	}
	was := j.present || !j.loaded
	j.present, j.absent, j.loaded = false, index, true
	j.listed = 0 // those that still stop are listed again
	clear(j.allocs)
	clear(j.blocked)
	clear(j.deployments)
	if was {
		p.changed(j)
	}
}

// changed marks everything of the job to be told. p.mu is held.
func (p *picture) changed(j *jobPicture) {
	for ref := range j.refs {
		p.dirty[ref] = struct{}{}
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// takeDirty returns what has changed since the last call.
func (p *picture) takeDirty() []jobs.Ref {
	p.mu.Lock()
	defer p.mu.Unlock()
	refs := slices.Collect(maps.Keys(p.dirty))
	clear(p.dirty)
	return refs
}
