package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/nomad"
	"github.com/pilotlight/pilotlight/policies"
)

// knownJob is the group of a policy as it runs, or would.
type knownJob struct {
	ref         jobs.Ref
	killTimeout time.Duration // 0: not known
}

// checkJobs looks whether each policy has something to run.
func (x *examination) checkJobs(ctx context.Context) []finding {
	const check = "jobs"
	if len(x.policies) == 0 {
		return []finding{skipped(check, "there are no policies")}
	}
	var found []finding
	for _, p := range x.policies {
		if ctx.Err() != nil {
			return found
		}
		found = append(found, x.checkJob(ctx, p))
	}
	return found
}

func (x *examination) checkJob(ctx context.Context, p *policies.Policy) finding {
	const check = "jobs"
	ref := jobs.Ref{Namespace: cmp.Or(p.Namespace, x.namespace), Job: p.Job, Group: p.Group}
	spec := x.specs[p.Job]
	if spec != nil {
		if g := spec.GroupNamed(p.Group); g != nil && g.Main() != nil {
			x.jobs[p] = knownJob{ref: ref, killTimeout: g.Main().KillTimeout}
		}
	}
	about := fmt.Sprintf("policy %q: job %q", p.Name, p.Job)
	if !x.reached {
		if spec == nil {
			return warned(check, "give --jobs DIR with its job spec", "%s has no job spec here, and Nomad was not asked", about)
		}
		return passed(check, "%s has the job spec %s; Nomad was not asked", about, spec.File)
	}
	there, err := x.nomad.Registered(ctx, ref.Namespace, p.Job)
	switch {
	case errors.Is(err, jobs.ErrUnknownJob) && spec == nil:
		return failed(check, "register it with nomad job run, or give --jobs DIR with its job spec",
			"%s is not registered in namespace %q, and has no job spec here", about, ref.Namespace)
	case errors.Is(err, jobs.ErrUnknownJob):
		return x.registrable(ctx, about, ref, spec)
	case errors.Is(err, jobs.ErrDenied):
		return skipped(check, "%s: the token may not read jobs", about)
	case err != nil:
		return failed(check, "see the finding on Nomad", "%s: %v", about, err)
	}
	group, ok := groupOf(there, p.Group)
	switch {
	case !ok:
		return failed(check, "name one of the job's groups in the policy", "%s has no group %q", about, p.Group)
	case there.Type != "service":
		return failed(check, `make it type = "service"`, "%s is of type %s, which ends by itself", about, there.Type)
	case there.Stopped:
		return warned(check, "pilotlight service resume "+p.Name+" --reason TEXT starts it when it is meant to run", "%s was stopped by somebody", about)
	}
	x.jobs[p] = knownJob{ref: ref, killTimeout: group.KillTimeout}
	is := fmt.Sprintf("%s is registered (version %d), %d of %d running", about, there.Version, group.Running, group.Count)
	if spec == nil || !x.may("parse-job") || !x.may("plan-job") {
		return passed(check, "%s; not compared with a job spec", is)
	}
	return x.drift(ctx, is, ref, spec, there)
}

func groupOf(r *nomad.Registered, name string) (nomad.RegisteredGroup, bool) {
	if name == "" && len(r.Groups) == 1 {
		for _, g := range r.Groups {
			return g, true
		}
	}
	g, ok := r.Groups[name]
	return g, ok
}

// registrable lets Nomad judge a spec whose job is not there yet.
func (x *examination) registrable(ctx context.Context, about string, ref jobs.Ref, spec *jobs.Spec) finding {
	const check = "jobs"
	if !x.may("register-job") || !x.may("parse-job") {
		return warned(check, "register it with nomad job run "+spec.File+", or let the token: see nomad-rights",
			"%s is not registered, and the token may not register it", about)
	}
	_, err := x.nomad.Draft(ctx, spec.File, spec.Source, "", ref.Namespace)
	var invalid *nomad.InvalidJobError
	switch {
	case errors.As(err, &invalid):
		f := failed(check, "correct "+spec.File+"; pilotlight job check says more", "%s is not registered, and Nomad would not take its job spec", about)
		f.Details = invalid.Problems
		return f
	case err != nil:
		return warned(check, "run doctor again", "%s is not registered; whether its job spec is right is not known: %v", about, err)
	}
	return passed(check, "%s is not registered; the first wake registers %s", about, spec.File)
}

// drift compares a registered job with its spec, at the counts that it has.
func (x *examination) drift(ctx context.Context, is string, ref jobs.Ref, spec *jobs.Spec, there *nomad.Registered) finding {
	const check = "jobs"
	draft, err := x.nomad.Draft(ctx, spec.File, spec.Source, "", ref.Namespace)
	if err != nil {
		return warned(check, "correct "+spec.File+"; pilotlight job check says more", "%s; its job spec cannot be compared: %v", is, err)
	}
	draft.Namespace = ref.Namespace
	plan, err := x.nomad.Plan(ctx, draft, liveCounts(there), nil)
	switch {
	case err != nil:
		return warned(check, "run doctor again", "%s; not compared with its job spec: %v", is, err)
	case plan.Change == nomad.ChangeNone || len(plan.Diff) == 0:
		return passed(check, "%s, as in %s", is, spec.File)
	}
	f := warned(check, "pilotlight job plan "+spec.File+" shows it; nomad job run -preserve-counts brings it, or --jobs the newer job spec",
		"%s, and differs from %s in %s", is, spec.File, count(len(plan.Diff), "field"))
	for _, c := range plan.Diff[:min(len(plan.Diff), 5)] {
		f.Details = append(f.Details, changeLine(c))
	}
	return f
}

func liveCounts(there *nomad.Registered) map[string]int {
	counts := map[string]int{}
	for name, g := range there.Groups {
		counts[name] = g.Count
	}
	return counts
}

// checkKillTimeouts compares what policies promise to requests in flight with
// what Nomad's clients allow.
func (x *examination) checkKillTimeouts(context.Context) []finding {
	const check = "kill-timeout"
	if !x.reached {
		return needsNomad(check)
	}
	var least *time.Duration
	var where, why string
	var known int
	for i, c := range x.clients {
		if c.MaxKillTimeout == nil {
			why = cmp.Or(c.SettingsWhy, "the client does not tell")
			continue
		}
		known++
		if least == nil || *c.MaxKillTimeout < *least {
			least, where = c.MaxKillTimeout, x.nodes[i].Name
		}
	}
	if least == nil {
		f := skipped(check, "max_kill_timeout of the clients is not known: %s", cmp.Or(why, "no client was asked"))
		f.Do = `see that client { max_kill_timeout = … } is at least each job's kill_timeout (Nomad's default is 30s), or give the token agent { policy = "read" }`
		return []finding{f}
	}
	var short []string
	var most time.Duration
	for _, p := range x.policies {
		need := min(p.Request.Timeout, p.ScaleDown.DrainTimeout)
		asked := need
		if j := x.jobs[p]; j.killTimeout > 0 {
			asked = j.killTimeout
		}
		if min(asked, *least) >= need {
			continue
		}
		most = max(most, need)
		short = append(short, fmt.Sprintf("policy %q wants %s for requests in flight; its job's kill_timeout is %s, and clients allow %s", p.Name, need, asked, *least))
	}
	if len(short) == 0 {
		f := passed(check, "max_kill_timeout is at least %s on %s", *least, count(known, "client"))
		if len(x.policies) > 0 {
			f.Found += ", enough for " + countPolicies(len(x.policies))
		}
		return []finding{f}
	}
	f := warned(check, fmt.Sprintf("set client { max_kill_timeout = %q } on the clients and kill_timeout to the same in the jobs, or shorten request.timeout or scale_down.drain_timeout", most),
		"max_kill_timeout is %s on %s: when Nomad itself stops a replica (node drain, nomad job run), longer requests are cut", *least, where)
	f.Details = short
	return []finding{f}
}
