package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

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
	// The new one is ready before it was asked for its memory, and until then the sum is unknown.
	grown := h.awaitService(t, "chat", "grown to two replicas, both asked for their memory", func(st jobs.Status) bool {
		return ready(2)(st) && st.GPUMem != nil
	})
	if want := 2 * 54000.0 * (1 << 20); *grown.GPUMem != want {
		t.Errorf("GPU memory %v, want what the replicas say, %v", *grown.GPUMem, want)
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

func TestGPUUtilizationFromPrometheusScalesUpAndDownAndHoldsTheCountWhileItIsAway(t *testing.T) {
	t.Parallel()
	p := startPrometheus(t)
	const window = 3 * time.Second
	h := startDev(t, append([]string{"--prometheus", p.URL()}, pairs{"chat": {
		policy: policyOf("chat", replicas(1, 2, 4),
			"sizing {\n    mode = \"thresholds\"\n  }",
			"scale_up {\n    window = \"3s\"\n    max_step = 1\n    cooldown = \"0s\"\n    gpu_utilization = 85\n  }",
			"scale_down {\n    window = \"3s\"\n    gpu_utilization = 40\n  }",
			"gpu {\n    source = \"prometheus\"\n    query = \"avg(DCGM_FI_DEV_GPU_UTIL{job=\\\"chat\\\"})\"\n  }"),
		job: stubJob("chat", "--concurrency", "4", "--latency", "8s"),
	}}.arguments(t)...)...)
	p.replicas.follow(func() jobs.Status {
		var st jobs.Status
		_ = readJSON(h.control+"/api/v1/services/chat", &st) // none, then
		return st
	})

	began := time.Now()
	h.awaitService(t, "chat", "idle, with a known utilization", func(st jobs.Status) bool {
		return ready(1)(st) && st.GPU != nil && *st.GPU == 0
	})
	t.Logf("known %v after the start", time.Since(began).Round(100*time.Millisecond))

	var running []later
	for range 4 {
		running = append(running, inBackground(func() answer { return h.translate(t.Context(), "/chat/translate", "text") }))
	}
	began = time.Now()
	h.awaitService(t, "chat", "busy", func(st jobs.Status) bool { return st.GPU != nil && *st.GPU == 100 })
	t.Logf("busy is seen after %v", time.Since(began).Round(100*time.Millisecond))
	h.awaitService(t, "chat", "grown to two replicas", ready(2))
	list := h.decisions(t, "chat")
	up := slices.IndexFunc(list, func(d decide.Decision) bool { return d.From == 1 && d.To == 2 })
	if up < 0 {
		t.Fatalf("no decision from 1 to 2 in %+v", list)
	}
	t.Log(list[up].Reason)
	if g := list[up].Signals.Up.GPUUtilization; g == nil || *g <= 85 {
		t.Errorf("the decision has not stored what it compared: %+v", list[up].Signals)
	}

	p.kill()
	for i, l := range running {
		if err := l.get(t).check("text"); err != nil {
			t.Errorf("request %d: %v", i, err)
		}
	}
	unknown := h.awaitService(t, "chat", "without a known utilization", func(st jobs.Status) bool { return st.GPU == nil })
	if unknown.GPUWhy == nil || !strings.Contains(*unknown.GPUWhy, "Prometheus: ") || !strings.Contains(*unknown.GPUWhy, "connection refused") {
		t.Errorf("the reason is not told: %s", short(unknown))
	} else {
		t.Log(*unknown.GPUWhy)
	}
	await(t, "the metric to be gone", func() error {
		if m := h.metric(t, "pilotlight_gpu_utilization_ratio"); len(m) != 0 {
			return fmt.Errorf("it is %v", m)
		}
		return nil
	})
	pause(t, 3*window) // idle all the time, had it been known
	if st := h.service(t, "chat"); !ready(2)(st) || st.GPU != nil {
		t.Errorf("%s, want two replicas held while Prometheus is away", short(st))
	}

	p.start(t)
	h.awaitService(t, "chat", "idle again, with one replica", func(st jobs.Status) bool {
		return ready(1)(st) && st.GPU != nil && *st.GPU == 0
	})
	if strings.Contains(h.said.String(), prometheusPassword) {
		t.Error("the password of Prometheus is in the log")
	}
}
