package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/web"
)

type policyShadowCommand struct {
	Set  policyShadowSetCommand  `cmd:"" help:"Let a draft run beside the policy of its name, without acting."`
	Show policyShadowShowCommand `cmd:"" help:"Compare the draft with the policy in force."`
	Stop policyShadowStopCommand `cmd:"" help:"End the draft, and forget what it decided."`
}

// Help is an example.
func (policyShadowCommand) Help() string {
	return "A shadow is a draft that decides on the live service's signals and never acts. What it would cost over days is what pilotlight policy simulate tells.\n\nExample:\n  pilotlight policy shadow set drafts/chat.hcl --comment \"more headroom\"\n  pilotlight policy shadow show chat"
}

type policyShadowSetCommand struct {
	File    string `arg:"" help:"File of the draft."`
	Name    string `help:"Name of the policy, if the file has several." placeholder:"NAME"`
	Comment string `help:"Why; shown with the shadow." placeholder:"TEXT"`
	controlFlags
}

// Help is an example.
func (policyShadowSetCommand) Help() string {
	return "It takes the place of any other draft beside that policy.\n\nExample:\n  pilotlight policy shadow set drafts/chat.hcl --comment \"more headroom\""
}

// Run checks the draft here and sends it.
func (p policyShadowSetCommand) Run(ctx context.Context, std streams) error {
	draft, text, err := onePolicyText(p.File, p.Name, std.err)
	if err != nil {
		return err
	}
	c, err := p.client()
	if err != nil {
		return err
	}
	query := url.Values{}
	if p.Comment != "" {
		query.Set("comment", p.Comment)
	}
	if _, err := c.do(ctx, call{method: http.MethodPut, path: shadowPath(draft.Name), query: query, media: mediaHCL, body: []byte(text)}); err != nil {
		return about(draft.Name, err)
	}
	_, err = fmt.Fprintf(std.out, "%s: the draft runs beside the policy in force, without acting; compare them with pilotlight policy shadow show %s\n", draft.Name, draft.Name)
	return err
}

func shadowPath(name string) []string { return []string{"policies", name, "shadow"} }

type policyShadowShowCommand struct {
	Name string `arg:"" help:"Name of the policy."`
	controlFlags
	outputFlags
}

// Help is an example.
func (policyShadowShowCommand) Help() string {
	return "Both decide on the same signals; the draft with the replicas that it would have. As json also its text.\n\nExample:\n  pilotlight policy shadow show chat"
}

// Run prints the comparison, or what the control plane answers.
func (p policyShadowShowCommand) Run(ctx context.Context, std streams) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	if err := checkName(p.Name); err != nil {
		return err
	}
	var info web.ShadowInfo
	body, err := c.get(ctx, &info, shadowPath(p.Name)...)
	if err != nil {
		return about(p.Name, err)
	}
	if p.json() {
		return writeIndented(std.out, body)
	}
	return writeShadow(std.out, &info)
}

// shownSteps are the newest that are printed; the others are in the JSON.
const shownSteps = 10

// writeShadow is a comparison for people.
func writeShadow(w io.Writer, info *web.ShadowInfo) error {
	s := info.Shadow
	by := ""
	if s.Author != "" {
		by = " by " + oneLine(s.Author)
	}
	if s.Comment != "" {
		by += ": " + oneLine(s.Comment)
	}
	if _, err := fmt.Fprintf(w, "%s: a draft beside the policy in force, set %s%s\n", info.Service, utc(s.At), by); err != nil {
		return err
	}
	is := info.Standing
	if is == nil {
		_, err := fmt.Fprintln(w, "It has not decided yet: the active scaler begins with it within seconds.")
		return err
	}
	if is.Failure != "" {
		if _, err := fmt.Fprintf(w, "It does not decide: %s\n", oneLine(is.Failure)); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintln(w)
	t := newTable(w, "POLICY", "WANTED", "GPU-HOURS")
	t.row("draft", is.Wanted, plain(is.GPUSeconds/3600))
	t.row("in force", is.LiveWanted, plain(is.LiveGPUSeconds/3600))
	if err := t.flush(); err != nil {
		return err
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)).Round(time.Second) }
	if _, err := fmt.Fprintf(w, "\nOver %v, of which they wanted different counts for %v; the draft changed its count in %s.\n",
		seconds(is.ObservedS), seconds(is.DiffersS), counted(int(is.Decisions), "decision")); err != nil {
		return err
	}
	return writeSteps(w, info.Steps)
}

// writeSteps prints when either wanted another count, the newest first.
func writeSteps(w io.Writer, steps []jobs.ShadowStep) error {
	if len(steps) == 0 {
		return nil
	}
	_, _ = fmt.Fprintln(w)
	t := newTable(w, "SINCE", "DRAFT WANTS", "IN FORCE WANTS")
	for i := len(steps) - 1; i >= max(0, len(steps)-shownSteps); i-- {
		t.row(utc(steps[i].At), steps[i].Wanted, steps[i].Live)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if more := len(steps) - shownSteps; more > 0 {
		_, err := fmt.Fprintf(w, "%s before: -o json has them.\n", counted(more, "step"))
		return err
	}
	return nil
}

type policyShadowStopCommand struct {
	Name string `arg:"" help:"Name of the policy."`
	controlFlags
}

// Help is an example.
func (policyShadowStopCommand) Help() string {
	return "The policy in force stays as it is.\n\nExample:\n  pilotlight policy shadow stop chat"
}

// Run ends the draft.
func (p policyShadowStopCommand) Run(ctx context.Context, std streams) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	if err := checkName(p.Name); err != nil {
		return err
	}
	if _, err := c.do(ctx, call{method: http.MethodDelete, path: shadowPath(p.Name)}); err != nil {
		return about(p.Name, err)
	}
	_, err = fmt.Fprintf(std.out, "%s: no draft runs beside the policy any more\n", p.Name)
	return err
}
