package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDifferencesAreColouredByLine(t *testing.T) {
	c := policyChange{name: "a", before: inForce{"one\ntwo\n", 3, "a version 3"}, after: "one\n2\n", file: "a.hcl"}
	want := "\x1b[1m--- a version 3\x1b[0m\n\x1b[1m+++ a.hcl\x1b[0m\n\x1b[36m@@ -1,2 +1,2 @@\x1b[0m\n one\n\x1b[31m-two\x1b[0m\n\x1b[32m+2\x1b[0m\n"
	if diff := cmp.Diff(want, c.diff(true)); diff != "" {
		t.Error(diff)
	}
	if plain := c.diff(false); strings.Contains(plain, "\x1b") || len(plain) == 0 {
		t.Errorf("without colours: %q", plain)
	}
}

// Errors of the store count lines from the policy's own text; people count from
// the beginning of their file.
func TestChangesKnowWhereTheyStandInTheirFile(t *testing.T) {
	const first, second, third = "# head\npolicy \"a\" {\n  job = \"a\"\n  route {\n    models = [\"a\"]\n  }\n}\n",
		"\n\n# b\npolicy \"b\" {\n  job = \"b\"\n  route {\n    models = [\"b\"]\n  }\n}\n",
		"policy \"c\" {\n  job = \"c\"\n  route {\n    models = [\"c\"]\n  }\n}\n# tail\n"
	path := filepath.Join(t.TempDir(), "all.hcl")
	if err := os.WriteFile(path, []byte(first+second+third), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := readPolicySet([]string{path})
	if err != nil || len(set.errs) > 0 {
		t.Fatal(err, set.errs)
	}
	nothing := func(context.Context, string) (inForce, error) { return inForce{}, nil }
	plan, err := planChanges(t.Context(), set.files, nil, nothing, false)
	if err != nil {
		t.Fatal(err)
	}
	file := strings.SplitAfter(first+second+third, "\n")
	for _, ch := range plan.changes {
		if got := strings.Join(file[ch.skip:ch.skip+strings.Count(ch.after, "\n")], ""); got != ch.after {
			t.Errorf("%s: line %d of the file begins %q, its text %q", ch.name, ch.skip+1, got, ch.after)
		}
	}
	if plan.sum() != "3 to create" {
		t.Errorf("sum %q", plan.sum())
	}
}
