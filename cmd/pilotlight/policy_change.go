package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/pilotlight/pilotlight/policies"
)

// policyChange is one policy whose text in force is to become another.
type policyChange struct {
	name   string
	before inForce
	after  string // "": it is to be deleted
	file   string // where after is from
	skip   int    // lines of file before after
}

// inForce is what a policy is before a change; zero: there is none.
type inForce struct {
	text    string
	version int
	from    string // where text is from, in words
}

func (f inForce) none() bool { return f.text == "" }

// policyPlan is what files would change.
type policyPlan struct {
	changes   []policyChange
	unchanged int
	others    []string // in force, but in no file, and left alone
}

// lookup finds what is in force of a policy; none is no error.
type lookup func(ctx context.Context, name string) (inForce, error)

// inForce looks at the control plane.
func (c *control) inForce(ctx context.Context, name string) (inForce, error) {
	r, err := c.policy(ctx, name, mediaHCL)
	var p *problemError
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		return inForce{}, nil
	}
	if err != nil {
		return inForce{}, err
	}
	if r.version() == 0 {
		return inForce{}, fmt.Errorf("%s: the control plane does not say which version is in force", name)
	}
	return inForce{tidy(string(r.body)), r.version(), fmt.Sprintf("%s version %d", name, r.version())}, nil
}

// names of the policies in force.
func (c *control) names(ctx context.Context) ([]string, error) {
	var list []struct {
		Name string `json:"name"`
	}
	if _, err := c.get(ctx, &list, "policies"); err != nil {
		return nil, err
	}
	names := make([]string, len(list))
	for i, v := range list {
		if !serviceName.MatchString(v.Name) { // it becomes part of URLs and file names
			return nil, fmt.Errorf("the control plane lists a policy %q, which is not a name", v.Name)
		}
		names[i] = v.Name
	}
	return names, nil
}

// planChanges compares files with what is in force; prune deletes what is in no
// file.
func planChanges(ctx context.Context, files []policies.File, names []string, now lookup, prune bool) (policyPlan, error) {
	var plan policyPlan
	wanted := map[string]bool{}
	for _, ch := range wantedBy(files) {
		wanted[ch.name] = true
		var err error
		if ch.before, err = now(ctx, ch.name); err != nil {
			return policyPlan{}, err
		}
		if ch.before.text == ch.after {
			plan.unchanged++
			continue
		}
		plan.changes = append(plan.changes, ch)
	}
	for _, name := range names {
		if wanted[name] {
			continue
		}
		if !prune {
			plan.others = append(plan.others, name)
			continue
		}
		before, err := now(ctx, name)
		if err != nil {
			return policyPlan{}, err
		}
		if !before.none() {
			plan.changes = append(plan.changes, policyChange{name: name, before: before})
		}
	}
	return plan, nil
}

// tidy is a policy's text without the blank lines that separated it from others
// in its file.
func tidy(text string) string { return strings.Trim(text, "\r\n") + "\n" }

func blankBytes(text string) int { return len(text) - len(strings.TrimLeft(text, "\r\n")) }

func blankLines(text string) int { return strings.Count(text[:blankBytes(text)], "\n") }

// sum in words: "1 to create, 2 to change, 1 to delete".
func (p policyPlan) sum() string {
	var create, change, remove int
	for _, c := range p.changes {
		switch {
		case c.after == "":
			remove++
		case c.before.none():
			create++
		default:
			change++
		}
	}
	var parts []string
	for _, n := range []struct {
		count int
		verb  string
	}{{create, "create"}, {change, "change"}, {remove, "delete"}} {
		if n.count > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", n.count, n.verb))
		}
	}
	return strings.Join(parts, ", ")
}

// show writes the differences to out, and what else is to be known to notes.
func (p policyPlan) show(out, notes io.Writer) error {
	colour := colours(out)
	for _, c := range p.changes {
		if _, err := io.WriteString(out, c.diff(colour)); err != nil {
			return err
		}
	}
	if len(p.others) > 0 {
		_, _ = fmt.Fprintf(notes, "In force, but in none of the files: %s\n", strings.Join(p.others, ", "))
	}
	if len(p.changes) == 0 {
		_, _ = fmt.Fprintf(notes, "Nothing to change: %s as in force.\n", counted(p.unchanged, "policy"))
	}
	return nil
}

// diff is the change as a unified diff.
func (c policyChange) diff(colour bool) string {
	from, to := c.before.from, c.file
	if c.before.none() {
		from = os.DevNull
	}
	if c.after == "" {
		to = os.DevNull
	}
	_, text, _ := strings.Cut(string(diff.Diff(from, []byte(c.before.text), to, []byte(c.after))), "\n") // its first line repeats the names
	if !colour {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		code := ""
		switch {
		case strings.HasPrefix(line, "---"), strings.HasPrefix(line, "+++"):
			code = "1" // bold
		case strings.HasPrefix(line, "@@"):
			code = "36" // cyan
		case strings.HasPrefix(line, "-"):
			code = "31" // red
		case strings.HasPrefix(line, "+"):
			code = "32" // green
		}
		if code == "" {
			b.WriteString(line)
			continue
		}
		fmt.Fprintf(&b, "\x1b[%sm%s\x1b[0m\n", code, strings.TrimSuffix(line, "\n"))
	}
	return b.String()
}

type policyDiffCommand struct {
	File    []string `short:"f" required:"" sep:"none" help:"File or folder of policies, not of its subfolders; may be repeated." placeholder:"PATH"`
	Against string   `help:"Compare with this file or folder instead of what is in force: offline." placeholder:"PATH"`
	controlFlags
}

// Help is an example.
func (policyDiffCommand) Help() string {
	return "Exits with 0 whether or not there are differences; with 1 if the files are wrong.\n\nExample:\n  pilotlight policy diff -f policies/"
}

// Run shows the differences and changes nothing.
func (p policyDiffCommand) Run(ctx context.Context, std streams) error {
	set, err := readPolicySet(p.File)
	if err != nil {
		return err
	}
	tellUnread(std.err, set.unread)
	if err := set.check(std.err); err != nil {
		return err
	}
	var (
		names []string
		now   lookup
		live  *control // nil: compared with files
	)
	if p.Against != "" {
		if names, now, err = inFiles(p.Against); err != nil {
			return err
		}
	} else {
		if live, err = p.client(); err != nil {
			return err
		}
		if names, err = live.names(ctx); err != nil {
			return err
		}
		now = live.inForce
	}
	plan, err := planChanges(ctx, set.files, names, now, false)
	if err != nil {
		return err
	}
	if err := plan.show(std.out, std.err); err != nil || live == nil {
		return err
	}
	live.tellWarnings(ctx, std.err, plan.changes, set.warnings)
	return nil
}

// inFiles are policies to compare with that are in no store.
func inFiles(path string) (names []string, now lookup, err error) {
	files, err := loadPolicies(path)
	if err != nil {
		return nil, nil, err
	}
	found := map[string]inForce{}
	for _, f := range files {
		for i, p := range f.Policies {
			names = append(names, p.Name)
			found[p.Name] = inForce{text: tidy(f.Sources[i]), from: f.Path}
		}
	}
	return names, func(_ context.Context, name string) (inForce, error) { return found[name], nil }, nil
}
