package stub

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// GPU memory that the stub claims, in MiB as the DCGM exporter counts: the
// weights of a 27B model, and the KV cache of each running request.
const (
	weightsMiB    = 54000
	perRequestMiB = 1500
	totalMiB      = 81559
)

// metrics writes Prometheus' text format, with the names and labels of vLLM and
// of the DCGM exporter.
func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	running := s.running.Load()
	waiting := max(s.inFlight.Load()-running, 0)
	used := min(weightsMiB+perRequestMiB*running, totalMiB)
	vllm := fmt.Sprintf("engine=\"0\",model_name=%q", s.cfg.Model)
	const gpu = `gpu="0",UUID="GPU-00000000-0000-0000-0000-000000000000",device="nvidia0",modelName="stub"`

	var text strings.Builder
	for _, m := range []struct {
		name, kind, help, labels string
		value                    float64
	}{
		{"vllm:num_requests_running", "gauge", "Requests being computed.", vllm, float64(running)},
		{"vllm:num_requests_waiting", "gauge", "Requests waiting to be computed.", vllm, float64(waiting)},
		{"vllm:kv_cache_usage_perc", "gauge", "KV cache in use, 1 is all of it.", vllm, float64(running) / float64(s.cfg.Concurrency)},
		{"DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %).", gpu,
			s.utilization.at(time.Since(s.started), int(running), s.cfg.Concurrency)},
		{"DCGM_FI_DEV_FB_USED", "gauge", "Framebuffer memory used (in MiB).", gpu, float64(used)},
		{"DCGM_FI_DEV_FB_FREE", "gauge", "Framebuffer memory free (in MiB).", gpu, float64(totalMiB - used)},
		{"stub_executions_total", "counter", "Executions begun.", "", float64(s.counts.executions.Load())},
		{"stub_cancelled_total", "counter", "Executions given up because the client had gone.", "", float64(s.counts.cancelled.Load())},
		{"stub_in_flight", "gauge", "Requests running and waiting.", "", float64(s.inFlight.Load())},
		{"stub_max_in_flight", "gauge", "Highest number of requests in flight ever.", "", float64(s.highest.Load())},
	} {
		labels := m.labels
		if labels != "" {
			labels = "{" + labels + "}"
		}
		fmt.Fprintf(&text, "# HELP %s %s\n# TYPE %s %s\n%s%s %g\n", m.name, m.help, m.name, m.kind, m.name, labels, m.value)
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = fmt.Fprint(w, text.String())
}
