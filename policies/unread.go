package policies

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Unread returns the *.hcl files in the subdirectories of dir, at any depth, that
// may hold policies and that LoadDir(dir) leaves out, by path: those with a policy
// block, and those that cannot be read or parsed, of which nobody can tell. A
// subdirectory that cannot be read stands for its files. Job specs beside policies
// are none of them; hidden files and directories are left out on purpose, as
// LoadDir leaves out hidden files.
//
// LoadDir does not read subdirectories, because a file that somebody has put
// aside would otherwise be in force and launch replicas. But who takes a missing
// file for a wish to delete must know of these.
func Unread(dir string) []string {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil
	}
	u := unread{top: dir, seen: map[string]bool{}}
	u.walk(dir)
	return u.found
}

// unread is a walk through the subdirectories of a directory.
type unread struct {
	top   string
	seen  map[string]bool // directories, by where links lead to: links may go in circles
	found []string
}

func (u *unread) walk(dir string) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		u.found = append(u.found, dir)
		return
	}
	if u.seen[real] {
		return
	}
	u.seen[real] = true
	entries, err := os.ReadDir(dir) // by name
	if err != nil {
		u.found = append(u.found, dir)
		return
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		isDir := e.IsDir()
		if e.Type()&os.ModeSymlink != 0 {
			info, err := os.Stat(path)
			isDir = err == nil && info.IsDir()
		}
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case isDir:
			u.walk(path)
		case dir != u.top && strings.HasSuffix(e.Name(), ".hcl") && mayHoldPolicies(path):
			u.found = append(u.found, path)
		}
	}
}

// mayHoldPolicies reports whether a file has a policy block, or cannot be read. What
// is no file is not opened: a named pipe would keep its reader for ever.
func mayHoldPolicies(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxText {
		return true
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return true
	}
	tokens, _ := hclsyntax.LexConfig(src, path, hcl.InitialPos)
	if _, deep := tooDeep(tokens); deep {
		return true
	}
	file, diags := hclsyntax.ParseConfig(src, path, hcl.InitialPos)
	if diags.HasErrors() {
		return true
	}
	for _, block := range file.Body.(*hclsyntax.Body).Blocks {
		if block.Type == "policy" {
			return true
		}
	}
	return false
}
