package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/spec"
	"github.com/pilotlight/pilotlight/policies"
)

type jobCheckCommand struct {
	Files          []string      `arg:"" optional:"" name:"file" help:"Job specs (*.nomad.hcl)."`
	Policies       string        `help:"File of policies or folder of them, to be judged together with the jobs that they name." placeholder:"PATH"`
	MaxKillTimeout time.Duration `help:"max_kill_timeout of the Nomad clients; not given: Nomad's default of 30s, and a longer kill_timeout is only a warning." placeholder:"DURATION"`
	Output         string        `short:"o" default:"text" enum:"text,json,sarif" help:"Format: text, json or sarif." placeholder:"FORMAT"`
	Rules          bool          `help:"List the rules and end."`
	jobVariables
}

// Help is an example.
func (jobCheckCommand) Help() string {
	return "Exits with 1 if there are errors, with 2 if there was nothing to check; warnings alone are no failure. " +
		"A job that Pilotlight is not to scale says so itself: meta { pilotlight = \"not-scaled\" }.\n\n" +
		"Example:\n  pilotlight job check jobs/*.nomad.hcl --policies policies/ --max-kill-timeout 10m -o sarif > findings.sarif"
}

// Rules of findings on policies; those on job specs are in jobs/spec and policies.
const (
	ruleInvalidPolicy = "invalid-policy"
	ruleUnknownJob    = "unknown-job"
	ruleUnknownGroup  = spec.RuleUnknownGroup
)

// Run prints what is wrong with the files, in their order, then with the policies.
func (j jobCheckCommand) Run(_ context.Context, std streams) error {
	if j.Rules {
		return writeRules(std.out)
	}
	if len(j.Files) == 0 {
		return usageError{errors.New("no job specs; name files (*.nomad.hcl), or --rules")}
	}
	given, err := j.read()
	if err != nil {
		return err
	}
	check := jobCheck{clients: spec.Clients{MaxKillTimeout: j.MaxKillTimeout}, given: given}
	if j.Policies != "" {
		if err := check.readPolicies(j.Policies); err != nil {
			return err
		}
	}
	for _, path := range j.Files {
		src, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EISDIR) {
			return usageError{err}
		}
		if err != nil {
			return err
		}
		check.file(path, src)
	}
	if unused := given.Unused(); len(unused) > 0 && !check.unread {
		return usageError{fmt.Errorf("none of the files declares a variable %s", strings.Join(unused, ", "))}
	}
	findings := check.all()
	switch j.Output {
	case "json":
		err = spec.WriteJSON(std.out, findings)
	case "sarif":
		err = spec.WriteSARIF(std.out, findings)
	default:
		err = spec.WriteText(std.out, findings)
	}
	if err == nil && slices.ContainsFunc(findings, isError) {
		err = errReported
	}
	return err
}

// writeRules lists what job specs and policies are held to.
func writeRules(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range spec.Rules() {
		if _, err := fmt.Fprintf(table, "%s\t%s\n", r.Name, r.Text); err != nil {
			return err
		}
	}
	return table.Flush()
}

func isError(f jobs.Finding) bool { return f.Severity == jobs.SeverityError }

// jobCheck judges job specs and the policies that name their jobs.
type jobCheck struct {
	clients  spec.Clients
	given    *spec.Variables
	files    []policies.File
	judged   map[string]bool // job ids
	unread   bool            // a file is no job: which one it is about is not known
	ofJobs   []jobs.Finding
	ofPolicy []jobs.Finding
}

// readPolicies takes the right ones of a folder, and keeps what is wrong with
// the others.
func (c *jobCheck) readPolicies(path string) error {
	files, err := loadPolicies(path)
	var wrong policies.ValidationErrors
	if err != nil && !errors.As(err, &wrong) {
		return err
	}
	c.files = files
	for _, e := range wrong {
		c.ofPolicy = append(c.ofPolicy, findingOf(e, jobs.SeverityError, ruleInvalidPolicy))
	}
	return nil
}

func (c *jobCheck) policies() []*policies.Policy {
	return policySet{files: c.files}.policies()
}

// file judges one job spec, with each policy that names its job.
func (c *jobCheck) file(path string, src []byte) {
	s, findings := spec.ParseWith(path, src, c.given)
	if s == nil {
		c.unread = true
		c.ofJobs = append(c.ofJobs, findings...)
		return
	}
	if c.judged == nil {
		c.judged = map[string]bool{}
	}
	c.judged[s.ID] = true
	named := false
	for _, p := range c.policies() {
		if p.Job != s.ID {
			continue
		}
		named = true
		alone, together := spec.Check(s, p.Group, c.clients), policies.Fit(p, s)
		if slices.ContainsFunc(together, hasRule(ruleUnknownGroup)) { // both see it; this one knows whose fault it is
			alone = slices.DeleteFunc(alone, hasRule(ruleUnknownGroup))
		}
		findings = slices.Concat(findings, alone, together)
	}
	if !named {
		findings = append(findings, spec.Check(s, "", c.clients)...)
	}
	c.ofJobs = append(c.ofJobs, distinct(spec.Refine(s, findings))...)
}

func hasRule(rule string) func(jobs.Finding) bool {
	return func(f jobs.Finding) bool { return f.Rule == rule }
}

// distinct drops what several policies of one job have in common.
func distinct(findings []jobs.Finding) []jobs.Finding {
	known := map[jobs.Finding]bool{}
	return slices.DeleteFunc(findings, func(f jobs.Finding) bool {
		twice := known[f]
		known[f] = true
		return twice
	})
}

// all findings, with policies last.
func (c *jobCheck) all() []jobs.Finding {
	if !c.unread {
		var unknown []policies.FieldError
		for _, p := range c.policies() {
			if !c.judged[p.Job] {
				unknown = append(unknown, policies.FieldError{Policy: p.Name, Field: "job",
					Message: fmt.Sprintf("policy %q names job %q, which none of the files is", p.Name, p.Job),
					Allowed: "a job of the files that are checked"})
			}
		}
		for _, e := range policies.Locate(c.files, unknown) {
			c.ofPolicy = append(c.ofPolicy, findingOf(e, jobs.SeverityWarning, ruleUnknownJob))
		}
	}
	return slices.Concat(c.ofJobs, c.ofPolicy)
}

func findingOf(e policies.FieldError, severity, rule string) jobs.Finding {
	message := e.Message
	if e.Field != "" && rule == ruleInvalidPolicy {
		message = e.Field + ": " + message
	}
	return jobs.Finding{File: e.File, Line: max(e.Line, 1), Column: max(e.Column, 1), Severity: severity, Rule: rule,
		Path: e.Field, Message: message, Allowed: e.Allowed}
}
