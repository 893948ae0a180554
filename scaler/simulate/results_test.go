package simulate

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	updateResults = flag.Bool("update-results", false, "replay everything and rewrite RESULTS.md and its charts (many minutes)")
	resultsOf     = flag.String("results-of", "an unnamed state of the sources", "what RESULTS.md says it was made of, such as a commit")
	resultsCache  = flag.String("results-cache", "", "folder that keeps what was replayed, so that a run can be resumed")
	daysSeeds     = flag.Int("results-seeds", manySeeds, "draws of cold starts for the traces of several days, which take nearly all of the time")
)

const (
	resultsFile  = "RESULTS.md"
	chartsFolder = "results"
	manySeeds    = 5
	defaultTheta = 2.0
	defaultBeta  = 0.5
)

var (
	resultTraces = []string{
		"azure-llm-2023-conv", "azure-llm-2023-code", "mooncake-conversation", "servegen-day-night",
		"servegen-office", "servegen-sparse", "sdsc-http-1995-minutes",
	}
	resultColdStarts = []time.Duration{2 * time.Minute, 6 * time.Minute}
)

// TestResultsAreCurrent replays a little of what RESULTS.md says and compares it
// row by row, and looks for the notes in it; with -update-results (make results) it replays all and writes it.
func TestResultsAreCurrent(t *testing.T) {
	if *updateResults {
		writeResults(t)
		return
	}
	text, err := os.ReadFile(resultsFile)
	if err != nil {
		t.Fatal(err)
	}
	notes, err := os.ReadFile(notesFile)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), strings.TrimSpace(string(notes))) {
		t.Errorf("%s does not have what %s says; run make results", resultsFile, notesFile)
	}
	l := newLab(t, "")
	d, cold := drawnTraces[1], resultColdStarts[0]
	own := d.replayed(t, cold, func(peaks map[string]int) []Candidate { return UpTo(peaks, []Candidate{Policy("defaults", judged())}) })
	if row := costOf(d.title(cold), own[0]); !strings.Contains(string(text), "\n"+row) {
		t.Errorf("%s is not current: no row that begins with %s; run make results", resultsFile, row)
	}
	if row, _ := kinds[0].row(t); !strings.Contains(string(text), "\n"+row+"\n") {
		t.Errorf("%s is not current: no row %s; run make results", resultsFile, row)
	}
	for _, c := range []trial{{"azure-llm-2023-code", 2 * time.Minute}, {"azure-llm-2023-conv", 6 * time.Minute}} {
		rows := rowsOf(t, string(text), c)
		for _, r := range []row{{defaultBeta, []float64{defaultTheta}}, {2, []float64{0.25}}} {
			rep := l.each(c, "", func(peaks map[string]int) []Candidate {
				list := arenas[0].candidates(r, peaks)
				if r.beta == defaultBeta {
					list = append(list, UpTo(peaks, Baselines(judged()))...)
				}
				return list
			})
			if r.beta != defaultBeta {
				rep.Results = rep.Results[:1] // always-on was compared
			}
			for i := range rep.Results {
				if line := resultRow(&rep.Results[i]); !slices.Contains(rows, line) {
					t.Errorf("%s is not current: no row\n%s\nunder %q; run make results", resultsFile, line, c.title())
				}
			}
		}
	}
}

// rowsOf are the lines of a trial's section.
func rowsOf(t *testing.T, text string, c trial) []string {
	_, section, found := strings.Cut(text, "\n## "+c.title()+"\n")
	if !found {
		t.Fatalf("%s has no section %q; run make results", resultsFile, c.title())
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return strings.Split(section, "\n")
}

// writeResults replays everything, says how far it has come, and writes the file
// and its charts.
func writeResults(t *testing.T) {
	if err := os.MkdirAll(chartsFolder, 0o755); err != nil {
		t.Fatal(err)
	}
	l := newLab(t, *resultsCache)
	var all []verdict
	begun := time.Now()
	for _, cold := range resultColdStarts {
		for _, trace := range resultTraces {
			v := l.run(trial{trace, cold}, os.Stderr)
			all = append(all, v)
			fmt.Fprintf(os.Stderr, "%s: done, %v since the start\n", v.title(), time.Since(begun).Round(time.Second))
			drawn := *v.rep
			drawn.Results = append(v.grid(), v.rep.Results...)
			for what, mean := range map[string]bool{"p99": false, "mean": true} {
				var b bytes.Buffer
				if err := drawn.WritePareto(&b, mean); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(v.chart(what), b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	var b bytes.Buffer
	writeMarkdown(t, &b, all)
	if err := os.WriteFile(resultsFile, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
