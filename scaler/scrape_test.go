package scaler

import (
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

func scrapeOnce(t *testing.T, res *http.Response, err error) gauge {
	t.Helper()
	s := &scraper{url: "http://10.0.0.1:80/metrics", client: &http.Client{
		Transport: answering(func(*http.Request) (*http.Response, error) { return res, err }),
	}}
	families, err := s.scrape(t.Context())
	if err != nil {
		return gauge{why: err.Error()}
	}
	return readGPU(families, time.Now())
}

func TestGPUFiguresAreReadFromDCGMNames(t *testing.T) {
	for name, c := range map[string]struct {
		body                string
		utilization, memory float64 // NaN: unknown
	}{
		"one GPU":                          {"DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 85\nDCGM_FI_DEV_FB_USED{gpu=\"0\"} 1024\n", 85, 1 << 30},
		"mean over two":                    {"# TYPE DCGM_FI_DEV_GPU_UTIL gauge\nDCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 80\nDCGM_FI_DEV_GPU_UTIL{gpu=\"1\"} 40\n", 60, math.NaN()},
		"zero is a figure":                 {"DCGM_FI_DEV_GPU_UTIL 0\n", 0, math.NaN()},
		"ratio where no percent is":        {"DCGM_FI_PROF_GR_ENGINE_ACTIVE 0.5\n", 50, math.NaN()},
		"percent before ratio":             {"DCGM_FI_PROF_GR_ENGINE_ACTIVE 0.5\nDCGM_FI_DEV_GPU_UTIL 90\n", 90, math.NaN()},
		"not a number is unknown":          {"DCGM_FI_DEV_GPU_UTIL NaN\n", math.NaN(), math.NaN()},
		"one of two not a number, unknown": {"DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 3\nDCGM_FI_DEV_GPU_UTIL{gpu=\"1\"} NaN\n", math.NaN(), math.NaN()},
		"blank value of the exporter":      {"DCGM_FI_DEV_GPU_UTIL -1\n", math.NaN(), math.NaN()},
		"no such name":                     {"vllm:num_requests_running{model_name=\"m\"} 3\n", math.NaN(), math.NaN()},
	} {
		g := scrapeOnce(t, reply(200, c.body), nil)
		if !same(g.utilization, c.utilization) {
			t.Errorf("%s: utilization %v, want %v", name, show(g.utilization), c.utilization)
		}
		if !same(g.memory, c.memory) {
			t.Errorf("%s: memory %v, want %v", name, show(g.memory), c.memory)
		}
		if (g.utilization == nil) != (g.why != "") {
			t.Errorf("%s: utilization %v with the reason %q", name, show(g.utilization), g.why)
		}
	}
}

func TestFailedScrapeIsUnknownWithItsReason(t *testing.T) {
	for name, c := range map[string]struct {
		res  *http.Response
		err  error
		want string
	}{
		"refused":       {nil, errors.New("connection refused"), "connection refused"},
		"not found":     {reply(404, ""), nil, "status 404"},
		"not the text":  {reply(200, "<html>"), nil, "scrape"},
		"without bound": {reply(200, strings.Repeat("# a comment\n", 400_000)), nil, "more than 4 MiB"},
	} {
		g := scrapeOnce(t, c.res, c.err)
		if g.utilization != nil || !strings.Contains(g.why, c.want) {
			t.Errorf("%s: utilization %v because %q, want unknown because of %q", name, show(g.utilization), g.why, c.want)
		}
	}
}

func same(p *float64, want float64) bool {
	if math.IsNaN(want) {
		return p == nil
	}
	return p != nil && *p == want
}

func show(p *float64) any {
	if p == nil {
		return "unknown"
	}
	return *p
}
