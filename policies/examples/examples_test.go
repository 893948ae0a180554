package examples_test

import (
	"io/fs"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/policies/examples"
)

func read(t *testing.T, file string) *policies.Policy {
	t.Helper()
	src, err := fs.ReadFile(examples.FS, file)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := policies.Parse(file, src)
	if err != nil {
		t.Fatal(err)
	}
	if len(ps) != 1 {
		t.Fatalf("%s holds %d policies, want 1", file, len(ps))
	}
	return ps[0]
}

func ptr[T any](v T) *T { return &v }

func TestTheTranslateExampleSaysWhatItsCommentsTeach(t *testing.T) {
	want := policies.New("translate")
	want.Description = "English and Spanish, by Apertium"
	want.Job = "translate-apertium"
	want.Route.PathPrefixes = []string{"/translate"}
	want.Translate = &policies.Translate{Backend: "apertium"}
	want.Probe.Path = "/listPairs"
	want.Replicas = policies.Replicas{Min: 0, Max: 3, Concurrency: 4}
	want.ToZero.Mode, want.ToZero.After = "after", time.Minute
	if diff := cmp.Diff(want, read(t, "translate.hcl")); diff != "" {
		t.Error(diff)
	}
}

func TestTheChatglmExampleIsTheProductionDeployment(t *testing.T) {
	want := policies.New("chatglm")
	want.Description = "ChatGLM3 6B, scaled by latency, GPU and demand"
	want.Job = "chatglm"
	want.Route.Models = []string{"chatglm3-6b"}
	want.Replicas.Min, want.Replicas.Max = 2, 6
	want.Sizing.Mode, want.Sizing.Every, want.Sizing.Sample = "thresholds", 30*time.Second, 10*time.Second
	want.ScaleUp = policies.Thresholds{
		Window: time.Minute, MaxStep: 1,
		LatencyMean: ptr(5 * time.Second), GPUUtilization: ptr(85.0), Demand: ptr(50.0),
	}
	want.ScaleDown = policies.Thresholds{
		Window: 2 * time.Minute, MaxStep: 1, DrainTimeout: 5 * time.Minute,
		LatencyMean: ptr(2 * time.Second), GPUUtilization: ptr(40.0), Demand: ptr(20.0),
	}
	if diff := cmp.Diff(want, read(t, "chatglm.hcl")); diff != "" {
		t.Error(diff)
	}
}

func TestTheTranslategemmaExampleHasAPrice(t *testing.T) {
	want := policies.New("translategemma-27b")
	want.Description = "55 languages, by TranslateGemma 27B on vLLM"
	want.Job = "translategemma-27b"
	want.Route.PathPrefixes = []string{"/translate"}
	want.Route.Models = []string{"translategemma-27b-it"}
	want.Translate = &policies.Translate{Backend: "completions", Model: "google/translategemma-27b-it"}
	want.Probe.Path = "/health"
	want.Replicas.Max = 2
	want.Cost = &policies.Cost{GPU: "1x 80GB", USDPerHour: ptr(2.5)}
	if diff := cmp.Diff(want, read(t, "translategemma-27b.hcl")); diff != "" {
		t.Error(diff)
	}
}

func TestEveryExampleIsValidAndHasNoWarnings(t *testing.T) {
	files, err := fs.Glob(examples.FS, "*.hcl")
	if err != nil || len(files) < 3 {
		t.Fatalf("examples are %v (%v), want at least three", files, err)
	}
	for _, file := range files {
		if warnings := policies.Warnings(read(t, file), 0); len(warnings) > 0 {
			t.Errorf("%s: %v", file, warnings)
		}
	}
}
