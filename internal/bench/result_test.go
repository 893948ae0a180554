package bench

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/activator/translate"
	"github.com/pilotlight/pilotlight/jobs"
)

func TestAResultIsWrittenWithItsMethodRatiosAndFigures(t *testing.T) {
	r := Result{
		Name: "warm", Method: "how.",
		Ratios: []Ratio{
			{What: "CPU", Value: 1.066, Lowest: 0.9, Highest: 1.25, N: 5, Aim: 1.2},
			{What: "wake", Value: 1.5, N: 10},
		},
		Figures: []Figure{{What: "latency", Unit: "ms", N: 1000, P50: 3.25, P99: 117.4, Aim: "p99 < 2"}},
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `warm: how.

  ratio  median  lowest  highest  n   aim
  CPU    1.07x   0.90x   1.25x    5   at most 1.20x
  wake   1.50x                    10  

  figure   unit  p50   p99  n     aim
  latency  ms    3.25  117  1000  p99 < 2

`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestASkippedResultSaysWhy(t *testing.T) {
	var b strings.Builder
	if err := (Result{Name: "apertium", Skipped: "it is not installed"}).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if want := "apertium: skipped: it is not installed\n\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestAPhaseEndsWhereItsStoryPutsIt(t *testing.T) {
	begun := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := jobs.ColdStart{Replica: "r", StartedAt: begun, Phases: []jobs.ColdStartPhase{
		{Name: jobs.PhaseDecide, StartMS: 0, DurMS: 1.25},
		{Name: jobs.PhaseLoad, StartMS: 1.25, DurMS: 10.5},
	}}
	got, err := endOf(c, jobs.PhaseLoad)
	if want := begun.Add(11750 * time.Microsecond); err != nil || !got.Equal(want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := endOf(c, jobs.PhaseReady); err == nil {
		t.Error("a phase that is not told has an end")
	}
}

func TestARequestThatWaitedForASlotIsNotWarm(t *testing.T) {
	for timing, warm := range map[string]bool{
		"": true, // of a proxy that tells nothing
		"hold;dur=0, cold;dur=0, upstream;dur=1.5":   true,
		"hold;dur=0.2, cold;dur=0, upstream;dur=1.5": false,
		"hold;dur=0, cold;dur=12, upstream;dur=1.5":  false,
	} {
		h := http.Header{}
		h.Set("Server-Timing", timing)
		if err := checkNotHeld(h); (err == nil) != warm {
			t.Errorf("%q: got %v, want warm %v", timing, err, warm)
		}
	}
}

func TestTheBodyOfTheLoadIsATranslationOfItsSize(t *testing.T) {
	body := translation(warmBody)
	if len(body) != warmBody {
		t.Errorf("got %d bytes, want %d", len(body), warmBody)
	}
	if _, err := translate.Parse(body, translate.Limits{}); err != nil {
		t.Errorf("the activator would refuse it: %v", err)
	}
}

func TestApertiumIsStartedByHandAsItsJobSpecSays(t *testing.T) {
	hand, program, err := apertiumByHand()
	if err != nil {
		t.Fatal(err)
	}
	_, args := hand.command("127.0.0.1:4242")
	got := append([]string{program}, args...)
	want := []string{"apertium-apy", "-p", "4242", "-j1", "/usr/share/apertium"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if hand.probePath != "/listPairs" {
		t.Errorf("it is probed at %s", hand.probePath)
	}
}

func TestChildrenAreToldByFlagsAlone(t *testing.T) {
	got := own([]string{"PATH=/bin", "PILOTLIGHT_REDIS=redis://elsewhere", "HOME=/"})
	if diff := cmp.Diff([]string{"PATH=/bin", "HOME=/"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
