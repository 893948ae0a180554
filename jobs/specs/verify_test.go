package specs_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// weights is a folder with two files, their manifest, and what the verify task
// of the TranslateGemma specs says of it.
type weights struct {
	t        *testing.T
	dir      string
	remember string
	script   string
}

func newWeights(t *testing.T) *weights {
	w := &weights{t: t, dir: filepath.Join(t.TempDir(), "a model"), remember: filepath.Join(t.TempDir(), ".verified")}
	if err := os.MkdirAll(filepath.Join(w.dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.write("model 1.safetensors", "tensors")
	w.write("sub/config.json", "{}")
	w.write("SHA256SUMS", sum("tensors")+"  ./model 1.safetensors\n"+sum("{}")+"  ./sub/config.json\n")
	w.script = filepath.Join(t.TempDir(), "verify.sh")
	if err := os.WriteFile(w.script, []byte(verifyScript(t, "translategemma-27b.nomad.hcl")), 0o644); err != nil {
		t.Fatal(err)
	}
	return w
}

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

func (w *weights) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// at sets when a file was last changed.
func (w *weights) at(name string, when time.Time) {
	w.t.Helper()
	if err := os.Chtimes(filepath.Join(w.dir, name), when, when); err != nil {
		w.t.Fatal(err)
	}
}

// verify runs the script and returns what it said on stdout, and on stderr; it
// fails the test if the exit status is not as wanted.
func (w *weights) verify(right bool, env ...string) (string, string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "/bin/sh", w.script)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "WEIGHTS=" + w.dir, "MANIFEST_SHA256=", "VERIFY=changed", "REMEMBER=" + w.remember}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	if right != (err == nil) {
		w.t.Fatalf("right: %t, want %t; said %q and %q", err == nil, right, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

func TestRightWeightsAreVerifiedOnceAndThenRemembered(t *testing.T) {
	w := newWeights(t)
	if out, _ := w.verify(true); !strings.Contains(out, "verifying 2 files") || !strings.HasSuffix(out, "weights are right\n") {
		t.Errorf("said %q", out)
	}
	if out, _ := w.verify(true); !strings.Contains(out, "as they were") {
		t.Errorf("the second time: %q", out)
	}
	if out, _ := w.verify(true, "VERIFY=always"); !strings.Contains(out, "verifying") {
		t.Errorf("always: %q", out)
	}
	if out, _ := w.verify(true, "REMEMBER="); !strings.Contains(out, "verifying") {
		t.Errorf("with nothing to remember it by: %q", out)
	}
	w.at("sub/config.json", time.Now().Add(-time.Hour))
	if out, _ := w.verify(true); !strings.Contains(out, "verifying") {
		t.Errorf("after a file was touched: %q", out)
	}
}

func TestBrokenWeightsFailWithClearLastWords(t *testing.T) {
	for name, c := range map[string]struct {
		breakIt func(w *weights)
		env     string
		says    string
	}{
		"half a file":        {func(w *weights) { w.write("model 1.safetensors", "tens") }, "", "wrong checksum: ./model 1.safetensors;"},
		"two files":          {func(w *weights) { w.write("model 1.safetensors", ""); w.write("sub/config.json", "[]") }, "", "./model 1.safetensors ./sub/config.json;"},
		"no file":            {func(w *weights) { _ = os.Remove(filepath.Join(w.dir, "sub/config.json")) }, "", "./sub/config.json is missing;"},
		"no manifest":        {func(w *weights) { _ = os.Remove(filepath.Join(w.dir, "SHA256SUMS")) }, "", "no manifest SHA256SUMS;"},
		"an empty manifest":  {func(w *weights) { w.write("SHA256SUMS", "") }, "", "no manifest SHA256SUMS;"},
		"no sum in a line":   {func(w *weights) { w.write("SHA256SUMS", "xyz  ./sub/config.json\n") }, "", "wrong checksum: a line of SHA256SUMS;"},
		"no folder":          {func(w *weights) { _ = os.RemoveAll(w.dir) }, "", "there is no folder"},
		"another manifest":   {func(*weights) {}, "MANIFEST_SHA256=" + sum("x"), "not the one of var.manifest_sha256;"},
		"half of a manifest": {func(w *weights) { w.write("SHA256SUMS", sum("tensors")+"  ./model 1.saf") }, "MANIFEST_SHA256=" + sum("x"), "not the one of"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWeights(t)
			c.breakIt(w)
			_, errs := w.verify(false, c.env)
			if lines := strings.Split(strings.TrimSpace(errs), "\n"); len(lines) != 1 ||
				!strings.HasPrefix(lines[0], "weights are broken: ") || !strings.Contains(lines[0], c.says) || !strings.Contains(lines[0], w.dir) {
				t.Errorf("said %q, want one line with %q and the folder", errs, c.says)
			}
		})
	}
}

// What breaks after it was found right is found broken.
func TestWeightsThatChangedAreNotRemembered(t *testing.T) {
	w := newWeights(t)
	w.verify(true)
	w.write("model 1.safetensors", "Tensors")
	w.at("model 1.safetensors", time.Now().Add(time.Minute))
	w.verify(false)
	w.verify(false)
	w.write("model 1.safetensors", "tensors")
	w.verify(true)
}

// Replicas that start together on one node verify together; the process numbers
// of containers are alike.
func TestSeveralReplicasVerifyAtOnce(t *testing.T) {
	w := newWeights(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			cmd := exec.CommandContext(t.Context(), "/bin/sh", w.script)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "WEIGHTS=" + w.dir, "MANIFEST_SHA256=", "VERIFY=always", "REMEMBER=" + w.remember}
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, said)
			}
		})
	}
	all.Wait()
	if left, err := os.ReadDir(w.remember); err != nil || len(left) != 1 {
		t.Errorf("left are %v (%v), want what is remembered of one folder", left, err)
	}
}

func TestTheManifestItselfIsHeldToItsChecksum(t *testing.T) {
	w := newWeights(t)
	manifest, err := os.ReadFile(filepath.Join(w.dir, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	w.verify(true, "MANIFEST_SHA256="+sum(string(manifest)))
}

func TestAllSpecsVerifyAlike(t *testing.T) {
	want := verifyScript(t, "translategemma-27b.nomad.hcl")
	for _, name := range []string{"translategemma-12b.nomad.hcl", "translategemma-4b.nomad.hcl"} {
		if verifyScript(t, name) != want {
			t.Errorf("the verify task of %s differs", name)
		}
	}
}

// verifyScript is what the template of the verify task writes.
func verifyScript(t *testing.T, name string) string {
	t.Helper()
	source := shipped(t)[name].Source
	file, diags := hclsyntax.ParseConfig([]byte(source), name, hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	template := block(t, file.Body.(*hclsyntax.Body), "job", "group", "task", "template")
	value, diags := template.Attributes["data"].Expr.Value(nil)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return value.AsString()
}

// block returns the first block of the first block of … of a body.
func block(t *testing.T, body *hclsyntax.Body, types ...string) *hclsyntax.Body {
	t.Helper()
	if len(types) == 0 {
		return body
	}
	for _, b := range body.Blocks {
		if b.Type == types[0] {
			return block(t, b.Body, types[1:]...)
		}
	}
	t.Fatalf("no block %s", types[0])
	return nil
}
