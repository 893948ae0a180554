package nomad

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

const (
	// markKey is the meta of a scaling event that says that it is Pilotlight's.
	markKey = "pilotlight"
	// markNote is its value on one that changed nothing.
	markNote = "note"
	// settles is how long after a version of a job Nomad may still be writing what
	// says who made it: the evaluation comes one raft entry later, the scaling event
	// two. On a busy server that was seen to take a second; to be wrong about it is
	// worse than to wait, and only a server that died in between makes it so long.
	settles = 2 * time.Second
	// lookAgain is the longest pause between two looks meanwhile.
	lookAgain = 80 * time.Millisecond
	// fresh bounds the age of a version that may not have settled. Other than
	// settles it is measured between the clocks of two machines.
	fresh = 30 * time.Second
)

// markOf is the mark of a write that makes this version of the job. Which one
// that is, is known before the write is sent, because it is compared and set:
// so any process, also one that starts later, can tell the versions that are
// Pilotlight's from those that are not.
func markOf(version uint64) string { return "version " + strconv.FormatUint(version, 10) }

// applyRead takes in what Nomad answered about a job. A version that may be
// somebody else's is looked into first.
func (f *Fleet) applyRead(ctx context.Context, key jobKey, info jobInfo) error {
	if f.pic.explains(key, info) {
		f.pic.applyJob(key, info)
		return nil
	}
	var before *jobInfo
	if old, present, _, _ := f.pic.job(key); present && old.index > 0 && old.created == info.created {
		before = &old
	}
	changes, err := f.changesIn(ctx, key, info, before)
	if err != nil {
		return fmt.Errorf("find out who changed job %s: %w", key, err)
	}
	for group, c := range changes {
		f.log.InfoContext(ctx, "job was changed by somebody else", "job", key.String(), "group", group,
			"kind", c.Kind, "from", c.Before, "to", c.Count, "by", c.By)
	}
	f.pic.applyChanged(key, info, changes)
	return nil
}

// changesIn finds out who made this version of the job: the changes of its
// groups if it was somebody else, none if it was Pilotlight, or if that cannot be
// known. before is the version that was known, nil at first sight.
func (f *Fleet) changesIn(ctx context.Context, key jobKey, info jobInfo, before *jobInfo) (map[string]jobs.Change, error) {
	if info.stopped || before == nil && info.version == 0 {
		return nil, nil // which says so itself; as it was first registered
	}
	pause := 10 * time.Millisecond
	for began := time.Now(); ; pause = min(2*pause, lookAgain) {
		events, err := f.scalingEvents(ctx, key)
		if err != nil {
			return nil, err
		}
		if changes, certain := scaledBy(info, before, events); certain {
			return changes, nil
		}
		trigger, err := f.triggerOf(ctx, key, info.modifyIndex)
		if err != nil {
			return nil, err
		}
		over := time.Since(began) >= settles || ctx.Err() != nil
		switch {
		case trigger == triggerScaling && over: // its scaling event got lost
			return scaledTo(info, before), nil
		case trigger == "" && (over || time.Since(info.submitted).Abs() > fresh), // its evaluation was collected
			trigger != "" && trigger != triggerScaling:
			return deployed(info, before, events), nil
		}
		sleep(ctx, pause)
	}
}

// scaledBy looks for the scaling event of this version of a job. certain is
// false if there is none, and so, unless it is still to come, the version was
// registered.
func scaledBy(info jobInfo, before *jobInfo, events map[string][]api.ScalingEvent) (changes map[string]jobs.Change, certain bool) {
	var (
		by    *api.ScalingEvent
		group string
		ours  bool // Pilotlight has had to do with the job
	)
	for name, list := range events {
		for i, e := range list {
			if e.CreateIndex <= info.created {
				continue // of a purged job of that name
			}
			mark, marked := e.Meta[markKey].(string)
			if mark == markOf(info.version) {
				return nil, true
			}
			ours = ours || marked
			// The event is written after the job. One with another count is of an
			// earlier version, delayed.
			made := e.CreateIndex > info.modifyIndex && e.Count != nil && int(*e.Count) == info.groups[name].count
			if made && !marked && (by == nil || e.CreateIndex > by.CreateIndex) {
				by, group = &list[i], name
			}
		}
	}
	switch {
	case before == nil && !ours:
		return nil, true // what was done before Pilotlight came is nobody's change
	case by == nil:
		return nil, false
	}
	return map[string]jobs.Change{group: {
		Kind:   jobs.ChangeCount,
		Index:  by.CreateIndex,
		Before: int(by.PreviousCount),
		Count:  int(*by.Count),
		At:     fromNano(int64(by.Time)),
		By:     by.Message,
	}}, true
}

// scaledTo is the change by a scale of which nothing is known but its result.
func scaledTo(info jobInfo, before *jobInfo) map[string]jobs.Change {
	if before == nil {
		return nil
	}
	changes := make(map[string]jobs.Change)
	for name, g := range info.groups {
		if was, had := before.groups[name]; had && was.count != g.count {
			changes[name] = jobs.Change{Kind: jobs.ChangeCount, Index: info.modifyIndex, Before: was.count, Count: g.count, At: info.submitted}
		}
	}
	return changes
}

// deployed is the change by registering the job again: one of every group.
func deployed(info jobInfo, before *jobInfo, events map[string][]api.ScalingEvent) map[string]jobs.Change {
	changes := make(map[string]jobs.Change)
	for name, g := range info.groups {
		c := jobs.Change{Kind: jobs.ChangeDeploy, Index: info.modifyIndex, Before: -1, Count: g.count, At: info.submitted}
		if before != nil {
			if was, had := before.groups[name]; had {
				c.Before = was.count
			}
		} else if last := lastCount(info, events[name]); last != nil {
			c.Before = int(*last)
		}
		changes[name] = c
	}
	return changes
}

// lastCount is the count to which a group was last scaled; nil if not known.
func lastCount(info jobInfo, events []api.ScalingEvent) *int64 {
	var last api.ScalingEvent
	for _, e := range events {
		if e.Count != nil && e.CreateIndex > max(info.created, last.CreateIndex) {
			last = e
		}
	}
	return last.Count
}

// scalingEvents reads the last twenty of each group. A token that may not read
// them leaves the job's evaluations to tell.
func (f *Fleet) scalingEvents(ctx context.Context, key jobKey) (map[string][]api.ScalingEvent, error) {
	var status *api.JobScaleStatusResponse
	err := read(ctx, key.namespace, func(q *api.QueryOptions) (err error) {
		status, _, err = f.client.Jobs().ScaleStatus(key.id, q)
		return err
	})
	if code, _ := answered(err); code >= 400 && code < 500 && !passing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read scaling events: %w", err)
	}
	events := make(map[string][]api.ScalingEvent, len(status.TaskGroups))
	for name, tg := range status.TaskGroups {
		events[name] = tg.Events
	}
	return events, nil
}

// triggerScaling is what triggers the evaluation of a scale.
const triggerScaling = "job-scaling"

// triggerOf returns what triggered the evaluation of the version of a job that
// was written at index: job-register, job-scaling, deployment-watcher; "" if
// there is none, or none any more.
func (f *Fleet) triggerOf(ctx context.Context, key jobKey, index uint64) (string, error) {
	var evals []*api.Evaluation
	err := read(ctx, key.namespace, func(q *api.QueryOptions) (err error) {
		evals, _, err = f.client.Jobs().Evaluations(key.id, q)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read evaluations: %w", err)
	}
	// Later ones, of an allocation that failed, carry the same index.
	var first *api.Evaluation
	for _, e := range whole(evals) {
		if e.JobModifyIndex == index && (first == nil || e.CreateIndex < first.CreateIndex) {
			first = e
		}
	}
	if first == nil {
		return "", nil
	}
	return first.TriggeredBy, nil
}

// explains reports whether nobody needs to be asked who made this version of the
// job: it is known, or Pilotlight's, or a stop, which says so itself.
func (p *picture) explains(key jobKey, info jobInfo) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	return j != nil && j.present && j.info.index > 0 && j.info.created == info.created &&
		(info.version <= max(j.info.version, j.own) || info.stopped)
}

// claim takes in that this version of the job is Pilotlight's.
func (p *picture) claim(key jobKey, version uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := p.jobs[key]; j != nil {
		j.own = max(j.own, version)
	}
}

// unseen reports whether the group was changed by somebody else since ref was
// last observed. What was never observed was not decided on either.
func (p *picture) unseen(key jobKey, ref jobs.Ref, group string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	if j == nil {
		return false
	}
	told, observed := j.told[ref]
	return observed && j.changes[group].Index > told
}

// tell adds to an observation what others did to the job. p.mu is held.
func (j *jobPicture) tell(obs *jobs.Observation, ref jobs.Ref, group string) {
	c, changed := j.changes[group]
	if changed {
		obs.Change = &c
	}
	j.told[ref] = c.Index
	if j.info.stopped {
		obs.Stopped = fmt.Sprintf("stopped in Nomad at %s; start it again with nomad job start %s, or resume the service",
			j.info.submitted.UTC().Format("2006-01-02 15:04 UTC"), ref.Job)
	}
	obs.Deployment = j.activeDeployment()
	obs.Drift = j.drift.lines
	obs.Index = j.info.modifyIndex
}

func fromNano(ns int64) time.Time { return time.Unix(0, ns).UTC() }
