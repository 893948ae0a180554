package localfleet

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestALogKeepsItsLastPartInTwoFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.stdout")
	const limit = 100
	var all strings.Builder
	for run := range 2 { // a restart goes on with the same file
		l, err := openLog(path, limit)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			line := fmt.Sprintf("run %d line %02d\n", run, i)
			all.WriteString(line)
			l.write([]byte(line))
		}
		l.close()
	}
	older, err := os.ReadFile(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	newer, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kept := string(older) + string(newer)
	if len(older) > limit || len(newer) > limit || len(kept) <= limit {
		t.Errorf("kept %d and %d bytes, want at most %d each and more than that together", len(older), len(newer), limit)
	}
	if !strings.HasSuffix(all.String(), kept) {
		t.Errorf("what is kept is not the end of what was written:\n%s", kept)
	}
}

func TestLastWordsAreBoundedPrintableAndTheLast(t *testing.T) {
	var words tail
	out := lineSplitter{tail: &words}
	for i := range 100 {
		out.write(fmt.Appendf(nil, "line %d\r\n\n", i))
	}
	lines := strings.Split(words.words(), "\n")
	if len(lines) != tailLines || lines[0] != "line 80" || lines[tailLines-1] != "line 99" {
		t.Errorf("got %q, want the last %d lines", lines, tailLines)
	}

	// Cut anywhere, coloured, broken UTF-8, and no end of line.
	for _, part := range []string{"\x1b[31mCUDA", " out of memory\x1b[0m\nk", "ill\xff", "ed"} {
		out.write([]byte(part))
	}
	out.flush()
	if got := words.words(); !strings.HasSuffix(got, "line 99\n[31mCUDA out of memory[0m\nkilled") {
		t.Errorf("got %q", got)
	}

	for range tailLines {
		out.write([]byte(strings.Repeat("x", 10*tailLineBytes) + "\n"))
	}
	out.write([]byte("the end\n"))
	got := words.words()
	if len(got) > tailBytes || !strings.HasSuffix(got, "x\nthe end") {
		t.Errorf("got %d bytes that end in %q, want at most %d with the last line whole", len(got), got[max(0, len(got)-20):], tailBytes)
	}
}
