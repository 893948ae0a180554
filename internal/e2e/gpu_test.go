package e2e

import (
	"slices"
	"testing"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

func TestGPUUtilizationFromTheReplicasOwnMetricsIsShownStoredAndScalesUp(t *testing.T) {
	t.Parallel()
	const hot = 91.0
	h := startDev(t, pairs{"chat": {
		policy: policyOf("chat", replicas(1, 2, 4),
			"sizing {\n    mode = \"thresholds\"\n  }",
			"scale_up {\n    window = \"3s\"\n    max_step = 1\n    cooldown = \"0s\"\n    gpu_utilization = 85\n  }",
			"gpu {\n    source = \"metrics\"\n  }"),
		job: stubJob("chat", "--gpu-util", "20@0s,91@5s"),
	}}.arguments(t)...)

	cool := h.awaitService(t, "chat", "at its minimum with a known utilization", func(st jobs.Status) bool {
		return ready(1)(st) && st.GPU != nil
	})
	if *cool.GPU != 20 || cool.Replicas.Wanted != 1 {
		t.Errorf("%s, want 20 %% and one replica", short(cool))
	}
	grown := h.awaitService(t, "chat", "grown to two replicas", ready(2))
	if grown.GPUMem == nil || *grown.GPUMem < 50e9 {
		t.Errorf("GPU memory %v, want what the replicas say: 54,000 MiB each", grown.GPUMem)
	}
	list := h.decisions(t, "chat")
	up := slices.IndexFunc(list, func(d decide.Decision) bool { return d.From == 1 && d.To == 2 })
	if up < 0 {
		t.Fatalf("no decision from 1 to 2 in %+v", list)
	}
	d := list[up]
	t.Logf("%s: %s", d.Rule, d.Reason)
	if g := d.Signals.Up.GPUUtilization; g == nil || *g <= 85 || *g > hot {
		t.Errorf("the decision has not stored what it compared: %+v", d.Signals)
	}
	if d.Rule != "threshold" {
		t.Errorf("rule %q, want threshold", d.Rule)
	}
	if metric := h.metric(t, "pilotlight_gpu_utilization_ratio"); len(metric) != 1 {
		t.Errorf("pilotlight_gpu_utilization_ratio %v, want the service's", metric)
	}
}
