package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/nomad"
	"github.com/pilotlight/pilotlight/policies"
)

type jobPlanCommand struct {
	Files    []string `arg:"" name:"file" help:"Job specs (*.nomad.hcl)."`
	Nomad    string   `help:"Nomad's address; default NOMAD_ADDR, else http://127.0.0.1:4646." placeholder:"URL"`
	Policies string   `help:"File of policies or folder of them: would their max replicas fit now?" placeholder:"PATH"`
	outputFlags
	jobVariables
}

// Help is an example.
func (jobPlanCommand) Help() string {
	return `Asks Nomad what registering the files would do, and whether the replicas that their policies allow would fit now. Nothing is changed. Exits with 0 if all is well, 1 if a file is invalid or something does not fit, 2 for wrong use. The token needs list-jobs, read-job and submit-job in the job's namespace, and node read for figures.

-o json: {"plans": [{"file", "job", "namespace", "registered", "version", "change": "added"|"edited"|"none", "diff": [{"change": "added"|"deleted"|"edited", "path", "old", "new", "hidden"}], "groups": [{"group", "file_count", "live_count", "place", "stop", "replace", "missing", "reason"}], "policies": [{"policy", "group", "max", "fit", "reason"}]}], "findings": [as job check -o json], "errors": n, "warnings": n}. live_count is null for a job that is not registered; "groups" is what nomad job run would do. "hidden": the values are not shown, "old" and "new" are "": those of env, meta and templates, and what looks like a secret anywhere.

Example:
  pilotlight job plan jobs/chat.nomad.hcl --nomad http://127.0.0.1:4646 --policies policies/`
}

// Rules of findings of job plan.
const (
	ruleUnreadable  = "invalid-job"
	ruleNoRoom      = "no-room"
	ruleCountReset  = "count-reset"
	ruleReplacesAll = "replaces-all"
	ruleStoppedJob  = "stopped-job"
	ruleJobWarning  = "nomad-warning"
	ruleNotScaled   = "not-scaled" // as job check
)

// planLimit bounds the work on one file: some ten requests.
const planLimit = 30 * time.Second

// Run plans the files in their order.
func (j jobPlanCommand) Run(ctx context.Context, std streams) error {
	planner := jobPlanner{report: planReport{Plans: []jobPlan{}, Findings: []jobs.Finding{}}}
	if j.Policies != "" {
		files, err := loadPolicies(j.Policies)
		if err != nil {
			return err
		}
		planner.policies = policySet{files: files}.policies()
	}
	sources := make([]string, len(j.Files))
	for i, path := range j.Files {
		src, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EISDIR) {
			return usageError{err}
		}
		if err != nil {
			return err
		}
		sources[i] = string(src)
	}
	var err error
	if planner.variables, err = j.text(); err != nil {
		return err
	}
	cfg := nomad.FromEnvironment(os.Getenv)
	if j.Nomad != "" {
		cfg.Address = j.Nomad
	}
	c, err := nomad.NewCheckup(cfg)
	if err != nil {
		return usageError{err}
	}
	defer c.Close()
	planner.nomad = c

	progress := newStatusLine(std.err)
	for i, path := range j.Files {
		if progress.terminal {
			progress.show("planning " + path + " …")
		}
		limited, cancel := context.WithTimeout(ctx, planLimit)
		err := planner.file(limited, path, sources[i])
		cancel()
		progress.clear()
		if err != nil {
			return fmt.Errorf("plan %s on %s: %w", path, shownAddress(cfg.Address), err)
		}
	}
	if err := planner.report.write(std.out, j.json()); err != nil {
		return err
	}
	if planner.report.Errors > 0 {
		return errReported
	}
	return nil
}

// text of the variables, as a file of them: Nomad's parser takes no other form.
func (j jobVariables) text() (string, error) {
	if _, err := j.read(); err != nil {
		return "", err
	}
	var b strings.Builder
	for _, path := range j.VarFile {
		src, err := os.ReadFile(path)
		if err != nil {
			return "", usageError{fmt.Errorf("--var-file: %w", err)}
		}
		b.Write(src)
		b.WriteByte('\n')
	}
	for _, text := range j.Var {
		name, value, _ := strings.Cut(text, "=")
		if !strings.HasPrefix(value, "[") && !strings.HasPrefix(value, "{") { // a string, or what Nomad makes of one
			value = strconv.Quote(value)
			value = strings.NewReplacer("${", "$${", "%{", "%%{").Replace(value)
		}
		fmt.Fprintf(&b, "%s = %s\n", name, value)
	}
	return b.String(), nil
}

// jobPlanner asks one Nomad about one file after the other.
type jobPlanner struct {
	nomad     *nomad.Checkup
	policies  []*policies.Policy
	variables string
	nodes     []nomad.Node // nil: not known, and not asked for again
	asked     bool
	report    planReport
}

func (p *jobPlanner) find(severity, rule, file, path, message, allowed string) {
	p.report.Findings = append(p.report.Findings, jobs.Finding{File: file, Line: 1, Column: 1, Severity: severity, Rule: rule,
		Path: path, Message: message, Allowed: allowed})
	if severity == jobs.SeverityError {
		p.report.Errors++
	} else {
		p.report.Warnings++
	}
}

// invalid makes findings of what Nomad finds wrong with a file, and says whether
// err was that.
func (p *jobPlanner) invalid(file string, err error) bool {
	var invalid *nomad.InvalidJobError
	if !errors.As(err, &invalid) {
		return false
	}
	for _, problem := range invalid.Problems {
		p.find(jobs.SeverityError, ruleUnreadable, file, "", oneLine(problem), "")
	}
	return true
}

// file plans one file. An error is that of a Nomad that does not answer, or
// does not allow it.
func (p *jobPlanner) file(ctx context.Context, path, source string) error {
	draft, err := p.nomad.Draft(ctx, path, source, p.variables, "")
	if err != nil {
		return p.unless(path, err)
	}
	there, err := p.nomad.Registered(ctx, draft.Namespace, draft.ID)
	if err != nil && !errors.Is(err, jobs.ErrUnknownJob) {
		return denied(err)
	}
	if !p.asked {
		p.asked = true
		if p.nodes, err = p.nomad.Nodes(ctx); err != nil {
			p.find(jobs.SeverityWarning, ruleJobWarning, path, "", "nodes cannot be read, so figures on devices are missing: "+err.Error(), `node { policy = "read" }`)
		}
	}
	out := jobPlan{File: path, Job: draft.ID, Namespace: draft.Namespace, Diff: []nomad.Change{}, Groups: []plannedGroup{}, Policies: []plannedMax{}}
	asFile, err := p.nomad.Plan(ctx, draft, nil, p.nodes)
	if err != nil {
		return p.unless(path, err)
	}
	same := asFile // at the counts that the job has
	if there != nil {
		out.Registered, out.Version = true, there.Version
		if same, err = p.nomad.Plan(ctx, draft, liveCounts(there), p.nodes); err != nil {
			return p.unless(path, err)
		}
	}
	out.Change = same.Change
	out.Diff = append(out.Diff, same.Diff...)
	for _, w := range asFile.Warnings {
		p.find(jobs.SeverityWarning, ruleJobWarning, path, "", w, "")
	}
	if there != nil && there.Stopped {
		p.find(jobs.SeverityWarning, ruleStoppedJob, path, "", "the job was stopped by somebody; registering it starts it again", "")
	}
	for _, g := range draft.Groups {
		out.Groups = append(out.Groups, p.group(path, draft, g, there, asFile.Groups[g.Name], same.Groups[g.Name]))
	}
	for _, policy := range p.policies {
		if policy.Job != draft.ID {
			continue
		}
		if draft.Unscaled {
			p.find(jobs.SeverityError, ruleNotScaled, path, "meta.pilotlight", fmt.Sprintf("policy %q: job %q says that it is not to be scaled", policy.Name, draft.ID),
				"the job of a model, or no such entry in the job's meta")
			continue
		}
		max, ok, err := p.fits(ctx, path, draft, policy)
		if err != nil {
			return p.unless(path, err)
		}
		if ok {
			out.Policies = append(out.Policies, max)
		}
	}
	p.report.Plans = append(p.report.Plans, out)
	return nil
}

func (p *jobPlanner) unless(path string, err error) error {
	if p.invalid(path, err) {
		return nil
	}
	return denied(err)
}

// denied says what the token needs.
func denied(err error) error {
	if errors.Is(err, jobs.ErrDenied) {
		return fmt.Errorf(`%w; it needs namespace "…" { capabilities = ["list-jobs", "read-job", "submit-job"] }`, err)
	}
	return err
}

// group says what nomad job run would do to one group.
func (p *jobPlanner) group(path string, draft *nomad.Draft, g nomad.DraftGroup, there *nomad.Registered, asFile, same nomad.GroupPlan) plannedGroup {
	out := plannedGroup{Group: g.Name, FileCount: g.Count, Place: asFile.Place, Stop: asFile.Stop, Replace: asFile.Replace,
		Missing: asFile.Missing, Reason: asFile.Obstacle}
	at := "group." + g.Name
	room, replace, meanwhile := "count = 0, left to Pilotlight", "registering it while the service is at zero", ", and new ones wait for a cold start after that"
	if draft.Unscaled {
		room, replace, meanwhile = "a count that there is room for, or more nodes", "update { max_parallel = 1 }, which replaces one after the other", ""
	}
	if asFile.Missing > 0 {
		p.find(jobs.SeverityError, ruleNoRoom, path, at+".count", fmt.Sprintf("%d of the %s that the file asks for would fit now: %s",
			g.Count-asFile.Missing, count(g.Count, "replica"), asFile.Obstacle), room)
	}
	if there == nil {
		return out
	}
	live, ok := there.Groups[g.Name]
	if !ok {
		return out
	}
	out.LiveCount = &live.Count
	if same.Replace > 0 && g.AllAtOnce {
		p.find(jobs.SeverityWarning, ruleReplacesAll, path, at,
			fmt.Sprintf("registering this stops all %s at once: requests in flight have kill_timeout (%s) to finish%s",
				count(same.Replace, "replica"), g.Facts.KillTimeout, meanwhile), replace)
	}
	if asFile.Stop > 0 && g.Count < live.Count {
		p.find(jobs.SeverityWarning, ruleCountReset, path, at+".count",
			fmt.Sprintf("nomad job run sets the count from %d to the file's %d: it stops %s at once", live.Count, g.Count, count(asFile.Stop, "replica")),
			"nomad job run -preserve-counts, or the count that is meant")
	}
	return out
}

// fits asks for a policy's max replicas. ok is false if the policy names no
// group of the job.
func (p *jobPlanner) fits(ctx context.Context, path string, draft *nomad.Draft, policy *policies.Policy) (out plannedMax, ok bool, err error) {
	g, ok := draft.Group(policy.Group)
	if !ok {
		p.find(jobs.SeverityError, ruleUnknownGroup, path, "group", fmt.Sprintf("policy %q: job %q has no group %q", policy.Name, draft.ID, policy.Group),
			"one of "+strings.Join(groupNames(draft), ", "))
		return out, false, nil
	}
	out = plannedMax{Policy: policy.Name, Group: g.Name, Max: policy.Replicas.Max}
	plan, err := p.nomad.Plan(ctx, draft, map[string]int{g.Name: out.Max}, p.nodes)
	if err != nil {
		return out, false, err
	}
	is := plan.Groups[g.Name]
	out.Fit, out.Reason = max(out.Max-is.Missing, 0), is.Obstacle
	if is.Missing > 0 {
		p.find(jobs.SeverityError, ruleNoRoom, path, "group."+g.Name, fmt.Sprintf("policy %q: %d of %s would fit now: %s",
			policy.Name, out.Fit, count(out.Max, "replica"), out.Reason), "replicas { max } that the cluster has room for, or more nodes")
	}
	if is.Preempt > 0 {
		p.find(jobs.SeverityWarning, ruleJobWarning, path, "group."+g.Name, fmt.Sprintf("policy %q: at max, Nomad would stop %s of other jobs to make room",
			policy.Name, count(is.Preempt, "allocation")), "")
	}
	return out, true, nil
}

func groupNames(d *nomad.Draft) []string {
	var names []string
	for _, g := range d.Groups {
		names = append(names, g.Name)
	}
	slices.Sort(names)
	return names
}
