package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pilotlight/pilotlight/policies"
)

type policyExportCommand struct {
	Dir string `arg:"" help:"Folder to write to; made if it is not there."`
	controlFlags
}

// Help is an example.
func (policyExportCommand) Help() string {
	return "A policy that a file of the folder holds already is written back to that file, others to NAME.hcl. Policies of the folder that are not in force are named, and left alone.\n\nExample:\n  pilotlight policy export policies/"
}

// Run writes what is in force, files that differ only.
func (p policyExportCommand) Run(ctx context.Context, std streams) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	folder, err := openExport(p.Dir)
	if err != nil {
		return err
	}
	tellUnread(std.err, policies.Unread(p.Dir))
	names, err := c.names(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		now, err := c.inForce(ctx, name)
		if err != nil {
			return err
		}
		if now.none() { // deleted just now
			continue
		}
		if err := folder.put(name, now.text); err != nil {
			return err
		}
	}
	if left := slices.Sorted(maps.Keys(folder.rest)); len(left) > 0 {
		_, _ = fmt.Fprintf(std.err, "In the folder, but not in force: %s\n", strings.Join(left, ", "))
	}
	return folder.write(std)
}

// exportFolder is a folder of policies on its way to hold what is in force.
type exportFolder struct {
	dir   string
	files []exportFile
	rest  map[string]exportPlace // policies of the folder that were not put yet
}

// exportFile is a file as texts that joined are its content.
type exportFile struct {
	path    string
	texts   []string
	changed bool
}

// exportPlace is which text of which file a policy is.
type exportPlace struct{ file, text int }

// openExport reads what the folder holds. One with wrong policies is refused:
// what stands in them cannot be told apart.
func openExport(dir string) (*exportFolder, error) {
	folder := &exportFolder{dir: dir, rest: map[string]exportPlace{}}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return folder, nil
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, usageError{fmt.Errorf("%s is not a folder", dir)}
	}
	files, err := policies.LoadDir(dir)
	if err != nil && !errors.Is(err, policies.ErrNoFiles) {
		return nil, fmt.Errorf("nothing was written, because the folder holds policies that are wrong:\n%w", err)
	}
	for i, f := range files {
		folder.files = append(folder.files, exportFile{path: f.Path, texts: f.Sources})
		for j, p := range f.Policies {
			if _, twice := folder.rest[p.Name]; twice {
				return nil, fmt.Errorf("nothing was written, because the folder holds policy %q twice", p.Name)
			}
			folder.rest[p.Name] = exportPlace{i, j}
		}
	}
	return folder, nil
}

// put sets the text of one policy; blank lines around it stay as they are.
func (e *exportFolder) put(name, text string) error {
	if at, ok := e.rest[name]; ok {
		delete(e.rest, name)
		file := &e.files[at.file]
		old := file.texts[at.text]
		if tidy(old) != text {
			file.texts[at.text] = old[:blankBytes(old)] + text
			file.changed = true
		}
		return nil
	}
	path := filepath.Join(e.dir, name+".hcl")
	if slices.ContainsFunc(e.files, func(f exportFile) bool { return f.path == path }) {
		return fmt.Errorf("nothing was written: policy %s belongs into %s, which holds other policies", name, path)
	}
	e.files = append(e.files, exportFile{path: path, texts: []string{text}, changed: true})
	return nil
}

// write replaces the files that changed, each as a whole.
func (e *exportFolder) write(std streams) error {
	if err := os.MkdirAll(e.dir, 0o755); err != nil {
		return err
	}
	written := 0
	for _, f := range e.files {
		if !f.changed {
			continue
		}
		if err := replaceFile(f.path, strings.Join(f.texts, "")); err != nil {
			return err
		}
		written++
		if _, err := fmt.Fprintln(std.out, "wrote", f.path); err != nil {
			return err
		}
	}
	if written == 0 {
		_, _ = fmt.Fprintln(std.err, "Nothing to write: the folder holds what is in force.")
	}
	return nil
}

// replaceFile never leaves half a file behind.
func replaceFile(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // nothing is there after the rename
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
