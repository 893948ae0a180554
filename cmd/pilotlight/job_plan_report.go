package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/nomad"
)

// planReport is what -o json prints.
type planReport struct {
	Plans    []jobPlan      `json:"plans"`
	Findings []jobs.Finding `json:"findings"`
	Errors   int            `json:"errors"`
	Warnings int            `json:"warnings"`
}

// jobPlan of one file.
type jobPlan struct {
	File       string         `json:"file"`
	Job        string         `json:"job"`
	Namespace  string         `json:"namespace"`
	Registered bool           `json:"registered"`
	Version    uint64         `json:"version"`
	Change     string         `json:"change"`
	Diff       []nomad.Change `json:"diff"`
	Groups     []plannedGroup `json:"groups"`
	Policies   []plannedMax   `json:"policies"`
}

type plannedGroup struct {
	Group     string `json:"group"`
	FileCount int    `json:"file_count"`
	LiveCount *int   `json:"live_count"`
	Place     int    `json:"place"`
	Stop      int    `json:"stop"`
	Replace   int    `json:"replace"`
	Missing   int    `json:"missing"`
	Reason    string `json:"reason"`
}

type plannedMax struct {
	Policy string `json:"policy"`
	Group  string `json:"group"`
	Max    int    `json:"max"`
	Fit    int    `json:"fit"` // of Max
	Reason string `json:"reason"`
}

func (r *planReport) write(w io.Writer, asJSON bool) error {
	if asJSON {
		body, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return writeIndented(w, body)
	}
	var b strings.Builder
	for _, p := range r.Plans {
		p.write(&b, colours(w))
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s: %s: %s [%s]", f.File, f.Severity, f.Message, f.Rule)
		if f.Path != "" {
			fmt.Fprintf(&b, " at %s", f.Path)
		}
		b.WriteByte('\n')
		if f.Allowed != "" {
			fmt.Fprintf(&b, "    allowed: %s\n", f.Allowed)
		}
	}
	fmt.Fprintf(&b, "%s, %s\n", count(r.Errors, "error"), count(r.Warnings, "warning"))
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *jobPlan) write(b *strings.Builder, coloured bool) {
	state := "not registered"
	if p.Registered {
		state = fmt.Sprintf("registered, version %d", p.Version)
	}
	what := map[string]string{nomad.ChangeAdded: "new", nomad.ChangeEdited: "changes", nomad.ChangeNone: "no change"}[p.Change]
	fmt.Fprintf(b, "%s: job %q in namespace %q (%s): %s\n", p.File, p.Job, p.Namespace, state, cmp.Or(what, p.Change))
	if p.Registered { // of a new job every field is new
		for _, c := range p.Diff {
			line := "  " + changeLine(c)
			if code := map[string]string{nomad.ChangeAdded: "32", nomad.ChangeDeleted: "31", nomad.ChangeEdited: "33"}[c.Kind]; coloured && code != "" {
				line = "\x1b[" + code + "m" + line + "\x1b[0m"
			}
			b.WriteString(line + "\n")
		}
	}
	for _, g := range p.Groups {
		live := ""
		if g.LiveCount != nil {
			live = fmt.Sprintf(", %d live", *g.LiveCount)
		}
		fmt.Fprintf(b, "  group %s: count %d in the file%s; nomad job run would place %d, stop %d, replace %d\n",
			g.Group, g.FileCount, live, g.Place-min(g.Missing, g.Place), g.Stop, g.Replace)
	}
	for _, m := range p.Policies {
		if m.Fit == m.Max {
			fmt.Fprintf(b, "  policy %s: its max of %s would fit now\n", m.Policy, count(m.Max, "replica"))
		}
	}
}

// changeLine is one field: + new, - gone, ~ other.
func changeLine(c nomad.Change) string {
	switch {
	case c.Hidden:
		return map[string]string{nomad.ChangeAdded: "+", nomad.ChangeDeleted: "-", nomad.ChangeEdited: "~"}[c.Kind] + " " + c.Path + ": (value hidden)"
	case c.Kind == nomad.ChangeAdded:
		return fmt.Sprintf("+ %s: %q", c.Path, c.New)
	case c.Kind == nomad.ChangeDeleted:
		return fmt.Sprintf("- %s: %q", c.Path, c.Old)
	}
	return fmt.Sprintf("~ %s: %q → %q", c.Path, c.Old, c.New)
}
