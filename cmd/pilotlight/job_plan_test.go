package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
)

// register does what nomad job run does, with a count of its own.
func register(t *testing.T, address, source string, count int) {
	t.Helper()
	put := func(path string, in, out any) {
		t.Helper()
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, address+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", path, res.Status)
		}
		if err := json.NewDecoder(res.Body).Decode(out); err != nil {
			t.Fatal(err)
		}
	}
	var job map[string]any
	put("/v1/jobs/parse", map[string]any{"JobHCL": source, "Canonicalize": true}, &job)
	job["TaskGroups"].([]any)[0].(map[string]any)["Count"] = count
	put("/v1/jobs", map[string]any{"Job": job}, &map[string]any{})
}

func planned(t *testing.T, want int, args ...string) planReport {
	t.Helper()
	out, _ := said(t, want, append([]string{"job", "plan", "-o", "json"}, args...)...)
	var report planReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return report
}

func rules(r planReport) (all []string) {
	for _, f := range r.Findings {
		all = append(all, f.Severity+" "+f.Rule)
	}
	return all
}

func gpuCluster(t *testing.T, gpus int) string {
	t.Helper()
	_, address := cluster(t, nomaddouble.Config{Nodes: []nomaddouble.Node{{Name: "gpu-1", Devices: []nomaddouble.Device{nomaddouble.GPUs(gpus)}}}})
	return address
}

func TestAPlanOfANewJobThatFitsIsAllWell(t *testing.T) {
	address := gpuCluster(t, 4)
	file, policy := written(t, "web.nomad.hcl", webJob), written(t, "web.hcl", webPolicy)
	out, _ := said(t, exitDone, "job", "plan", file, "--nomad", address, "--policies", policy)
	for _, want := range []string{"(not registered): new", "policy web: its max of 4 replicas would fit now", "0 errors, 0 warnings"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("colours, and nobody to see them")
	}
}

func TestAPlanSaysHowManyReplicasWouldFit(t *testing.T) {
	address := gpuCluster(t, 2)
	file, policy := written(t, "web.nomad.hcl", webJob), written(t, "web.hcl", webPolicy)
	register(t, address, webJob, 2)
	awaitRunning(t, address, 2)
	r := planned(t, exitFailure, file, "--nomad", address, "--policies", policy)
	want := []plannedMax{{Policy: "web", Group: "server", Max: 4, Fit: 2, Reason: "no free GPU: 1 node, 0 of 2 nvidia/gpu free"}}
	if diff := cmp.Diff(want, r.Plans[0].Policies); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	out, _ := said(t, exitFailure, "job", "plan", file, "--nomad", address, "--policies", policy)
	if !strings.Contains(out, `policy "web": 2 of 4 replicas would fit now: no free GPU: 1 node, 0 of 2 nvidia/gpu free [no-room]`) {
		t.Error(out)
	}
}

// What redis or Pilotlight itself has for a count is not Pilotlight's to set.
func TestAPlanLeavesTheCountOfAJobThatIsNotScaledToItsFile(t *testing.T) {
	address := gpuCluster(t, 2)
	own := strings.Replace(strings.Replace(webJob, "count = 0", "count = 3", 1), "  group", "  meta {\n    pilotlight = \"not-scaled\"\n  }\n  group", 1)
	nowhere := strings.Replace(own, "nvidia/gpu", "amd/gpu", 1)
	r := planned(t, exitFailure, written(t, "web.nomad.hcl", nowhere), "--nomad", address, "--policies", written(t, "web.hcl", webPolicy))
	if diff := cmp.Diff([]string{"error no-room", "error not-scaled"}, rules(r)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	register(t, address, own, 2)
	awaitRunning(t, address, 2)
	smaller := strings.Replace(strings.Replace(own, "count = 3", "count = 1", 1), "web:1", "web:2", 1)
	stopping := planned(t, exitDone, written(t, "web.nomad.hcl", smaller), "--nomad", address)
	for _, f := range append(r.Findings, stopping.Findings...) {
		if f.Rule != "not-scaled" && strings.Contains(f.Message+f.Allowed, "Pilotlight") || strings.Contains(f.Message+f.Allowed, "zero") || strings.Contains(f.Message, "cold start") {
			t.Errorf("advice as for a job that Pilotlight scales: %+v", f)
		}
	}
	if diff := cmp.Diff([]string{"warning replaces-all", "warning count-reset"}, rules(stopping)); diff != "" {
		t.Errorf("stopping some (-want +got)\n%s", diff)
	}
}

func TestAPlanWarnsOfWhatRegisteringWouldStop(t *testing.T) {
	address := gpuCluster(t, 2)
	register(t, address, webJob, 2)
	awaitRunning(t, address, 2)
	same := planned(t, exitDone, written(t, "web.nomad.hcl", webJob), "--nomad", address)
	if diff := cmp.Diff([]string{"warning count-reset"}, rules(same)); diff != "" {
		t.Errorf("the same job (-want +got)\n%s", diff)
	}
	if same.Plans[0].Change != "none" || *same.Plans[0].Groups[0].LiveCount != 2 || same.Plans[0].Groups[0].Stop != 2 {
		t.Errorf("the same job: %+v", same.Plans[0])
	}
	other := planned(t, exitDone, written(t, "web.nomad.hcl", strings.Replace(webJob, "web:1", "web:2", 1)), "--nomad", address)
	if diff := cmp.Diff([]string{"warning replaces-all", "warning count-reset"}, rules(other)); diff != "" {
		t.Errorf("another image (-want +got)\n%s", diff)
	}
	if len(other.Plans[0].Diff) != 1 || other.Plans[0].Diff[0].New != "web:2" {
		t.Errorf("another image: %+v", other.Plans[0].Diff)
	}
}

func TestAPlanOfWhatNomadDoesNotTakeFails(t *testing.T) {
	address := gpuCluster(t, 1)
	r := planned(t, exitFailure, written(t, "web.nomad.hcl", `job "web" {`), "--nomad", address)
	if diff := cmp.Diff([]string{"error invalid-job"}, rules(r)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	wrong := strings.Replace(webPolicy, `job = "web"`, "job = \"web\"\n  group = \"other\"", 1)
	r = planned(t, exitFailure, written(t, "web.nomad.hcl", webJob), "--nomad", address, "--policies", written(t, "web.hcl", wrong))
	if diff := cmp.Diff([]string{"error unknown-group"}, rules(r)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAPlanWithoutNomadOrRightsFailsAndSaysWhy(t *testing.T) {
	double, address := cluster(t, nomaddouble.Config{})
	file := written(t, "web.nomad.hcl", webJob)
	double.SetToken("other", nomaddouble.Rights{})
	if _, errs := said(t, exitFailure, "job", "plan", file, "--nomad", address); !strings.Contains(errs, `"submit-job"`) {
		t.Error(errs)
	}
	said(t, exitFailure, "job", "plan", file, "--nomad", "http://127.0.0.1:1")
	said(t, exitUsage, "job", "plan", file, "--nomad", "ftp://x")
	said(t, exitUsage, "job", "plan", "nowhere.nomad.hcl", "--nomad", address)
	said(t, exitUsage, "job", "plan", file, "--nomad", address, "--var", "x")
	said(t, exitUsage, "job", "plan")
}

// awaitRunning asks until the job web has that many allocations that are to run.
func awaitRunning(t *testing.T, address string, want int) {
	t.Helper()
	var allocs []struct{ DesiredStatus string }
	for len(allocs) != want {
		if t.Context().Err() != nil {
			t.Fatal("the test is over")
		}
		res, err := http.Get(address + "/v1/job/web/allocations")
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(res.Body).Decode(&allocs)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
}
