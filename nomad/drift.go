package nomad

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

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
	var l lines
	l.fields("", "", d.Fields)
	l.objects("", "", d.Objects)
	for _, tg := range d.TaskGroups {
		group := "group " + tg.Name
		if l.settled(group, "", tg.Type) {
			continue
		}
		l.fields(group, "", tg.Fields)
		l.objects(group, "", tg.Objects)
		for _, t := range tg.Tasks {
			task := "task " + t.Name
			if len(d.TaskGroups) > 1 {
				task = group + ", " + task
			}
			if l.settled(task, "", t.Type) {
				continue
			}
			l.fields(task, "", t.Fields)
			l.objects(task, "", t.Objects)
		}
	}
	if over := len(l) - maxDrift; over > 0 {
		l = append(l[:maxDrift], fmt.Sprintf("and %d more", over))
	}
	return l
}

type lines []string

func (l *lines) add(where, what string) {
	*l = append(*l, cmp.Or(where, "job")+": "+what)
}

// settled adds what only one of both has, as a whole, and reports whether no more
// has to be said: what only one has is not taken apart, nor what is the same.
func (l *lines) settled(where, what, kind string) bool {
	if what != "" {
		what += " "
	}
	switch kind {
	case "Added":
		l.add(where, what+"only in the shipped spec")
	case "Deleted":
		l.add(where, what+"only in the registered job")
	}
	return kind != "Edited"
}

func (l *lines) objects(where, prefix string, objects []*api.ObjectDiff) {
	for _, o := range objects {
		name := prefix + snake(o.Name)
		if l.settled(where, name, o.Type) {
			continue
		}
		l.fields(where, name+".", o.Fields)
		l.objects(where, name+".", o.Objects)
	}
}

func (l *lines) fields(where, prefix string, fields []*api.FieldDiff) {
	for _, f := range fields {
		if f.Type == "None" || f.Type == "" || prefix == "" && (f.Name == "Count" || f.Name == "Stop") {
			continue // how many run, and whether, is no matter of the spec
		}
		name := prefix + snake(f.Name)
		if secretive(name) {
			l.add(where, name+" differs")
			continue
		}
		l.add(where, fmt.Sprintf("%s %s → %s", name, shown(f.Name, f.Old), shown(f.Name, f.New)))
	}
}

// secretive reports whether a value is not shown: environments and templates
// carry tokens.
func secretive(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"env[", "meta[", "tmpl", "token", "secret", "password", "auth", "credential", "header"},
		func(s string) bool { return strings.Contains(name, s) })
}

// shown quotes a value, shortened; durations as people write them.
func shown(name, value string) string {
	for _, suffix := range []string{"Timeout", "Delay", "Deadline", "Interval", "Time", "Stagger", "LostAfter", "StopOnClientAfter"} {
		if d, err := time.ParseDuration(value + "ns"); err == nil && strings.HasSuffix(name, suffix) {
			value = d.String()
		}
	}
	if r := []rune(value); len(r) > maxValue {
		value = string(r[:maxValue]) + "…"
	}
	return fmt.Sprintf("%q", value)
}

// snake writes a name of Nomad's API as job specs do: KillTimeout is
// kill_timeout. Keys in brackets stay as they are.
func snake(name string) string {
	name, key, bracket := strings.Cut(name, "[")
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case r == ' ':
			r = '_'
		case unicode.IsUpper(r):
			afterLower := i > 0 && unicode.IsLower(runes[i-1])
			beforeLower := i > 0 && i+1 < len(runes) && unicode.IsUpper(runes[i-1]) && unicode.IsLower(runes[i+1])
			if afterLower || beforeLower {
				b.WriteByte('_')
			}
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	if bracket {
		b.WriteString("[" + key)
	}
	return b.String()
}
