package nomaddouble

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// cluster is a double in a bubble, with the job translate at count 0.
type cluster struct {
	*Server
	t *testing.T
}

const source = `
job "translate" {
  group "server" {
    count = 0
    network {
      port "http" {}
    }
    scaling {
      min = 0
      max = 4
    }
    update {
      max_parallel = 0
    }
    task "engine" {
      driver = "pretended"
      resources {
        device "nvidia/gpu" {}
      }
    }
  }
}`

func inBubble(t *testing.T, cfg Config, test func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{Server: New(cfg), t: t}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		c.register(source)
		synctest.Wait()
		time.Sleep(time.Second) // its evaluation is over
		test(t, c)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func (c *cluster) call(method, url, body string) *httptest.ResponseRecorder {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequestWithContext(c.t.Context(), method, url, strings.NewReader(body)))
	return w
}

// ask is a call that must succeed.
func (c *cluster) ask(method, url, body string, out any) http.Header {
	c.t.Helper()
	w := c.call(method, url, body)
	if w.Code != 200 {
		c.t.Fatalf("%s %s: %d %s", method, url, w.Code, w.Body)
	}
	if out != nil {
		if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
			c.t.Fatal(err)
		}
	}
	return w.Header()
}

func (c *cluster) register(source string) {
	c.t.Helper()
	hcl, err := json.Marshal(map[string]any{"JobHCL": source, "Canonicalize": true})
	if err != nil {
		c.t.Fatal(err)
	}
	var parsed json.RawMessage
	c.ask("PUT", "/v1/jobs/parse", string(hcl), &parsed)
	c.ask("PUT", "/v1/jobs", fmt.Sprintf(`{"Job":%s}`, parsed), nil)
}

type scaled struct {
	EvalID                                 string
	EvalCreateIndex, JobModifyIndex, Index uint64
}

func (c *cluster) to(n int) scaled {
	c.t.Helper()
	var s scaled
	c.ask("PUT", "/v1/job/translate/scale", fmt.Sprintf(`{"Count":%d,"Target":{"Group":"server"}}`, n), &s)
	return s
}

type alloc struct {
	Name, DesiredStatus, ClientStatus string
	CreateIndex, ModifyIndex          uint64
	AllocatedResources                *struct {
		Shared struct{ Ports []struct{ Value int } }
		Tasks  map[string]struct {
			Devices []struct{ DeviceIDs []string }
		}
	}
}

func (c *cluster) allocations(query string) []alloc {
	c.t.Helper()
	var list []alloc
	c.ask("GET", "/v1/allocations?"+query, "", &list)
	return list
}

// last index there is.
func (c *cluster) last() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.index
}

// newest allocation's id.
func (c *cluster) newest() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.allocs[len(c.allocs)-1].ID
}

// wantedNames are those of the allocations that are to run.
func (c *cluster) wantedNames() []string {
	var names []string
	for _, a := range c.allocations("resources=true") {
		if a.DesiredStatus == "run" {
			names = append(names, a.Name)
		}
	}
	slices.Sort(names)
	return names
}

func TestAScaleTakesTheIndexesThatNomadTakes(t *testing.T) {
	inBubble(t, Config{Nodes: []Node{{Name: "n", Devices: []Device{GPUs(2)}}}}, func(t *testing.T, c *cluster) {
		began := c.last()
		s := c.to(1)
		time.Sleep(50 * time.Millisecond)
		i := s.JobModifyIndex
		var eval struct {
			Status                   string
			CreateIndex, ModifyIndex uint64
		}
		c.ask("GET", "/v1/evaluation/"+s.EvalID, "", &eval)
		got := []uint64{i - began, s.EvalCreateIndex - i, s.Index - i, c.allocations("")[0].CreateIndex - i, eval.ModifyIndex - i}
		if diff := cmp.Diff([]uint64{1, 1, 2, 3, 4}, got); diff != "" || eval.Status != "complete" {
			t.Errorf("job, evaluation, answer, plan, complete (-want +got):\n%s%+v", diff, eval)
		}
	})
}

func TestNamesFillTheLowestAndStopTheHighest(t *testing.T) {
	inBubble(t, Config{Nodes: []Node{{Name: "n", Devices: []Device{GPUs(8)}}}}, func(t *testing.T, c *cluster) {
		for _, step := range []struct {
			to   int
			want []string
		}{
			{3, []string{"translate.server[0]", "translate.server[1]", "translate.server[2]"}},
			{1, []string{"translate.server[0]"}},
			{2, []string{"translate.server[0]", "translate.server[1]"}},
			{0, nil},
		} {
			c.to(step.to)
			time.Sleep(time.Second)
			if diff := cmp.Diff(step.want, c.wantedNames()); diff != "" {
				t.Errorf("at %d (-want +got):\n%s", step.to, diff)
			}
		}
	})
}

func TestADeviceIsHeldUntilTheClientReportsTheEnd(t *testing.T) {
	inBubble(t, Config{Nodes: []Node{{Name: "n", Devices: []Device{GPUs(1)}}}}, func(t *testing.T, c *cluster) {
		c.to(1)
		time.Sleep(time.Second)
		c.to(0)
		time.Sleep(50 * time.Millisecond) // told to stop; its client has not reported yet
		s := c.to(1)
		time.Sleep(50 * time.Millisecond)
		var eval struct {
			Status, BlockedEval string
			FailedTGAllocs      map[string]struct{ DimensionExhausted map[string]int }
			QueuedAllocations   map[string]int
		}
		c.ask("GET", "/v1/evaluation/"+s.EvalID, "", &eval)
		if eval.Status != "complete" || eval.QueuedAllocations["server"] != 1 ||
			eval.FailedTGAllocs["server"].DimensionExhausted["devices: no devices match request"] != 1 {
			t.Errorf("while it is held: got %+v", eval)
		}
		var blocked struct{ Status, PreviousEval string }
		c.ask("GET", "/v1/evaluation/"+eval.BlockedEval, "", &blocked)
		if blocked.Status != "blocked" || blocked.PreviousEval != s.EvalID {
			t.Errorf("blocked evaluation: got %+v", blocked)
		}
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"translate.server[0]"}, c.wantedNames()); diff != "" {
			t.Errorf("after it is freed (-want +got):\n%s", diff)
		}
		c.ask("GET", "/v1/evaluation/"+eval.BlockedEval, "", &blocked)
		if blocked.Status != "complete" {
			t.Errorf("blocked evaluation afterwards: got %s", blocked.Status)
		}
	})
}

func TestScalingDownCancelsWhatWaits(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, c *cluster) { // no node has a GPU
		c.to(1)
		time.Sleep(time.Second)
		c.to(0)
		time.Sleep(time.Second)
		statuses := map[string]int{}
		var evals []struct{ Status string }
		c.ask("GET", "/v1/job/translate/evaluations", "", &evals)
		for _, e := range evals {
			statuses[e.Status]++
		}
		if diff := cmp.Diff(map[string]int{"complete": 3, "canceled": 1}, statuses); diff != "" {
			t.Errorf("evaluations (-want +got):\n%s", diff)
		}
	})
}

func TestABlockingListWaitsForAHigherIndexAndNotLongerThanAsked(t *testing.T) {
	inBubble(t, Config{Nodes: []Node{{Name: "n", Devices: []Device{GPUs(1)}}}}, func(t *testing.T, c *cluster) {
		index := c.ask("GET", "/v1/allocations", "", nil).Get("X-Nomad-Index")
		began := time.Now()
		header := c.ask("GET", "/v1/allocations?wait=2s&index="+index, "", nil)
		if took := time.Since(began); took < 2*time.Second || took > 2*time.Second+2*time.Second/16 {
			t.Errorf("nothing happened: answered after %v, want 2 s and up to a sixteenth more", took)
		}
		if got := header.Get("X-Nomad-Index"); got != index {
			t.Errorf("index: got %s, want %s", got, index)
		}
		time.AfterFunc(time.Second, func() { c.to(1) })
		began = time.Now()
		c.ask("GET", "/v1/allocations?wait=60s&index="+index, "", nil)
		if took, want := time.Since(began), time.Second+c.delays.Plan; took != want {
			t.Errorf("woken after %v, want %v", took, want)
		}
	})
}

// lines reads an event stream for a while.
func (c *cluster) lines(query string, lasts time.Duration) []string {
	ctx, cancel := context.WithTimeout(c.t.Context(), lasts)
	defer cancel()
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/v1/event/stream?"+query, nil))
	text, err := io.ReadAll(w.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var all []string
	for l := range bytes.Lines(text) {
		var e struct {
			Index  uint64
			Events []struct{ Topic, Type, Key string }
		}
		if err := json.Unmarshal(l, &e); err != nil {
			c.t.Fatal(err)
		}
		if e.Index == 0 {
			all = append(all, "heartbeat")
		}
		for _, ev := range e.Events {
			all = append(all, ev.Topic+"/"+ev.Type)
		}
	}
	return all
}

func TestTheStreamTellsAWakeAsNomadDoes(t *testing.T) {
	inBubble(t, Config{Nodes: []Node{{Name: "n", Devices: []Device{GPUs(1)}}}}, func(t *testing.T, c *cluster) {
		from := c.last() + 1
		time.AfterFunc(time.Millisecond, func() { c.to(1) })
		got := c.lines(fmt.Sprintf("topic=Job:*&topic=Evaluation:*&topic=Allocation:*&index=%d", from), time.Second)
		// A future index starts at the newest kept line, inclusive: the end of the registration.
		want := []string{"heartbeat", "Evaluation/EvaluationUpdated", "Job/EvaluationUpdated",
			"Job/JobRegistered", "Evaluation/EvaluationUpdated", "Job/EvaluationUpdated",
			"Evaluation/PlanResult", "Allocation/PlanResult", "Job/PlanResult", "Evaluation/EvaluationUpdated",
			"Allocation/AllocationUpdated"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("stream (-want +got):\n%s", diff)
		}
	})
}

func TestTheStreamBeatsAtOnceAndEveryThirtySeconds(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, c *cluster) {
		got := c.lines("topic=Nothing:*&index=0", 70*time.Second)
		if diff := cmp.Diff([]string{"heartbeat", "heartbeat", "heartbeat"}, got); diff != "" {
			t.Errorf("stream (-want +got):\n%s", diff)
		}
		c.MuteStreams(true)
		if got := c.lines("topic=Job:*&index=0", 70*time.Second); len(got) != 0 {
			t.Errorf("a muted stream said %v", got)
		}
	})
}

func TestAFailedAllocationKeepsItsIndexUntilItIsReplaced(t *testing.T) {
	inBubble(t, Config{Nodes: []Node{{Name: "n", Devices: []Device{GPUs(4)}}}}, func(t *testing.T, c *cluster) {
		c.register(strings.Replace(source, `task "engine"`, "restart {\n attempts = 1\n delay = \"1s\"\n mode = \"fail\"\n }\n task \"engine\"", 1))
		c.to(2)
		time.Sleep(time.Second)
		id := c.newest()
		for range 2 { // once within the restart policy
			if err := c.Crash(id, 3); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		got := map[string]int{}
		for _, a := range c.allocations("") {
			got[a.Name+" "+a.DesiredStatus+" "+a.ClientStatus]++
		}
		want := map[string]int{"translate.server[0] run running": 1, "translate.server[1] run failed": 1}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("failed (-want +got):\n%s", diff)
		}
		time.Sleep(time.Minute)
		got = map[string]int{}
		for _, a := range c.allocations("") {
			got[a.Name+" "+a.DesiredStatus+" "+a.ClientStatus]++
		}
		want = map[string]int{"translate.server[0] run running": 1, "translate.server[1] stop failed": 1, "translate.server[1] run running": 1}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("replaced (-want +got):\n%s", diff)
		}
	})
}

func TestRegisterResetsTheCountUnlessItIsPreserved(t *testing.T) {
	inBubble(t, Config{Nodes: []Node{{Name: "n", Devices: []Device{GPUs(4)}}}}, func(t *testing.T, c *cluster) {
		c.to(3)
		for _, preserve := range []bool{true, false} {
			var parsed json.RawMessage
			hcl, err := json.Marshal(map[string]any{"JobHCL": source})
			if err != nil {
				t.Fatal(err)
			}
			c.ask("PUT", "/v1/jobs/parse", string(hcl), &parsed)
			c.ask("PUT", "/v1/jobs", fmt.Sprintf(`{"PreserveCounts":%v,"Job":%s}`, preserve, parsed), nil)
			var job struct{ TaskGroups []struct{ Count int } }
			c.ask("GET", "/v1/job/translate", "", &job)
			if want := map[bool]int{true: 3, false: 0}[preserve]; job.TaskGroups[0].Count != want {
				t.Errorf("preserve=%v: got count %d, want %d", preserve, job.TaskGroups[0].Count, want)
			}
		}
	})
}

func TestScaleOfAStoppedJobAnswersAndStartsNothing(t *testing.T) {
	inBubble(t, Config{Nodes: []Node{{Name: "n", Devices: []Device{GPUs(4)}}}}, func(t *testing.T, c *cluster) {
		c.ask("DELETE", "/v1/job/translate", "", nil)
		c.to(2)
		time.Sleep(time.Second)
		if names := c.wantedNames(); len(names) != 0 {
			t.Errorf("started %v", names)
		}
	})
}

func TestFiltersSelectByFields(t *testing.T) {
	d := document{"JobID": "a", "Status": "run"}
	for text, want := range map[string]bool{
		`JobID == "a"`:                      true,
		`JobID == "b"`:                      false,
		`JobID != "b"`:                      true,
		`JobID == "b" or JobID == "a"`:      true,
		`JobID == "a" and Status == "stop"`: false,
		`not JobID == "b" and (Status == "x" or Status == "run")`: true,
		`JobID == "b" and Status == "run" or JobID == "a"`:        true,
	} {
		keep, err := parseFilter(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := keep(d); err != nil || got != want {
			t.Errorf("%s: got %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "JobID", "JobID =", `JobID == a`, `(JobID == "a"`, `JobID == "a" JobID`} {
		if _, err := parseFilter(text); err == nil {
			t.Errorf("%q: got no error", text)
		}
	}
}

func TestFaultsStrikeAsOftenAsAsked(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, c *cluster) {
		c.Fail(2, "GET", "/v1/nodes", 500, "No cluster leader")
		var got []int
		for range 3 {
			got = append(got, c.call("GET", "/v1/nodes", "").Code)
		}
		if diff := cmp.Diff([]int{500, 500, 200}, got); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		release := c.Hang(1, "GET", "/v1/nodes")
		answered := make(chan int, 1)
		go func() { answered <- c.call("GET", "/v1/nodes", "").Code }()
		synctest.Wait()
		select {
		case code := <-answered:
			t.Errorf("a hanging call was answered %d", code)
		default:
		}
		release()
		if code := <-answered; code != 200 {
			t.Errorf("released: got %d", code)
		}
	})
}

// The tasks of raw_exec are real: the environment reaches them, and they end
// when they are told to.
func TestTasksOfRawExecAreProcesses(t *testing.T) {
	dir := t.TempDir()
	s := New(Config{Dir: dir, Delays: Quick(), BaseEnv: []string{"PATH=" + os.Getenv("PATH")}})
	a := &allocation{ID: "a1", Index: 4, node: s.nodes[0], job: &job{ID: "translate"}, Ports: map[string]int{"http": 20123}}
	a.group = &group{Name: "server"}
	p, err := s.start(a, &task{Name: "engine", Driver: "raw_exec", Command: "/bin/sh",
		Args: []string{"-c", `echo $NOMAD_PORT_http ${NOMAD_ALLOC_INDEX} $GREETING; exec sleep 600`}, Env: map[string]string{"GREETING": "hello ${NOMAD_JOB_ID}"}})
	if err != nil {
		t.Fatal(err)
	}
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for tries := 0; ; tries++ {
		text, err := os.ReadFile(dir + "/a1/engine/stdout")
		if err == nil && string(text) == "20123 4 hello translate\n" {
			break
		}
		if tries > 2000 {
			t.Fatalf("the task said %q (%v)", text, err)
		}
		<-every.C
	}
	if ended := p.stop(t.Context(), "", 10*time.Second); ended.Signal != 2 {
		t.Errorf("ended by signal %d, want the interrupt", ended.Signal)
	}
	if _, err := s.start(a, &task{Name: "engine", Driver: "raw_exec", Command: "/no/such/engine"}); err == nil {
		t.Error("a command that is not there was started")
	}
}

func TestIndexesOnlyGrow(t *testing.T) {
	inBubble(t, Config{Nodes: []Node{{Name: "n", Devices: []Device{GPUs(3)}}}}, func(t *testing.T, c *cluster) {
		for _, n := range []int{3, 1, 4, 0} {
			c.to(n)
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Second)
		c.mu.Lock()
		defer c.mu.Unlock()
		last := uint64(0)
		for _, e := range c.entries {
			if e.Index < last { // a registration comes in two lines of one index
				t.Errorf("index %d after %d", e.Index, last)
			}
			last = e.Index
		}
		for _, table := range slices.Sorted(maps.Keys(c.tables)) {
			if c.tables[table] > c.index {
				t.Errorf("table %s is at %d, past %d", table, c.tables[table], c.index)
			}
		}
	})
}

func TestABlockingListDoesNotAnswerForTheIndexItWasGiven(t *testing.T) {
	inBubble(t, Config{Nodes: []Node{{Name: "n", Devices: []Device{GPUs(1)}}}}, func(t *testing.T, c *cluster) {
		c.to(1)
		time.Sleep(time.Second)
		index := c.ask("GET", "/v1/allocations", "", nil).Get("X-Nomad-Index")
		began := time.Now()
		c.ask("GET", "/v1/allocations?wait=1s&index="+index, "", nil)
		if took := time.Since(began); took < time.Second {
			t.Errorf("answered after %v although nothing had changed", took)
		}
	})
}
