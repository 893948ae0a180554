package nomaddouble

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// jobNow is what others can have changed of the job.
type jobNow struct {
	Version, JobModifyIndex uint64
	Stop                    bool
	Status                  string
	TaskGroups              []struct{ Count int }
}

func (c *cluster) job() (j jobNow) {
	c.t.Helper()
	c.ask("GET", "/v1/job/translate", "", &j)
	return j
}

// registers a job's text, with fields beside it in the request.
func (c *cluster) registerWith(source, fields string) {
	c.t.Helper()
	j, err := json.Marshal(c.parse(source))
	if err != nil {
		c.t.Fatal(err)
	}
	c.ask("PUT", "/v1/jobs", fmt.Sprintf(`{"Job":%s%s}`, j, fields), nil)
}

// states are the allocations in the order of their creation.
func (c *cluster) states() (all []string) {
	c.t.Helper()
	var list []struct {
		Name, DesiredStatus, ClientStatus, DesiredDescription string
		JobVersion                                            int
	}
	c.ask("GET", "/v1/job/translate/allocations", "", &list)
	for _, a := range list {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s v%d %s %s %s", strings.TrimPrefix(a.Name, "translate.server"), a.JobVersion, a.DesiredStatus, a.ClientStatus, a.DesiredDescription)))
	}
	return all
}

func (c *cluster) want(what string, want ...string) {
	c.t.Helper()
	if diff := cmp.Diff(want, c.states()); diff != "" {
		c.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func twoGPUs() Config { return Config{Nodes: []Node{{Name: "n", Devices: []Device{GPUs(2)}}}} }

func TestAnIdenticalRegisterChangesNothingUnlessTheCountDiffers(t *testing.T) {
	inBubble(t, twoGPUs(), func(t *testing.T, c *cluster) {
		before := c.job()
		c.register(source)
		time.Sleep(time.Second)
		if diff := cmp.Diff(before, c.job()); diff != "" {
			t.Errorf("an identical register (-before +after):\n%s", diff)
		}
		c.to(2)
		time.Sleep(time.Second)
		c.want("scaled", "[0] v1 run running", "[1] v1 run running")
		c.register(source)
		time.Sleep(time.Second)
		if j := c.job(); j.Version != 2 || j.TaskGroups[0].Count != 0 {
			t.Errorf("the file's count is not back: %+v", j)
		}
	})
}

func TestATaskChangeWithoutAnUpdateBlockStopsAllAtOnceAndStartsNoneBeforeItsPredecessorEnds(t *testing.T) {
	inBubble(t, twoGPUs(), func(t *testing.T, c *cluster) {
		c.SetStartup("default", "translate", Startup{IgnoresKill: true}) // 5 s of kill timeout
		c.to(2)
		time.Sleep(time.Second)
		c.registerWith(strings.Replace(source, `driver = "pretended"`, "driver = \"pretended\"\n env {\n A = \"1\"\n }", 1), `,"PreserveCounts":true`)
		time.Sleep(time.Second)
		c.want("while the old ones end, on the same GPUs",
			"[0] v1 stop running alloc is being updated due to job update", "[1] v1 stop running alloc is being updated due to job update",
			"[0] v2 run pending", "[1] v2 run pending")
		time.Sleep(10 * time.Second)
		c.want("afterwards",
			"[0] v1 stop complete alloc is being updated due to job update", "[1] v1 stop complete alloc is being updated due to job update",
			"[0] v2 run running", "[1] v2 run running")
	})
}

func TestAnUpdateBlockReplacesOneAfterTheOtherInADeployment(t *testing.T) {
	inBubble(t, twoGPUs(), func(t *testing.T, c *cluster) {
		rolling := strings.NewReplacer("max_parallel = 0", "max_parallel = 1", "count = 0", "count = 2").Replace(source)
		c.register(rolling)
		time.Sleep(time.Minute)
		var d struct{ Status string }
		if c.ask("GET", "/v1/job/translate/deployment", "", &d); d.Status != "successful" {
			t.Errorf("the first deployment is %s", d.Status)
		}
		c.register(strings.Replace(rolling, `driver = "pretended"`, "driver = \"pretended\"\n env {\n A = \"1\"\n }", 1))
		time.Sleep(5 * time.Second)
		c.want("one at a time", "[0] v1 stop complete alloc is being updated due to job update", "[1] v1 run running", "[0] v2 run running")
		if w := c.call("PUT", "/v1/job/translate/scale", `{"Count":1,"Target":{"Group":"server"}}`); w.Code != 400 {
			t.Errorf("scaled during a deployment: %d", w.Code)
		}
		time.Sleep(time.Minute)
		if c.ask("GET", "/v1/job/translate/deployment", "", &d); d.Status != "successful" {
			t.Errorf("the second deployment is %s", d.Status)
		}
	})
}

func TestAFailedDeploymentLeavesItsAllocationsAndLetsScale(t *testing.T) {
	inBubble(t, twoGPUs(), func(t *testing.T, c *cluster) {
		c.register(strings.NewReplacer("max_parallel = 0", "max_parallel = 1", "count = 0", "count = 1").Replace(source))
		time.Sleep(time.Second)
		var d struct{ ID, Status string }
		c.ask("GET", "/v1/job/translate/deployment", "", &d)
		c.ask("PUT", "/v1/deployment/fail/"+d.ID, "", nil)
		c.want("it runs on", "[0] v1 run running")
		c.to(2)
		time.Sleep(time.Second)
		c.want("scaled", "[0] v2 run running", "[1] v2 run running")
	})
}

func TestAStoppedJobIsStartedByARegisterAndAPurgedOneForgetsEverything(t *testing.T) {
	inBubble(t, twoGPUs(), func(t *testing.T, c *cluster) {
		c.to(1)
		time.Sleep(time.Second)
		c.ask("DELETE", "/v1/job/translate", "", nil)
		time.Sleep(time.Second)
		if j := c.job(); !j.Stop || j.Status != "dead" || j.Version != 2 {
			t.Errorf("stopped: %+v", j)
		}
		c.registerWith(source, `,"PreserveCounts":true`)
		time.Sleep(time.Second)
		if j := c.job(); j.Stop || j.TaskGroups[0].Count != 1 || !slices.Contains(c.states(), "[0] v3 run running") {
			t.Errorf("started again: %+v %v", j, c.states())
		}
		c.ask("DELETE", "/v1/job/translate?purge=true", "", nil)
		if left := c.allocations(""); len(left) != 0 {
			t.Errorf("a purge left %v", left)
		}
		time.Sleep(time.Second)
		c.register(strings.Replace(source, "count = 0", "count = 2", 1)) // its GPUs are free
		time.Sleep(time.Second)
		c.want("a namesake", "[0] v0 run running", "[1] v0 run running")
	})
}

func TestSixVersionsAreKeptAndOneOfThemComesBack(t *testing.T) {
	inBubble(t, twoGPUs(), func(t *testing.T, c *cluster) {
		for _, n := range []int{1, 2, 1, 2, 1, 2} {
			c.to(n)
			time.Sleep(time.Second)
		}
		var v struct {
			Versions []struct {
				Version    int
				TaskGroups []struct{ Count int }
			}
		}
		c.ask("GET", "/v1/job/translate/versions", "", &v)
		var got []int
		for _, one := range v.Versions {
			got = append(got, one.Version, one.TaskGroups[0].Count)
		}
		if diff := cmp.Diff([]int{6, 2, 5, 1, 4, 2, 3, 1, 2, 2, 1, 1}, got); diff != "" {
			t.Errorf("versions and counts (-want +got):\n%s", diff)
		}
		c.ask("PUT", "/v1/job/translate/revert", `{"JobVersion":1}`, nil)
		if j := c.job(); j.Version != 7 || j.TaskGroups[0].Count != 1 {
			t.Errorf("reverted: %+v", j)
		}
		for version, want := range map[int]string{7: "can't revert to current version", 0: `job "translate" in namespace "default" at version 0 not found`} {
			if w := c.call("PUT", "/v1/job/translate/revert", fmt.Sprintf(`{"JobVersion":%d}`, version)); w.Code != 500 || w.Body.String() != want {
				t.Errorf("version %d: got %d %s", version, w.Code, w.Body)
			}
		}
	})
}

func TestAPlanSaysWhatWouldChange(t *testing.T) {
	inBubble(t, twoGPUs(), func(t *testing.T, c *cluster) {
		c.to(1)
		time.Sleep(time.Second)
		for change, want := range map[string]string{
			"count = 1":       `Count "1" "1"`,
			"count = 2":       `Count "1" "2"`,
			"count = 1 } env": `Env[A] "" "x"`,
			"config":          `image "" "vllm:2"`,
		} {
			text := strings.Replace(source, "count = 0", strings.TrimSuffix(strings.TrimSuffix(change, " } env"), "config"), 1)
			if !strings.HasPrefix(change, "count") {
				text = strings.Replace(source, "count = 0", "count = 1", 1)
				text = strings.Replace(text, `driver = "pretended"`, "driver = \"pretended\"\nconfig {\nimage = \"vllm:2\"\n}", 1)
			}
			if strings.HasSuffix(change, "env") {
				text = strings.Replace(text, `driver = "pretended"`, "driver = \"pretended\"\nenv {\nA = \"x\"\n}", 1)
			}
			j, err := json.Marshal(map[string]any{"Job": c.parse(text), "Diff": true})
			if err != nil {
				t.Fatal(err)
			}
			var plan struct{ Diff map[string]any }
			c.ask("PUT", "/v1/job/translate/plan", string(j), &plan)
			if got := edits(plan.Diff); change == "count = 1" {
				if plan.Diff["Type"] != "None" || len(got) != 0 {
					t.Errorf("no change: got %v %q", plan.Diff["Type"], got)
				}
			} else if plan.Diff["Type"] != "Edited" || !slices.Equal(got, []string{want}) {
				t.Errorf("%s: got %v %q, want %s", change, plan.Diff["Type"], got, want)
			}
		}
	})
}

// edits are the fields that a difference names as changed.
func edits(d map[string]any) (all []string) {
	for _, f := range asList(d["Fields"]) {
		if f := asMap(f); f["Type"] != "None" {
			all = append(all, fmt.Sprintf("%s %q %q", f["Name"], f["Old"], f["New"]))
		}
	}
	for _, k := range []string{"Objects", "TaskGroups", "Tasks"} {
		for _, o := range asList(d[k]) {
			all = append(all, edits(asMap(o))...)
		}
	}
	return all
}

func TestAStoppedAllocationIsReplacedAtItsIndexOrNotAtAll(t *testing.T) {
	inBubble(t, twoGPUs(), func(t *testing.T, c *cluster) {
		c.to(2)
		time.Sleep(time.Second)
		c.mu.Lock()
		first := c.allocs[0].ID
		c.mu.Unlock()
		c.LoseStops(1)
		c.ask("PUT", "/v1/allocation/"+first+"/stop", "", nil)
		time.Sleep(time.Second)
		c.want("a stop without effect", "[0] v1 run running", "[1] v1 run running")
		c.ask("PUT", "/v1/allocation/"+first+"/stop", "", nil)
		time.Sleep(2 * time.Second)
		c.want("stopped", "[0] v1 stop complete alloc is being migrated", "[1] v1 run running", "[0] v1 run running")
	})
}

func TestTwentyScalingEventsAreKeptNewestFirst(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, c *cluster) {
		from := c.last()
		for i := range 22 {
			c.ask("PUT", "/v1/job/translate/scale", fmt.Sprintf(`{"Message":"note %d","Error":true,"Target":{"Group":"server"}}`, i), nil)
		}
		var s struct {
			TaskGroups map[string]struct {
				Events []struct {
					Count   *int
					Error   bool
					Message string
				}
			}
		}
		c.ask("GET", "/v1/job/translate/scale", "", &s)
		events := s.TaskGroups["server"].Events
		if len(events) != 20 || events[0].Message != "note 21" || events[0].Count != nil || !events[0].Error {
			t.Errorf("got %d events, the first %+v", len(events), events[0])
		}
		if told := c.listen(from+1, "topic=*", time.Second); len(told) > 1 || c.job().Version != 0 { // at most the newest kept line
			t.Errorf("notes were told: %v", told)
		}
	})
}
