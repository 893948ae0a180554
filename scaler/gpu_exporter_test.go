package scaler

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// recorded is a file of testdata.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

const (
	gpu0 = "GPU-00000000-1111-2222-3333-444444444444"
	gpu1 = "GPU-00000001-1111-2222-3333-444444444444"
	gpu2 = "GPU-00000002-1111-2222-3333-444444444444"
	gpu3 = "GPU-00000003-1111-2222-3333-444444444444"
	gpu9 = "GPU-00000009-1111-2222-3333-444444444444"
	mib  = float64(1 << 20)
)

func TestOfAnExporterOnTheNodeOnlyTheReplicasDevicesCount(t *testing.T) {
	dcgm, mig := recorded(t, "dcgm-exporter-4gpu.txt"), recorded(t, "dcgm-exporter-mig.txt")
	node := policies.GPU{Source: "metrics", Port: 9400}
	active := policies.GPU{Source: "metrics", Port: 9400, Query: "DCGM_FI_PROF_SM_ACTIVE"}
	known := func(percent, used, total float64) jobs.GPU {
		return jobs.GPU{Utilization: &percent, MemoryUsed: &used, MemoryTotal: &total}
	}
	for name, c := range map[string]struct {
		body    []byte
		by      policies.GPU
		devices []string
		want    jobs.GPU
	}{
		"one device":        {dcgm, node, []string{gpu0}, known(97, 72802*mib, (72802+8204+553)*mib)},
		"an idle device":    {dcgm, node, []string{gpu1}, known(0, 2*mib, (2+81004+553)*mib)},
		"mean of two":       {dcgm, node, []string{gpu0, gpu2}, known(69, (72802+61002)*mib, (72802+61002+8204+20004)*mib)},
		"a metric by name":  {dcgm, active, []string{gpu0}, known(25, 72802*mib, (72802+8204+553)*mib)},
		"a blank of DCGM":   {dcgm, node, []string{gpu3}, jobs.GPU{Why: "DCGM_FI_DEV_GPU_UTIL is 2.147483632e+09"}},
		"one of two blank":  {dcgm, node, []string{gpu0, gpu3}, jobs.GPU{Why: "DCGM_FI_DEV_GPU_UTIL is 2.147483632e+09"}},
		"a foreign device":  {dcgm, node, []string{gpu9}, jobs.GPU{Why: "DCGM_FI_DEV_GPU_UTIL has no sample of " + gpu9}},
		"half foreign":      {dcgm, node, []string{gpu0, gpu9}, jobs.GPU{Why: "DCGM_FI_DEV_GPU_UTIL has no sample of " + gpu9}},
		"devices not known": {dcgm, node, nil, jobs.GPU{Why: "DCGM_FI_DEV_GPU_UTIL has 4 samples, and which of its node's GPUs the replica holds is not known"}},
		"no such metric": {dcgm, policies.GPU{Source: "metrics", Port: 9400, Query: "nv_gpu_utilization"}, []string{gpu1},
			jobs.GPU{Why: "its /metrics has no nv_gpu_utilization", MemoryUsed: new(2 * mib), MemoryTotal: new((2 + 81004 + 553) * mib)}},
		"a MIG instance": {mig, node, []string{"MIG-7d3cbbc0-2f6a-5e3b-bd3c-2c7f3a0e9a11"}, jobs.GPU{
			Why: "DCGM_FI_PROF_GR_ENGINE_ACTIVE has no sample of MIG-7d3cbbc0-2f6a-5e3b-bd3c-2c7f3a0e9a11: exporters name a MIG instance by the GPU that it is part of"}},
		"the GPU of MIG instances": {mig, node, []string{gpu0}, jobs.GPU{Why: "DCGM_FI_PROF_GR_ENGINE_ACTIVE has no sample of " + gpu0}},
	} {
		got := readExporter(c.body, c.by, c.devices)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSamplesAreMatchedToDevices(t *testing.T) {
	for name, c := range map[string]struct {
		body    string
		devices []string
		percent float64 // -1: unknown
	}{
		"by gpu_uuid":                         {"m{gpu_uuid=\"GPU-a\"} 3\nm{gpu_uuid=\"GPU-b\"} 5\n", []string{"GPU-b"}, 5},
		"an instance that has its own id":     {"m{UUID=\"MIG-a\",GPU_I_ID=\"1\"} 7\nm{UUID=\"MIG-b\",GPU_I_ID=\"2\"} 9\n", []string{"MIG-a"}, 7},
		"the only GPU, devices not known":     {"m{UUID=\"GPU-a\"} 3\n", nil, 3},
		"the only sample, without labels":     {"m 3\n", nil, 3},
		"a sample without labels, one device": {"m 3\n", []string{"GPU-a"}, -1},
		"the only instance, not known whose":  {"m{UUID=\"GPU-a\",GPU_I_ID=\"1\"} 3\n", nil, -1},
		"one GPU twice":                       {"m{UUID=\"GPU-a\",x=\"1\"} 3\nm{UUID=\"GPU-a\",x=\"2\"} 5\n", []string{"GPU-a"}, -1},
	} {
		g := readExporter([]byte(c.body), policies.GPU{Port: 9400, Query: "m"}, c.devices)
		if (g.Utilization == nil) != (c.percent < 0) || g.Utilization != nil && *g.Utilization != c.percent {
			t.Errorf("%s: %v because %q, want %v", name, show(g.Utilization), g.Why, c.percent)
		}
		if (g.Utilization == nil) != (g.Why != "") {
			t.Errorf("%s: %v with the reason %q", name, show(g.Utilization), g.Why)
		}
	}
}

func TestWhatAReplicaSaysItselfIsAboutItself(t *testing.T) {
	for name, c := range map[string]struct {
		body, query         string
		devices             []string
		utilization, memory float64 // -1: unknown
	}{
		"one GPU":                          {"DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 85\nDCGM_FI_DEV_FB_USED{gpu=\"0\"} 1024\n", "", nil, 85, 1 << 30},
		"mean over two":                    {"# TYPE DCGM_FI_DEV_GPU_UTIL gauge\nDCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 80\nDCGM_FI_DEV_GPU_UTIL{gpu=\"1\"} 40\n", "", nil, 60, -1},
		"its own among those of its node":  {"DCGM_FI_DEV_GPU_UTIL{UUID=\"GPU-a\"} 80\nDCGM_FI_DEV_GPU_UTIL{UUID=\"GPU-b\"} 40\n", "", []string{"GPU-b"}, 40, -1},
		"devices under other names":        {"DCGM_FI_DEV_GPU_UTIL{UUID=\"GPU-a\"} 80\n", "", []string{"GPU-b"}, 80, -1},
		"zero is a figure":                 {"DCGM_FI_DEV_GPU_UTIL 0\nDCGM_FI_DEV_FB_USED 0\n", "", nil, 0, 0},
		"ratio where no percent is":        {"DCGM_FI_PROF_GR_ENGINE_ACTIVE 0.5\n", "", nil, 50, -1},
		"percent before ratio":             {"DCGM_FI_PROF_GR_ENGINE_ACTIVE 0.5\nDCGM_FI_DEV_GPU_UTIL 90\n", "", nil, 90, -1},
		"ratio where percent is blank":     {"DCGM_FI_PROF_GR_ENGINE_ACTIVE 0.5\nDCGM_FI_DEV_GPU_UTIL NaN\n", "", nil, 50, -1},
		"not a number is unknown":          {"DCGM_FI_DEV_GPU_UTIL NaN\n", "", nil, -1, -1},
		"infinite is unknown":              {"DCGM_FI_DEV_GPU_UTIL +Inf\n", "", nil, -1, -1},
		"one of two not a number, unknown": {"DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 3\nDCGM_FI_DEV_GPU_UTIL{gpu=\"1\"} NaN\n", "", nil, -1, -1},
		"negative is unknown":              {"DCGM_FI_DEV_GPU_UTIL -1\n", "", nil, -1, -1},
		"no such name":                     {"vllm:num_requests_running{model_name=\"m\"} 3\n", "", nil, -1, -1},
		"nothing":                          {"", "", nil, -1, -1},
		"not the text format":              {"<html>", "", nil, -1, -1},
		"a cut line":                       {"DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 8", "", nil, -1, -1},
		"a broken line of another metric":  {"other{ 3 3\nDCGM_FI_DEV_GPU_UTIL 7\n", "", nil, 7, -1},
		"a share by its name":              {"x_ratio 0.5\n", "x_ratio", nil, 50, -1},
		"all of a share":                   {"x_perc 1\n", "x_perc", nil, 100, -1},
		"a percentage named like a share":  {"x_perc 55\n", "x_perc", nil, 55, -1},
		"shares beside a percentage":       {"x_perc{a=\"1\"} 0\nx_perc{a=\"2\"} 50\n", "x_perc", nil, 25, -1},
		"a small percentage":               {"x_percent 0.5\n", "x_percent", nil, 0.5, -1},
		"Triton's share":                   {"nv_gpu_utilization{gpu_uuid=\"GPU-a\"} 0.9\n", "nv_gpu_utilization", nil, 90, -1},
		"a counter":                        {"# TYPE x counter\nx 50\n", "x", nil, -1, -1},
		"a histogram":                      {"# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 5\nx_count 1\n", "x", nil, -1, -1},
		"memory beside a metric by name":   {"x_perc 1\nDCGM_FI_DEV_FB_USED 1024\n", "x_perc", nil, 100, 1 << 30},
	} {
		g := readExporter([]byte(c.body), policies.GPU{Source: "metrics", Query: c.query}, c.devices)
		for figure, f := range map[string]struct {
			got  *float64
			want float64
		}{"utilization": {g.Utilization, c.utilization}, "memory": {g.MemoryUsed, c.memory}} {
			if (f.got == nil) != (f.want < 0) || f.got != nil && *f.got != f.want {
				t.Errorf("%s: %s %v, want %v", name, figure, show(f.got), f.want)
			}
		}
		if (g.Utilization == nil) != (g.Why != "") {
			t.Errorf("%s: utilization %v with the reason %q", name, show(g.Utilization), g.Why)
		}
	}
}

func TestTheMeanIsTakenOverTheEnginesOfVLLM(t *testing.T) {
	vllm := recorded(t, "vllm.txt")
	g := readExporter(vllm, policies.GPU{Source: "metrics", Query: "vllm:kv_cache_usage_perc"}, []string{gpu0, gpu1})
	if diff := cmp.Diff(jobs.GPU{Utilization: new(50.0)}, g); diff != "" {
		t.Error(diff)
	}
	if g := readExporter(vllm, policies.GPU{Source: "metrics"}, nil); g.Utilization != nil || !strings.Contains(g.Why, "neither") {
		t.Errorf("without the DCGM exporter's names: %v because %q", show(g.Utilization), g.Why)
	}
}

func FuzzReadExporter(f *testing.F) {
	for _, name := range []string{"dcgm-exporter-4gpu.txt", "dcgm-exporter-mig.txt", "vllm.txt"} {
		f.Add(recorded(f, name), "", true, gpu0)
		f.Add(recorded(f, name), "vllm:kv_cache_usage_perc", false, "")
	}
	f.Add([]byte("# TYPE m histogram\nm_bucket{le=\"1\"} 3\nm NaN 5\n"), "m", false, "GPU-a")
	f.Fuzz(func(t *testing.T, body []byte, query string, node bool, device string) {
		by := policies.GPU{Source: "metrics", Query: query}
		if node {
			by.Port = 9400
		}
		var devices []string
		if device != "" {
			devices = []string{device}
		}
		lawful(t, checked(readExporter(body, by, devices)))
	})
}

// lawful wants a figure that a GPU can have, or a reason.
func lawful(t *testing.T, g jobs.GPU) {
	t.Helper()
	if u := g.Utilization; u == nil && g.Why == "" || u != nil && !(*u >= 0 && *u <= 100) {
		t.Errorf("utilization %v because %q", show(u), g.Why)
	}
	for _, m := range []*float64{g.MemoryUsed, g.MemoryTotal} {
		if m != nil && !(*m >= 0 && *m < 1e30) {
			t.Errorf("memory %v", *m)
		}
	}
}

func show(p *float64) any {
	if p == nil {
		return "unknown"
	}
	return *p
}
