package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pilotlight/pilotlight/scaler/simulate"
)

func TestTheHelpOfReplayNamesEveryFieldOfItsJSON(t *testing.T) {
	words := strings.FieldsFunc(replayCommand{}.Help(), func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789_", r) })
	told := map[string]bool{}
	for _, w := range words {
		told[w] = true
	}
	var look func(of reflect.Type)
	look = func(of reflect.Type) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct || of.PkgPath() != reflect.TypeFor[simulate.Report]().PkgPath() {
			return
		}
		for i := range of.NumField() {
			f := of.Field(i)
			if !f.IsExported() {
				continue
			}
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name == "series" || name == "-" { // of a page or a benchmark, never in JSON
				continue
			} else if !told[name] {
				t.Errorf("replay --help does not name %q (%s.%s)", name, of.Name(), f.Name)
			}
			look(f.Type)
		}
	}
	look(reflect.TypeFor[simulate.Report]())
}

// TestTheHelpOfReplayMakesATraceOfAnAccessLog runs the line as it is printed on a
// log in the order in which requests ended.
func TestTheHelpOfReplayMakesATraceOfAnAccessLog(t *testing.T) {
	var line string
	for l := range strings.Lines(replayCommand{}.Help()) {
		if strings.Contains(l, "awk") {
			line = l
		}
	}
	dir := t.TempDir()
	log := "1763622183.800 2.300\n1763622184.000 0.052\n1763622190.000 -\n1763622200.000 18.500\n"
	if err := os.WriteFile(filepath.Join(dir, "access.log"), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	sh := exec.Command("sh", "-e", "-c", line)
	sh.Dir = dir
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := os.ReadFile(filepath.Join(dir, "trace.csv"))
	if err != nil {
		t.Fatal(err)
	}
	want := "t_ms,service,slot_ms\n1763622181500,chat,18500\n1763622181500,chat,2300\n1763622183948,chat,52\n1763622190000,chat,0\n"
	if string(got) != want {
		t.Errorf("the trace is\n%s\nnot\n%s", got, want)
	}
	trace, err := simulate.NewTrace(bytes.NewReader(got), "trace.csv", simulate.DefaultDurations(), 1)
	for n := 0; err == nil && n < 4; n++ {
		_, err = trace.Next()
	}
	if err != nil {
		t.Error(err)
	}
}
