package spec

import (
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/specs"
)

// shippedGroup is what all shipped groups have in common.
func shippedGroup(probe string, task jobs.Task) jobs.Group {
	none := 0
	return jobs.Group{
		Name:              "server",
		Ports:             []jobs.Port{{Label: "http"}},
		UpdateMaxParallel: &none,
		Restart:           jobs.Restart{Interval: 30 * time.Minute, Delay: 15 * time.Second, Mode: "fail"},
		Reschedule:        &jobs.Reschedule{Unlimited: true, Delay: 5 * time.Second, DelayFunction: "constant"},
		Checks:            []jobs.Check{{Type: "http", Path: probe, Port: "http"}},
		Tasks:             []jobs.Task{task},
	}
}

func TestShippedSpecsAreWhatTheySeem(t *testing.T) {
	want := map[string]jobs.Group{
		"translate-apertium": shippedGroup("/listPairs", jobs.Task{
			Name: "apertium", Driver: "raw_exec", Command: "apertium-apy",
			Args:        []string{"-p", "${NOMAD_PORT_http}", "-j1", "/usr/share/apertium"},
			Env:         map[string]string{"LC_ALL": "C.UTF-8"},
			KillTimeout: 5 * time.Minute, KillSignal: "SIGTERM",
		}),
		"translategemma-27b": shippedGroup("/health", jobs.Task{
			Name: "model", Driver: "docker",
			Args: []string{
				"--model", "google/translategemma-27b-it",
				"--served-model-name", "translategemma-27b-it", "google/translategemma-27b-it",
				"--host", "0.0.0.0",
				"--port", "${NOMAD_PORT_http}",
				"--max-model-len", "4096",
				"--gpu-memory-utilization", "0.92",
			},
			Env: map[string]string{
				"HF_HOME":                   "/models/huggingface",
				"VLLM_CACHE_ROOT":           "/models/vllm",
				"TORCHINDUCTOR_CACHE_DIR":   "/models/torchinductor",
				"TRITON_CACHE_DIR":          "/models/triton",
				"FLASHINFER_WORKSPACE_BASE": "/models/flashinfer",
			},
			KillTimeout: 6 * time.Minute, KillSignal: "SIGTERM",
			GPUs: 1,
		}),
		"stub": shippedGroup("/health", jobs.Task{
			Name: "stub", Driver: "raw_exec", Command: "pilotlight",
			Args: []string{
				"stub", "--listen", "${NOMAD_ADDR_http}",
				"--load", "3s", "--latency", "50ms", "--concurrency", "8",
			},
			KillTimeout: 5 * time.Minute, KillSignal: "SIGTERM",
		}),
	}
	names, err := fs.Glob(specs.FS, "*")
	if err != nil || len(names) != len(want) {
		t.Fatalf("shipped are %v (%v), want %d", names, err, len(want))
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			src, err := fs.ReadFile(specs.FS, name)
			if err != nil {
				t.Fatal(err)
			}
			s, findings := Parse(name, src)
			if len(findings) > 0 {
				t.Fatalf("Parse finds %v", findings)
			}
			if findings := Check(s, ""); len(findings) > 0 {
				t.Errorf("Check finds %v", findings)
			}
			if got := strings.TrimSuffix(name, ".nomad.hcl"); got != s.ID {
				t.Errorf("job %q is in %s", s.ID, name)
			}
			if s.Namespace != "default" || s.Type != "service" {
				t.Errorf("namespace %q, type %q", s.Namespace, s.Type)
			}
			lines := cmpopts.IgnoreFields
			if diff := cmp.Diff([]jobs.Group{want[s.ID]}, s.Groups, cmpopts.EquateEmpty(),
				lines(jobs.Group{}, "Line"), lines(jobs.Port{}, "Line"), lines(jobs.Reschedule{}, "Line"),
				lines(jobs.Check{}, "Line"), lines(jobs.Task{}, "Line")); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
		})
	}
}
