package nomad

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

const (
	maxDrift = 40 // lines of a difference
	maxValue = 80 // characters of a value in one
)

// drift is how a job differs from the spec that it was shipped with.
type drift struct {
	spec  *jobs.Spec // nil: nothing to compare with
	lines []string   // nil: no difference, or not known
	of    string     // source of the spec that was compared last; "" before
	index uint64     // what reshaped was then

	failed bool // the last comparison
}

// ship remembers the spec that the job was shipped with, and has it compared.
func (f *Fleet) ship(ctx context.Context, key jobKey, spec *jobs.Spec) {
	if spec == nil || spec.Source == "" {
		return
	}
	if !f.pic.ship(key, spec) {
		return
	}
	if f.watching.Load() {
		f.learnOf(key, 0)
		return
	}
	f.compare(ctx, key)
}

// ship remembers the spec and reports whether the job is to be compared with it.
func (p *picture) ship(key jobKey, spec *jobs.Spec) (due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	if j == nil {
		return false
	}
	j.drift.spec = spec
	return j.driftDue()
}

// compare finds out how the job differs from its spec, unless that is known.
// Who may not plan does not learn it, and who scales does not wait for it.
func (f *Fleet) compare(ctx context.Context, key jobKey) {
	spec, due := f.pic.takeDrift(key)
	if !due {
		return
	}
	lines, err := f.planned(ctx, key, spec)
	if f.pic.applyDrift(key, lines, err) {
		f.log.InfoContext(ctx, "cannot tell how a job differs from its spec", "job", key.String(), "file", spec.File, "err", err)
	}
}

// planned lets Nomad plan the spec against the job that it has.
func (f *Fleet) planned(ctx context.Context, key jobKey, spec *jobs.Spec) ([]string, error) {
	job, err := f.parse(ctx, key, spec)
	if err != nil {
		return nil, err
	}
	var plan *api.JobPlanResponse
	err = write(ctx, key.namespace, func(w *api.WriteOptions) (err error) {
		plan, _, err = f.client.Jobs().PlanOpts(job, &api.PlanOptions{Diff: true}, w)
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("plan: %w", denied(err, "submit-job", key.namespace))
	case plan.Diff == nil:
		return nil, nil
	}
	return driftLines(plan.Diff), nil
}

// driftDue reports whether the job is to be compared: it has another spec than when it
// was, or somebody else has changed it since. p.mu is held.
func (j *jobPicture) driftDue() bool {
	return j.present && j.drift.spec != nil && (j.drift.of != j.drift.spec.Source || j.drift.index != j.reshaped)
}

// takeDrift returns the spec to compare the job with, if it is to be compared, to
// the first who asks.
func (p *picture) takeDrift(key jobKey) (spec *jobs.Spec, due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	if j == nil || !j.driftDue() {
		return nil, false
	}
	j.drift.of, j.drift.index = j.drift.spec.Source, j.reshaped
	return j.drift.spec, true
}

// applyDrift takes in a comparison and reports whether it has failed for the
// first time.
func (p *picture) applyDrift(key jobKey, lines []string, err error) (failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	if j == nil {
		return false
	}
	d := &j.drift
	if err != nil && passing(err) {
		d.of = "" // the next Ensure has it tried again
	}
	failed, d.failed = err != nil && !d.failed, err != nil
	if !slices.Equal(lines, d.lines) {
		d.lines = lines
		p.changed(j)
	}
	return failed
}

// shipped takes in that the job is what this spec made it.
func (p *picture) shipped(key jobKey, spec *jobs.Spec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := p.jobs[key]; j != nil {
		j.drift = drift{spec: spec, of: spec.Source, index: j.reshaped}
	}
}

// driftLines puts a difference into lines: what the registered job has → what
// the spec has.
func driftLines(d *api.JobDiff) []string {
	wholeDiff(d)
	var lines []string
	for _, diff := range differences(d, false) {
		if diff.path == "count" || diff.path == "stop" {
			continue // how many run, and whether, is no matter of the spec
		}
		where := "job"
		switch {
		case diff.task != "" && len(d.TaskGroups) > 1:
			where = "group " + diff.group + ", task " + diff.task
		case diff.task != "":
			where = "task " + diff.task
		case diff.group != "":
			where = "group " + diff.group
		}
		lines = append(lines, where+": "+strings.TrimSpace(diff.path+" "+diff.drifted()))
	}
	if over := len(lines) - maxDrift; over > 0 {
		lines = append(lines[:maxDrift], fmt.Sprintf("and %d more", over))
	}
	return lines
}

func (d difference) drifted() string {
	switch {
	case d.whole && d.kind == ChangeAdded:
		return "only in the shipped spec"
	case d.whole:
		return "only in the registered job"
	case d.hidden:
		return "differs"
	}
	return fmt.Sprintf("%s → %s", shortened(d.old), shortened(d.new))
}

// shortened quotes a value, as far as a line has room.
func shortened(value string) string {
	if r := []rune(value); len(r) > maxValue {
		value = string(r[:maxValue]) + "…"
	}
	return fmt.Sprintf("%q", value)
}
