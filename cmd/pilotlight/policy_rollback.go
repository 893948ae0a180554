package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/web"
)

type policyRollbackCommand struct {
	Name    string `arg:"" help:"Name of the policy."`
	Version int    `arg:"" help:"Version whose text is to be in force again."`
	Yes     bool   `short:"y" env:"-" help:"Do not ask."`
	Comment string `env:"-" help:"Why; stored with the new version." placeholder:"TEXT"`
	controlFlags
}

// Help is an example.
func (policyRollbackCommand) Help() string {
	return "Shows the difference first. What somebody else has changed meanwhile is not overwritten.\n\nExample:\n  pilotlight policy rollback translate 3 --comment \"max was too high\""
}

// Run shows, asks, and saves the text of an earlier version as a new one; history
// only grows.
func (p policyRollbackCommand) Run(ctx context.Context, std streams) error {
	if err := checkName(p.Name); err != nil {
		return err
	}
	if p.Version < 1 {
		return usageError{fmt.Errorf("VERSION is %d; allowed: 1 and above, see pilotlight policy history %s", p.Version, p.Name)}
	}
	if !p.Yes && !isTerminal(std.in) {
		return usageError{errors.New("nobody can be asked here: standard input is no terminal; give --yes to roll back without a question")}
	}
	c, err := p.client()
	if err != nil {
		return err
	}
	ch, err := c.rollbackOf(ctx, p.Name, p.Version)
	if err != nil {
		return err
	}
	if ch.before.text == ch.after {
		_, err := fmt.Fprintf(std.err, "Nothing to change: version %d has the text that is in force.\n", p.Version)
		return err
	}
	if err := (policyPlan{changes: []policyChange{ch}}).show(std.out, std.err); err != nil {
		return err
	}
	c.tellWarnings(ctx, std.err, []policyChange{ch}, nil)
	if !p.Yes {
		yes, err := confirm(ctx, std, fmt.Sprintf("Roll %s back to version %d?", p.Name, p.Version))
		if err != nil {
			return err
		}
		if !yes {
			_, _ = fmt.Fprintln(std.err, "Nothing was changed.")
			return errReported
		}
	}
	body, err := json.Marshal(web.RollbackRequest{Version: p.Version, Comment: p.Comment})
	if err != nil {
		return err
	}
	r, err := c.do(ctx, call{method: http.MethodPost, path: []string{"policies", p.Name, "rollback"}, header: ch.base(), media: mediaJSON, body: body})
	if err != nil {
		return c.rollbackRefusal(ch, p.Version, err)
	}
	_, err = fmt.Fprintf(std.out, "%s: version %d is in force, with the text of version %d\n", p.Name, r.version(), p.Version)
	return err
}

// rollbackOf is the change from what is in force to the text of an earlier version.
func (c *control) rollbackOf(ctx context.Context, name string, version int) (policyChange, error) {
	var list []policies.Version
	if _, err := c.get(ctx, &list, "policies", name, "versions"); err != nil {
		return policyChange{}, about(name, err)
	}
	var kept []string
	for _, v := range list {
		if !v.Deleted {
			kept = append(kept, strconv.Itoa(v.Version))
		}
	}
	i := slices.IndexFunc(list, func(v policies.Version) bool { return v.Version == version && !v.Deleted })
	if i < 0 {
		return policyChange{}, fmt.Errorf("%s: %d is not a kept version with a text; allowed: %s", name, version, oneOf(kept))
	}
	ch := policyChange{name: name, after: list[i].Text, file: fmt.Sprintf("%s version %d", name, version)}
	if now := list[0]; !now.Deleted {
		ch.before = inForce{text: now.Text, version: now.Version, from: fmt.Sprintf("%s version %d", name, now.Version)}
	}
	return ch, nil
}

// oneOf lists the last few of many, newest first.
func oneOf(newest []string) string {
	const shown = 10
	text := strings.Join(newest[:min(shown, len(newest))], ", ")
	if len(newest) > shown {
		text += " and older ones"
	}
	return text
}

// rollbackRefusal says why it was not done. Errors are at their lines of the old
// text, with where that can be put right.
func (c *control) rollbackRefusal(ch policyChange, version int, err error) error {
	why := ch.refusal(err)
	var problem *problemError
	if errors.As(err, &problem) && len(problem.Errors) > 0 {
		return fmt.Errorf("%w\nversion %d is not valid as it stands: put it right in the editor (%s?version=%d), or in a file for pilotlight policy apply",
			why, version, c.base.JoinPath("policies", ch.name).Redacted(), version)
	}
	return why
}
