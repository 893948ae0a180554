package nomaddouble

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// recordedJob is the job of most recordings; its driver is pretended.
const recordedJob = `
job "translate" {
  group "server" {
    count = 0
    network {
      port "http" {}
    }
    scaling {
      enabled = false
      min     = 0
      max     = 4
    }
    update {
      max_parallel = 0
    }
    task "engine" {
      driver       = "pretended"
      kill_timeout = "25s"
      config {
        command = "/usr/bin/python3"
        args    = ["/opt/engine/serve.py"]
      }
      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}`

// stage is a double with the two nodes of the recordings.
func stage(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Helper()
	cfg := Config{Nodes: []Node{
		{Name: "cpu-node-1", Class: "c2", CPU: 4498, Memory: 24105},
		{Name: "gpu-node-1", Class: "c1", CPU: 4498, Memory: 24105, Devices: []Device{GPUs(2)}},
	}}
	inBubble(t, cfg, func(t *testing.T, c *cluster) {
		c.ask("DELETE", "/v1/job/translate?purge=true", "", nil)
		c.register(recordedJob)
		time.Sleep(time.Second)
		test(t, c)
	})
}

// get reads an answer as it is.
func (c *cluster) get(path string) any {
	c.t.Helper()
	var v any
	c.ask("GET", path, "", &v)
	return v
}

// edited is the recorded job with other words.
func edited(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(recordedJob) }

func (c *cluster) parse(source string) map[string]any {
	c.t.Helper()
	hcl, err := json.Marshal(map[string]any{"JobHCL": source, "Canonicalize": true})
	if err != nil {
		c.t.Fatal(err)
	}
	var v map[string]any
	c.ask("PUT", "/v1/jobs/parse", string(hcl), &v)
	return v
}

// first allocation that a list has, as lists have it.
func (c *cluster) first(query string, keep func(map[string]any) bool) map[string]any {
	c.t.Helper()
	list, _ := c.get("/v1/allocations?" + query).([]any)
	for _, a := range list {
		if keep(asMap(a)) {
			return asMap(a)
		}
	}
	c.t.Fatalf("no such allocation among %d", len(list))
	return nil
}

const withGPU = `memory = 64
        device "nvidia/gpu" {}`

func TestAJobIsAnsweredAsRecorded(t *testing.T) {
	stage(t, func(t *testing.T, c *cluster) {
		compareShape(t, "parse", recording(t, "jobs-parse-response.json"), c.parse(strings.Replace(recordedJob, `"pretended"`, `"raw_exec"`, 1)))
		c.to(2)
		time.Sleep(time.Second)
		c.ask("PUT", "/v1/job/translate/scale", `{"Count":1,"Target":{"Group":"server"},"Message":"idle for 12m","Meta":{"held":0,"decision":"d-7"}}`, nil)
		time.Sleep(time.Second)
		c.ask("PUT", "/v1/job/translate/scale", `{"Target":{"Group":"server"}}`, nil)
		compareShape(t, "job", recording(t, "job-info.json"), c.get("/v1/job/translate"))
		compareShape(t, "scale status", recording(t, "job-scale-get.json"), c.get("/v1/job/translate/scale"))
	})
}

func TestNodesAreAnsweredAsRecorded(t *testing.T) {
	stage(t, func(t *testing.T, c *cluster) {
		compareShape(t, "nodes", recording(t, "nodes-list-resources.json"), c.get("/v1/nodes?resources=true"))
	})
}

func TestAllocationsAreAnsweredAsRecorded(t *testing.T) {
	stage(t, func(t *testing.T, c *cluster) {
		c.register(edited("memory = 64", withGPU))
		c.to(1)
		time.Sleep(time.Minute)
		running := c.first("resources=true", func(a map[string]any) bool { return a["ClientStatus"] == "running" })
		compareShape(t, "list with resources", asMap(recording(t, "alloc-stub-gpu-resources.json")), running, ".Name = ")
		whole := asMap(c.get("/v1/allocation/" + running["ID"].(string)))
		delete(whole, "Job")
		want := asMap(recording(t, "alloc-full-gpu.json"))
		delete(want, "Job")
		compareShape(t, "allocation", want, whole, ".Name = ")

		c.Measure("gpu-node-1", "GPU-00000000-1111-2222-3333-444444444444", Measurement{Utilization: 74, MemoryUsed: 60213, MemoryTotal: 81559})
		compareShape(t, "statistics of an allocation", recording(t, "alloc-stats-gpu.json"), c.get("/v1/client/allocation/"+running["ID"].(string)+"/stats"))
		stats := asMap(c.get("/v1/client/stats?node_id=" + running["NodeID"].(string)))
		compareShape(t, "statistics of a node", recording(t, "client-stats-devices.json"), map[string]any{"DeviceStats": stats["DeviceStats"], "Timestamp": stats["Timestamp"]})
	})
}

func TestAStoppedAllocationIsAnsweredAsRecorded(t *testing.T) {
	stage(t, func(t *testing.T, c *cluster) {
		c.SetStartup("default", "translate", Startup{IgnoresKill: true})
		c.register(edited(`"25s"`, `"2s"`))
		c.to(1)
		time.Sleep(time.Second)
		c.to(0)
		time.Sleep(10 * time.Second)
		list, _ := c.get("/v1/job/translate/allocations").([]any)
		compareShape(t, "stopped allocation", recording(t, "alloc-stub-stopped.json"), list[0], ".Name = ")
	})
}

func TestAFailedAllocationIsAnsweredAsRecorded(t *testing.T) {
	stage(t, func(t *testing.T, c *cluster) {
		c.register(edited("update {", "restart {\nattempts = 1\ndelay = \"1s\"\ninterval = \"1m\"\nmode = \"fail\"\n}\nreschedule {\nunlimited = true\ndelay = \"5s\"\ndelay_function = \"constant\"\n}\nupdate {"))
		c.to(1)
		time.Sleep(time.Second)
		id := c.newest()
		for range 2 {
			if err := c.Crash(id, 3); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		time.Sleep(10 * time.Second)
		whole := asMap(c.get("/v1/allocation/" + id))
		delete(whole, "Job")
		compareShape(t, "failed and replaced allocation", recording(t, "alloc-failed-rescheduled.json"), whole, ".Name = ",
			".DesiredDescription", // not recorded
			".TaskStates.*.Events[].DisplayMessage = \"Task restarting ", // the recording's delay has jitter
		)
	})
}

func TestEvaluationsAreAnsweredAsRecorded(t *testing.T) {
	stage(t, func(t *testing.T, c *cluster) {
		c.register(edited("memory = 64", withGPU))
		time.Sleep(time.Second)
		done := asMap(c.get("/v1/evaluation/" + c.to(3).EvalID))
		time.Sleep(time.Second)
		done = asMap(c.get("/v1/evaluation/" + done["ID"].(string)))
		compareShape(t, "evaluation without room", recording(t, "evaluation-devices-exhausted.json"), done)
		compareShape(t, "blocked evaluation", recording(t, "evaluation-blocked.json"), c.get("/v1/evaluation/"+done["BlockedEval"].(string)))

		for what, job := range map[string]string{
			"asked 9 TB of memory":                                edited("translate", "x-mem", "memory = 64", "memory = 9000000"),
			"asked device amd/gpu (no such device)":               edited("translate", "x-amd", "memory = 64", "memory = 64\ndevice \"amd/gpu\" {}"),
			"asked nvidia/gpu with device.attr.memory >= 120 GiB": edited("translate", "x-gpu-mem", "memory = 64", "memory = 64\ndevice \"nvidia/gpu\" {\nconstraint {\nattribute = \"${device.attr.memory}\"\noperator = \">=\"\nvalue = \"120 GiB\"\n}\n}"),
			"node.class = h100":                                   edited("translate", "x-class", "network {", "constraint {\nattribute = \"${node.class}\"\nvalue = \"h100\"\n}\nnetwork {"),
		} {
			c.register(strings.Replace(job, "count = 0", "count = 1", 1))
			time.Sleep(time.Second)
			list, _ := c.get("/v1/evaluations?filter=" + url.QueryEscape(`TriggeredBy == "job-register"`)).([]any)
			i := slices.IndexFunc(list, func(e any) bool {
				return strings.HasPrefix(asMap(e)["JobID"].(string), "x-") && asMap(e)["FailedTGAllocs"] != nil
			})
			if i < 0 {
				t.Fatalf("%s: no failed evaluation", what)
			}
			recorded := asMap(asMap(recording(t, "evaluations-failed.json"))[what])
			compareShape(t, what, recorded, list[i])
			for _, k := range []string{"ConstraintFiltered", "DimensionExhausted", "ClassFiltered", "ClassExhausted"} {
				want, got := asMap(asMap(recorded["FailedTGAllocs"])["server"])[k], asMap(asMap(asMap(list[i])["FailedTGAllocs"])["server"])[k]
				if fmt.Sprint(want) != fmt.Sprint(got) {
					t.Errorf("%s: %s: got %v, want %v", what, k, got, want)
				}
			}
		}
	})
}

func TestPlansAreAnsweredAsRecorded(t *testing.T) {
	stage(t, func(t *testing.T, c *cluster) {
		plan := func(source string) any {
			j, err := json.Marshal(map[string]any{"Job": c.parse(source), "Diff": true})
			if err != nil {
				t.Fatal(err)
			}
			var v any
			c.ask("PUT", "/v1/job/translate/plan", string(j), &v)
			return v
		}
		compareShape(t, "plan", recording(t, "plan-ok.json"), plan(edited("count = 0", "count = 2")))
		compareShape(t, "plan without room", recording(t, "plan-unplaceable.json"), plan(edited("count = 0", "count = 2", "memory = 64", "memory = 9000000")),
			".CreatedEvals[].FailedTGAllocs.*.ClassExhausted", ".FailedTGAllocs.*.ClassExhausted") // that agent's node had no class
	})
}

func TestSmallAnswersAreAsRecorded(t *testing.T) {
	stage(t, func(t *testing.T, c *cluster) {
		recorded := asMap(recording(t, "small-responses.json"))
		call := func(method, path, body string) any {
			var v any
			c.ask(method, path, body, &v)
			time.Sleep(10 * time.Millisecond)
			return v
		}
		compare := func(what string, got any, ignore ...string) {
			t.Helper()
			want, ok := recorded[what]
			if !ok {
				t.Fatalf("%s is not recorded", what)
			}
			delete(recorded, what)
			compareShape(t, what, want, got, ignore...)
		}
		compare("PUT /v1/job/translate/scale", call("PUT", "/v1/job/translate/scale", `{"Count":1,"Target":{"Group":"server"}}`))
		compare("PUT /v1/job/translate/scale (no Count: a note only; EvalID empty, JobModifyIndex is the job's ModifyIndex)",
			call("PUT", "/v1/job/translate/scale", `{"Target":{"Group":"server"}}`))
		time.Sleep(time.Second)
		compare("PUT /v1/allocation/:id/stop", call("PUT", "/v1/allocation/"+c.newest()+"/stop", ""))
		compare("GET /v1/job/translate/summary", call("GET", "/v1/job/translate/summary", ""))
		compare("GET /v1/jobs?prefix=translate (count 0, status dead)", call("GET", "/v1/jobs?prefix=translate", ""), "[].Status = ")
		job, err := json.Marshal(map[string]any{"Job": c.parse(edited("memory = 64", "memory = 65"))})
		if err != nil {
			t.Fatal(err)
		}
		compare("PUT /v1/jobs", call("PUT", "/v1/jobs", string(job)))
		compare("PUT /v1/validate/job (good)", call("PUT", "/v1/validate/job", string(job)))
		bad := c.parse(edited("count = 0", "count = 9"))
		asMap(asList(asMap(asList(bad["TaskGroups"])[0])["Tasks"])[0])["Driver"] = ""
		if job, err = json.Marshal(map[string]any{"Job": bad}); err != nil {
			t.Fatal(err)
		}
		wrong := call("PUT", "/v1/validate/job", string(job))
		if got, want := asMap(wrong)["Error"], asMap(recorded["PUT /v1/validate/job (bad; HTTP status is 200)"])["Error"]; got != want {
			t.Errorf("validation: got %q, want %q", got, want)
		}
		compare("PUT /v1/validate/job (bad; HTTP status is 200)", wrong)
		compare("DELETE /v1/job/translate", call("DELETE", "/v1/job/translate", ""))
		for what := range recorded {
			t.Errorf("not compared: %s", what)
		}
	})
}
