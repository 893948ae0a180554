package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/web"
)

type policyCommand struct {
	List     policyListCommand     `cmd:"" help:"List the policies in force."`
	Show     policyShowCommand     `cmd:"" help:"Print a policy as it was written."`
	Validate policyValidateCommand `cmd:"" help:"Check policy files, offline."`
	Diff     policyDiffCommand     `cmd:"" help:"Show what files would change."`
	Apply    policyApplyCommand    `cmd:"" help:"Put files into force, after showing what changes."`
	History  policyHistoryCommand  `cmd:"" help:"List the versions of a policy."`
	Rollback policyRollbackCommand `cmd:"" help:"Save the text of an earlier version as the newest."`
	Export   policyExportCommand   `cmd:"" help:"Write the policies in force to a folder."`
	Simulate policySimulateCommand `cmd:"" help:"Replay a trace under a policy."`
	Shadow   policyShadowCommand   `cmd:"" help:"Run a draft beside the policy in force, without acting."`
}

// Help is an example.
func (policyCommand) Help() string {
	return "Example:\n  pilotlight policy validate policies/ && pilotlight policy apply -f policies/"
}

type policyListCommand struct {
	controlFlags
	outputFlags
}

// Help is an example.
func (policyListCommand) Help() string {
	return "Example:\n  pilotlight policy list --control http://127.0.0.1:8081"
}

// Run prints a table, or what the control plane answers.
func (p policyListCommand) Run(ctx context.Context, std streams) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	// Not web.PolicyInfo: fields of another version must not be an error here.
	var list []struct {
		web.VersionInfo
		Policy struct {
			Job      string `json:"job"`
			Replicas struct {
				Min int `json:"min"`
				Max int `json:"max"`
			} `json:"replicas"`
		} `json:"policy"`
	}
	body, err := c.get(ctx, &list, "policies")
	if err != nil {
		return err
	}
	if p.json() {
		return writeIndented(std.out, body)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(std.err, "There are no policies; pilotlight policy apply -f PATH brings some.")
		return err
	}
	t := newTable(std.out, "NAME", "VERSION", "JOB", "MIN", "MAX", "CHANGED", "BY", "COMMENT")
	for _, v := range list {
		t.row(v.Name, v.Version, v.Policy.Job, v.Policy.Replicas.Min, v.Policy.Replicas.Max, utc(v.At), v.Author, v.Comment)
	}
	return t.flush()
}

type policyShowCommand struct {
	Name string `arg:"" help:"Name of the policy."`
	controlFlags
	outputFlags
}

// Help is an example.
func (policyShowCommand) Help() string { return "Example:\n  pilotlight policy show translate" }

// Run prints the text in force; as JSON every field with its value.
func (p policyShowCommand) Run(ctx context.Context, std streams) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	if err := checkName(p.Name); err != nil {
		return err
	}
	accept := mediaHCL
	if p.json() {
		accept = mediaJSON
	}
	r, err := c.policy(ctx, p.Name, accept)
	if err != nil {
		return err
	}
	if p.json() {
		return writeIndented(std.out, r.body)
	}
	_, err = std.out.Write([]byte(tidy(string(r.body))))
	return err
}

// policy reads the current version of a policy in one of its formats.
func (c *control) policy(ctx context.Context, name, accept string) (reply, error) {
	r, err := c.do(ctx, call{method: http.MethodGet, path: []string{"policies", name}, header: map[string]string{"Accept": accept}})
	return r, about(name, err)
}

// about says whose problem it is.
func about(name string, err error) error {
	var p *problemError
	if errors.As(err, &p) {
		return fmt.Errorf("%s: %w", name, err)
	}
	return err
}

type policyHistoryCommand struct {
	Name string `arg:"" help:"Name of the policy."`
	controlFlags
	outputFlags
}

// Help is an example.
func (policyHistoryCommand) Help() string { return "Example:\n  pilotlight policy history translate" }

// Run lists the versions, newest first; as JSON with their texts.
func (p policyHistoryCommand) Run(ctx context.Context, std streams) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	if err := checkName(p.Name); err != nil {
		return err
	}
	var list []policies.Version
	body, err := c.get(ctx, &list, "policies", p.Name, "versions")
	if err != nil {
		return about(p.Name, err)
	}
	if p.json() {
		return writeIndented(std.out, body)
	}
	t := newTable(std.out, "VERSION", "CHANGED", "BY", "COMMENT")
	for _, v := range list {
		comment := v.Comment
		if v.Deleted {
			comment = "deleted: " + orDash(comment)
		}
		t.row(v.Version, utc(v.At), v.Author, comment)
	}
	return t.flush()
}

// table for people: columns as wide as they need to be.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, columns ...any) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row(columns...)
	return t
}

func (t table) row(cells ...any) {
	for i, c := range cells {
		end := "\t"
		if i == len(cells)-1 {
			end = "\n"
		}
		_, _ = io.WriteString(t.w, orDash(oneLine(fmt.Sprint(c)))+end)
	}
}

func (t table) flush() error { return t.w.Flush() }

// utc is a time as people read and sort it.
func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// number is n to about three digits, or a dash where it is unknown.
func number(n *float64, unit string) string {
	if n == nil {
		return "-"
	}
	scale := 100.0
	switch size := math.Abs(*n); {
	case size >= 100:
		scale = 1
	case size >= 10:
		scale = 10
	}
	return strconv.FormatFloat(math.Round(*n*scale)/scale, 'f', -1, 64) + unit
}
