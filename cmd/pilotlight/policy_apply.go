package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

type policyApplyCommand struct {
	File    []string `short:"f" required:"" sep:"none" help:"File or folder of policies, not of its subfolders; may be repeated." placeholder:"PATH"`
	Yes     bool     `short:"y" env:"-" help:"Do not ask."`
	Comment string   `env:"-" help:"Why; stored with each version." placeholder:"TEXT"`
	Prune   bool     `env:"-" help:"Delete policies that are in none of the files; their history stays. Refused where subfolders hold policies that were not read."`
	controlFlags
}

// Help is an example.
func (policyApplyCommand) Help() string {
	return "Shows the differences first. What somebody else has changed meanwhile is not overwritten.\n\nExample:\n  pilotlight policy apply -f policies/ --comment \"raise max for the campaign\""
}

// Run shows, asks, and puts into force.
func (p policyApplyCommand) Run(ctx context.Context, std streams) error {
	if !p.Yes && !isTerminal(std.in) {
		return usageError{errors.New("nobody can be asked here: standard input is no terminal; give --yes to apply without a question")}
	}
	c, err := p.client()
	if err != nil {
		return err
	}
	set, err := readPolicySet(p.File)
	if err != nil {
		return err
	}
	if p.Prune && len(set.unread) > 0 { // what was only moved would be deleted
		return usageError{fmt.Errorf("--prune deletes what is in none of the files, but these in subfolders were not read: %s. Name their folders with -f as well, or move what is not to count somewhere else (hidden folders do not count)", firstFew(set.unread))}
	}
	tellUnread(std.err, set.unread)
	if err := set.check(std.err); err != nil {
		return err
	}
	names, err := c.names(ctx)
	if err != nil {
		return err
	}
	plan, err := planChanges(ctx, set.files, names, c.inForce, p.Prune)
	if err != nil {
		return err
	}
	if err := plan.show(std.out, std.err); err != nil || len(plan.changes) == 0 {
		return err
	}
	c.tellWarnings(ctx, std.err, plan.changes, set.warnings)
	if !p.Yes {
		yes, err := confirm(ctx, std, "Apply this ("+plan.sum()+")?")
		if err != nil {
			return err
		}
		if !yes {
			_, _ = fmt.Fprintln(std.err, "Nothing was changed.")
			return errReported
		}
	}
	return c.apply(ctx, std, plan.changes, p.Comment)
}

// apply puts changes into force in the order given. One that the store refuses
// as it stands (its route may still be another's, whose change comes later) is
// tried again when the others are in force, as long as that helps.
func (c *control) apply(ctx context.Context, std streams, changes []policyChange, comment string) error {
	pending := changes
	for len(pending) > 0 {
		var refused []policyChange
		var errs []error
		for i, ch := range pending {
			done, err := c.put(ctx, ch, comment)
			var p *problemError
			switch {
			case err == nil:
				_, _ = fmt.Fprintln(std.out, done)
			case errors.As(err, &p) && p.Status == http.StatusUnprocessableEntity:
				refused, errs = append(refused, ch), append(errs, ch.refusal(p))
			default:
				return notApplied(ch.refusal(err), slices.Concat(refused, pending[i:]))
			}
		}
		if len(refused) == len(pending) {
			return notApplied(errors.Join(errs...), refused)
		}
		pending = refused
	}
	return nil
}

// put makes one change, on the version that was shown, and says what was done.
func (c *control) put(ctx context.Context, ch policyChange, comment string) (string, error) {
	call := call{method: http.MethodPut, path: []string{"policies", ch.name}, header: map[string]string{"Accept": mediaJSON}}
	if comment != "" {
		call.query = url.Values{"comment": {comment}}
	}
	maps.Copy(call.header, ch.base())
	if ch.after == "" {
		call.method = http.MethodDelete
		_, err := c.do(ctx, call)
		return "deleted " + ch.name, err
	}
	call.media, call.body = mediaHCL, []byte(ch.after)
	r, err := c.do(ctx, call)
	verb := "changed"
	if ch.before.none() {
		verb = "created"
	}
	return fmt.Sprintf("%s %s: version %d", verb, ch.name, r.version()), err
}

// base is what a change is made on, and on nothing else: the version that was
// shown.
func (ch policyChange) base() map[string]string {
	if ch.before.none() {
		return map[string]string{"If-None-Match": "*"}
	}
	return map[string]string{"If-Match": strconv.Quote(strconv.Itoa(ch.before.version))}
}

// refusal says why a change was not made: a lost race in words, errors at their
// place in the file.
func (ch policyChange) refusal(err error) error {
	var p *problemError
	if !errors.As(err, &p) {
		return fmt.Errorf("%s: %w", ch.name, err)
	}
	switch {
	case p.Status == http.StatusPreconditionFailed && p.Current != nil:
		v := p.Current
		what := "changed"
		if v.Deleted {
			what = "deleted"
		}
		comment := ""
		if v.Comment != "" {
			comment = ", \"" + oneLine(v.Comment) + "\""
		}
		return fmt.Errorf("%s was %s by somebody else since it was read: version %d, by %s at %s%s. That stays; run this again to see the new difference",
			ch.name, what, v.Version, orDash(oneLine(v.Author)), utc(v.At), comment)
	case p.Status == http.StatusPreconditionFailed, ch.after == "" && p.Status == http.StatusNotFound:
		return fmt.Errorf("%s was created or deleted by somebody else since it was read. That stays; run this again to see the new difference", ch.name)
	case len(p.Errors) > 0 && ch.file != "":
		lines := make([]string, len(p.Errors))
		for i, e := range p.Errors {
			lines[i] = ch.at(e).Error()
		}
		return errors.New(strings.Join(lines, "\n"))
	}
	return fmt.Errorf("%s: %w", ch.name, err)
}

func notApplied(err error, left []policyChange) error {
	names := make([]string, len(left))
	for i, ch := range left {
		names[i] = ch.name
	}
	return fmt.Errorf("%w\nnot applied: %s", err, strings.Join(names, ", "))
}
