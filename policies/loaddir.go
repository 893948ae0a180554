package policies

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrNoFiles says that a directory holds no policy files.
var ErrNoFiles = errors.New("no policy files (*.hcl)")

// File is one file of policies.
type File struct {
	Path     string
	Policies []*Policy
	// Sources[i] is the text of Policies[i] as it is written, with the comments
	// before it (and, for the last one, after it): joined they are the file.
	Sources []string

	docs []*document
}

// LoadDir reads the policies of a directory (its *.hcl files by name, hidden
// ones and subdirectories left out; Unread names what that passes over) or of a
// single file. An error is
// ValidationErrors over all files, ErrNoFiles, or one of reading; with
// ValidationErrors the files that are right are returned nevertheless. Whether
// the policies may stand side by side is for CheckSet.
func LoadDir(dir string) ([]File, error) {
	paths, err := policyFiles(dir)
	if err != nil {
		return nil, err
	}
	var files []File
	var errs ValidationErrors
	for _, path := range paths {
		src, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read policies: %w", err)
		}
		file, wrong := readFile(path, src)
		if len(wrong) > 0 {
			errs = append(errs, wrong...)
			continue
		}
		files = append(files, file)
	}
	return files, errs.err()
}

func policyFiles(dir string) ([]string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	if !info.IsDir() {
		return []string{dir}, nil
	}
	entries, err := os.ReadDir(dir) // by name
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	var paths []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".hcl") && !strings.HasPrefix(e.Name(), ".") {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("read policies in %s: %w", dir, ErrNoFiles)
	}
	return paths, nil
}

func readFile(path string, src []byte) (File, ValidationErrors) {
	docs, errs := readHCL(path, src)
	parsed, wrong := judgeAll(docs)
	if errs = append(errs, wrong...); len(errs) > 0 {
		return File{}, errs
	}
	return File{Path: path, Policies: parsed, Sources: sources(src, docs), docs: docs}, nil
}

// sources cuts a file after the line on which each policy block ends.
func sources(src []byte, docs []*document) []string {
	texts := make([]string, len(docs))
	from := 0
	for i, d := range docs {
		to := len(src)
		if i < len(docs)-1 {
			to = d.end
			if n := strings.IndexByte(string(src[to:docs[i+1].start]), '\n'); n >= 0 {
				to += n + 1
			}
		}
		texts[i] = string(src[from:to])
		from = to
	}
	return texts
}

// Locate fills in file, line and column of errors without a place, such as
// those of CheckSet and Warnings, from the files that their policies are from.
// Where several files have a policy of that name, it is the last one's.
func Locate(files []File, errs []FieldError) []FieldError {
	docs := map[string]*document{}
	for _, f := range files {
		for _, d := range f.docs {
			docs[d.name] = d
		}
	}
	located := make([]FieldError, len(errs))
	for i, e := range errs {
		if d := docs[e.Policy]; d != nil && e.Line == 0 {
			at := d.placeOf(e.Field)
			e.File, e.Line, e.Column = d.file, at.line, at.column
		}
		located[i] = e
	}
	return located
}

// LocateIn fills in line and column of errors without a place, from the text that
// their policies were parsed from.
func LocateIn(text string, errs []FieldError) []FieldError {
	if len(errs) == 0 {
		return nil
	}
	file, _ := readFile("", []byte(text))
	return Locate([]File{file}, errs)
}
