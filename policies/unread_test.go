package policies

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatASubdirectoryMayHoldOfPoliciesIsNamedAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	for path, text := range map[string]string{
		"top.hcl":             policyText(""),
		"eu/chat.hcl":         policyText(""),
		"eu/west/wrong.hcl":   `policy "a" { nonsense = 1 }`,
		"eu/west/broken.hcl":  "polic{",
		"eu/west/deep.hcl":    strings.Repeat("[", maxNesting+1),
		"eu/long.hcl":         strings.Repeat("#", maxText+1),
		"eu/empty.hcl":        "",
		"eu/job.nomad.hcl":    "job \"a\" {\n group \"b\" {\n scaling {\n policy {}\n }\n }\n }\n",
		"eu/notes.txt":        policyText(""),
		"eu/.hidden.hcl":      policyText(""),
		"eu/.old/hidden.hcl":  policyText(""),
		"dir.hcl/policy.hcl":  policyText(""),
		"jobs/only.nomad.hcl": "job \"a\" {}",
	} {
		path = filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := directory(t, map[string]string{"linked.hcl": policyText("")})
	for link, to := range map[string]string{"link": elsewhere, "eu/round": dir, "eu/self": filepath.Join(dir, "eu"), "eu/dangling": filepath.Join(dir, "none")} {
		if err := os.Symlink(to, filepath.Join(dir, filepath.FromSlash(link))); err != nil {
			t.Skip(err)
		}
	}
	var got []string
	for _, path := range Unread(dir) {
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, filepath.ToSlash(rel))
	}
	want := []string{"dir.hcl/policy.hcl", "eu/chat.hcl", "eu/long.hcl", "eu/west/broken.hcl", "eu/west/deep.hcl", "eu/west/wrong.hcl", "link/linked.hcl"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if left := Unread(filepath.Join(dir, "eu", "chat.hcl")); left != nil {
		t.Errorf("below a file: %v", left)
	}
}

func TestANamedPipeInASubdirectoryIsNamedAndNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "eu", "pipe.hcl")
	if err := os.Mkdir(filepath.Dir(pipe), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	found := make(chan []string, 1)
	go func() { found <- Unread(dir) }()
	select {
	case got := <-found:
		if diff := cmp.Diff([]string{pipe}, got); diff != "" {
			t.Error(diff)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for somebody to write into the pipe")
	}
}
