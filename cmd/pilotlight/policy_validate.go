package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pilotlight/pilotlight/policies"
)

type policyValidateCommand struct {
	Paths   []string `arg:"" name:"path" help:"Files of policies, or folders of them (*.hcl; not of their subfolders)."`
	Control string   `env:"-" help:"Also ask the control plane of a running Pilotlight for what it warns of: a max beyond the GPUs of the cluster, a keep-alive shorter than a cold start." placeholder:"URL"`
	outputFlags
}

// Help is an example.
func (policyValidateCommand) Help() string {
	return "All files are judged as one set: no two policies may have one name or take the same requests. Offline, unless --control names somebody to ask.\n\nExample:\n  pilotlight policy validate policies/"
}

// Run says all that is wrong at once.
func (p policyValidateCommand) Run(ctx context.Context, std streams) error {
	set, err := readPolicySet(p.Paths)
	if err != nil {
		return err
	}
	if p.Control != "" {
		c, err := controlFlags{Control: p.Control}.client()
		if err != nil {
			return err
		}
		more, err := c.warnings(ctx, wantedBy(set.files), set.warnings)
		if err != nil {
			return err
		}
		set.warnings = append(set.warnings, more...)
		slices.SortStableFunc(set.warnings, byPlace)
	}
	tellUnread(std.err, set.unread)
	if p.json() {
		err = set.writeJSON(std.out)
	} else {
		err = set.writeText(std.out)
	}
	if err == nil && len(set.errs) > 0 {
		err = errReported
	}
	return err
}

// policySet is what some files hold, and what is wrong with it.
type policySet struct {
	files    []policies.File // the right ones
	errs     []policies.FieldError
	warnings []policies.FieldError
	unread   []string // files that may hold policies, in subfolders, which are not read
}

// readPolicySet reads files and folders and judges them together. An error means
// that there was nothing to judge.
func readPolicySet(paths []string) (policySet, error) {
	var set policySet
	known := map[string]bool{} // a file named twice is read once
	for _, path := range paths {
		files, err := loadPolicies(path)
		var wrong policies.ValidationErrors
		if err != nil && !errors.As(err, &wrong) {
			return policySet{}, err
		}
		for _, e := range wrong {
			if !known[absolute(e.File)] {
				set.errs = append(set.errs, e)
			}
		}
		for _, f := range files {
			if !known[absolute(f.Path)] {
				set.files = append(set.files, f)
			}
		}
		for _, f := range files {
			known[absolute(f.Path)] = true
		}
		for _, e := range wrong {
			known[absolute(e.File)] = true
		}
	}
	for _, path := range paths {
		for _, left := range policies.Unread(path) {
			if at := absolute(left); !known[at] {
				known[at] = true
				set.unread = append(set.unread, left)
			}
		}
	}
	var clashes policies.ValidationErrors
	if errors.As(policies.CheckSet(set.policies()), &clashes) {
		set.errs = append(set.errs, policies.Locate(set.files, clashes)...)
	}
	for _, p := range set.policies() {
		set.warnings = append(set.warnings, policies.Locate(set.files, policies.Warnings(p, 0))...)
	}
	slices.SortStableFunc(set.errs, byPlace)
	return set, nil
}

// loadPolicies is policies.LoadDir, where a path that holds none is wrong use.
func loadPolicies(path string) ([]policies.File, error) {
	files, err := policies.LoadDir(path)
	if left := policies.Unread(path); errors.Is(err, policies.ErrNoFiles) && len(left) > 0 {
		err = fmt.Errorf("%w; its subfolders are not read, name each of them by itself: %s", err, firstFew(left))
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, policies.ErrNoFiles) {
		return nil, usageError{err}
	}
	return files, err
}

// absolute is one name of a file for all its names.
func absolute(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// tellUnread says which files were passed over.
func tellUnread(w io.Writer, unread []string) {
	if len(unread) > 0 {
		_, _ = fmt.Fprintf(w, "Not read, because subfolders are not; name them as well if they count: %s\n", firstFew(unread))
	}
}

// firstFew names some of many.
func firstFew(names []string) string {
	const few = 10
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

func byPlace(a, b policies.FieldError) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

func (s policySet) policies() []*policies.Policy {
	var all []*policies.Policy
	for _, f := range s.files {
		all = append(all, f.Policies...)
	}
	return all
}

// writeText gives a line for every error, then for every warning, then the sum.
func (s policySet) writeText(w io.Writer) error {
	var err error
	line := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, format+"\n", args...)
		}
	}
	for _, e := range s.errs {
		line("%s", e.Error())
	}
	for _, e := range s.warnings {
		line("warning: %s", e.Error())
	}
	if len(s.errs) > 0 {
		line("%s, %s", counted(len(s.errs), "error"), counted(len(s.warnings), "warning"))
		return err
	}
	line("%s right, %s", counted(len(s.policies()), "policy"), counted(len(s.warnings), "warning"))
	return err
}

func (s policySet) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(map[string]any{
		"valid":    len(s.errs) == 0,
		"errors":   append([]policies.FieldError{}, s.errs...),
		"warnings": append([]policies.FieldError{}, s.warnings...),
	})
}

// check prints what is wrong, or to be warned of, to w; errReported if anything
// is wrong.
func (s policySet) check(w io.Writer) error {
	if len(s.errs)+len(s.warnings) == 0 {
		return nil
	}
	if err := s.writeText(w); err != nil {
		return err
	}
	if len(s.errs) > 0 {
		return errReported
	}
	return nil
}

func counted(n int, word string) string {
	switch {
	case n == 1:
		return "1 " + word
	case word == "policy":
		return fmt.Sprintf("%d policies", n)
	}
	return fmt.Sprintf("%d %ss", n, word)
}
