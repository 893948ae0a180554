package nomaddouble

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func twoNodes() Config {
	return Config{Nodes: []Node{{Name: "a", Devices: []Device{GPUs(2)}}, {Name: "b", Devices: []Device{GPUs(2)}}}}
}

// where are the names of the nodes of what is wanted and runs, by name.
func (c *cluster) where() map[string]string {
	all := map[string]string{}
	var list []struct{ Name, NodeName, DesiredStatus, ClientStatus string }
	c.ask("GET", "/v1/job/translate/allocations", "", &list)
	for _, a := range list {
		if a.DesiredStatus == "run" && a.ClientStatus == "running" {
			all[strings.TrimPrefix(a.Name, "translate.server")] = a.NodeName
		}
	}
	return all
}

func TestADrainMovesOneAfterTheOtherAndAllThatAreLeftAtItsDeadline(t *testing.T) {
	inBubble(t, twoNodes(), func(t *testing.T, c *cluster) {
		c.SetDelays(Delays{Healthy: time.Hour}) // no replacement is ever healthy
		c.SetStartup("default", "translate", Startup{})
		c.to(3)
		time.Sleep(time.Second)
		c.mu.Lock()
		for _, a := range c.allocs {
			a.healthy = &health{}
		}
		c.mu.Unlock()
		if diff := cmp.Diff(map[string]string{"[0]": "a", "[1]": "b", "[2]": "a"}, c.where()); diff != "" {
			t.Fatalf("spread (-want +got):\n%s", diff)
		}
		if err := c.DrainNode("a", 30*time.Second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if diff := cmp.Diff(map[string]string{"[0]": "b", "[1]": "b", "[2]": "a"}, c.where()); diff != "" {
			t.Errorf("the first (-want +got):\n%s", diff)
		}
		time.Sleep(30 * time.Second)
		if diff := cmp.Diff(map[string]string{"[0]": "b", "[1]": "b"}, c.where()); diff != "" {
			t.Errorf("at the deadline, though nobody has room (-want +got):\n%s", diff)
		}
		if err := c.UndrainNode("a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if diff := cmp.Diff(map[string]string{"[0]": "b", "[1]": "b", "[2]": "a"}, c.where()); diff != "" {
			t.Errorf("afterwards (-want +got):\n%s", diff)
		}
	})
}

func TestWhatIsLostWithItsNodeIsReplacedAndEndedWhenTheNodeIsBack(t *testing.T) {
	inBubble(t, twoNodes(), func(t *testing.T, c *cluster) {
		c.to(1)
		time.Sleep(time.Second)
		id := c.newest()
		if err := c.LoseNode("a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(c.delays.NodeLost - time.Second)
		c.want("not noticed yet", "[0] v1 run running")
		time.Sleep(3 * time.Second)
		c.want("lost", "[0] v1 stop lost alloc is lost since its node is down", "[0] v1 run running")
		c.mu.Lock()
		ended := c.allocs[0].ended
		c.mu.Unlock()
		select {
		case <-ended:
			t.Error("the process of the lost one has ended")
		default:
		}
		if w := c.call("GET", "/v1/client/allocation/"+id+"/stats", ""); w.Code != 404 || w.Body.String() != "No path to node" {
			t.Errorf("statistics: got %d %s", w.Code, w.Body)
		}
		if err := c.ReturnNode("a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		c.want("back", "[0] v1 stop complete alloc is lost since its node is down", "[0] v1 run running")
	})
}

func TestADisconnectBlockKeepsWhatIsUnknownForAWhile(t *testing.T) {
	inBubble(t, twoNodes(), func(t *testing.T, c *cluster) {
		c.register(strings.Replace(source, "network {", "disconnect {\nlost_after = \"1m\"\n}\nnetwork {", 1))
		c.to(1)
		time.Sleep(time.Second)
		for _, node := range []string{"a", "a"} {
			if err := c.LoseNode(node); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
			c.want("unknown", "[0] v2 run unknown")
			if err := c.ReturnNode(node); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			c.want("back", "[0] v2 run running")
		}
		if err := c.LoseNode("a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		c.want("away for too long", "[0] v2 stop lost alloc is lost since its node is down", "[0] v2 run running")
	})
}

func TestStatisticsFailInEveryWayThatNomadsDo(t *testing.T) {
	inBubble(t, Config{Nodes: []Node{{Name: "n", Devices: []Device{GPUs(2)}}}}, func(t *testing.T, c *cluster) {
		id := c.nodes[0].Devices[0].IDs[0]
		path := "/v1/client/stats?node_id=" + c.nodes[0].ID
		read := func() (d struct {
			Timestamp   int64
			DeviceStats []struct {
				InstanceStats map[string]struct {
					Timestamp time.Time
					Stats     struct {
						Attributes map[string]struct {
							IntNumeratorVal, IntDenominatorVal *int64
							StringVal                          *string
						}
					}
				}
			}
		}) {
			c.ask("GET", path, "", &d)
			return d
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(c.Measure("n", id, Measurement{Utilization: 74, MemoryUsed: 60213, MemoryTotal: 81559}))
		if a := read().DeviceStats[0].InstanceStats[id].Stats.Attributes; *a["GPU utilization"].IntNumeratorVal != 74 || *a["Memory state"].IntDenominatorVal != 81559 {
			t.Errorf("measured: got %+v", a)
		}
		must(c.Measure("n", id, Measurement{NotAvailable: true}))
		if a := read().DeviceStats[0].InstanceStats[id].Stats.Attributes; *a["GPU utilization"].StringVal != "N/A" || a["Memory state"].IntNumeratorVal != nil {
			t.Errorf("not available: got %+v", a)
		}
		must(c.Measure("n", id, Measurement{None: true}))
		if s := read().DeviceStats[0].InstanceStats; len(s) != 1 {
			t.Errorf("a device without statistics: got %d", len(s))
		}
		must(c.SetStatistics("n", Statistics{Empty: true}))
		if d := read(); d.Timestamp != 0 || d.DeviceStats != nil {
			t.Errorf("empty: got %+v", d)
		}
		must(c.SetStatistics("n", Statistics{Unreachable: true}))
		if w := c.call("GET", path, ""); w.Code != 404 {
			t.Errorf("unreachable: got %d", w.Code)
		}
		must(c.SetStatistics("n", Statistics{Frozen: true}))
		answered := make(chan int, 1)
		go func() { answered <- c.call("GET", path, "").Code }()
		time.Sleep(time.Hour)
		select {
		case code := <-answered:
			t.Errorf("frozen: answered %d", code)
		default:
		}
		must(c.SetStatistics("n", Statistics{}))
		synctest.Wait()
		if code := <-answered; code != 200 {
			t.Errorf("thawed: got %d", code)
		}
	})
}

func TestATokenMayWhatItsRightsSay(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, c *cluster) {
		c.SetToken("least", Rights{Capabilities: []string{"list-jobs", "read-job", "scale-job"}, NodeRead: true})
		ask := func(secret, call string) int {
			method, path, _ := strings.Cut(call, " ")
			path, body, _ := strings.Cut(path, " ")
			r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
			r.Header.Set("X-Nomad-Token", secret)
			w := httptest.NewRecorder()
			c.ServeHTTP(w, r)
			if w.Code == http.StatusForbidden && w.Body.String() != "Permission denied" {
				t.Errorf("%s: got %s", call, w.Body)
			}
			return w.Code
		}
		for call, want := range map[string]int{
			"GET /v1/jobs":          200,
			"GET /v1/job/translate": 200,
			"GET /v1/nodes":         200,
			"GET /v1/allocations":   200,
			`PUT /v1/job/translate/scale {"Count":1,"Target":{"Group":"server"}}`: 200,
			`PUT /v1/jobs {"Job":{"ID":"x"}}`:                                     403,
			`PUT /v1/jobs/parse {"JobHCL":""}`:                                    403,
			"DELETE /v1/job/translate":                                            403,
			"GET /v1/agent/self":                                                  403,
			"GET /v1/job/translate?namespace=other":                               403,
			"PUT /v1/node/" + c.nodes[0].ID + "/drain {}":                         403,
		} {
			if got := ask("least", call); got != want {
				t.Errorf("%s: got %d, want %d", call, got, want)
			}
			if got := ask("wrong", call); got != 403 {
				t.Errorf("%s without a right token: got %d", call, got)
			}
		}
	})
}

func TestAStreamWithoutPermissionIsSilentAndEnds(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, c *cluster) {
		c.SetToken("t", Rights{Capabilities: []string{"read-job"}})
		stream := func(secret, topics string) (w *httptest.ResponseRecorder, lasted time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			r := httptest.NewRequestWithContext(ctx, "GET", "/v1/event/stream?"+topics, nil)
			r.Header.Set("X-Nomad-Token", secret)
			w = httptest.NewRecorder()
			began := time.Now()
			c.ServeHTTP(w, r)
			return w, time.Since(began)
		}
		for _, try := range [][2]string{{"wrong", "topic=Job:*"}, {"t", "topic=Node:*"}, {"t", ""}} {
			if w, lasted := stream(try[0], try[1]); w.Code != 200 || w.Body.Len() != 0 || lasted != streamRefusal {
				t.Errorf("%v: got %d %q for %v", try, w.Code, w.Body, lasted)
			}
		}
		time.AfterFunc(time.Minute, func() {
			c.RevokeToken("t")
			c.Purge("default", "translate")
		})
		w, lasted := stream("t", "topic=Job:*")
		if lines := linesOf(t, w.Body.Bytes()); strings.Contains(w.Body.String(), "Deleted") || len(lines) == 0 || lasted != time.Minute+streamRefusal {
			t.Errorf("revoked after a minute: %d lines in %v", len(lines), lasted)
		}
	})
}

func TestFaultsOfTheServersAreThoseOfNomad(t *testing.T) {
	inBubble(t, Config{Nodes: []Node{{Name: "n", Devices: []Device{GPUs(2)}}}}, func(t *testing.T, c *cluster) {
		c.LoseLeader(true)
		began := time.Now()
		if w := c.call("GET", "/v1/jobs", ""); w.Code != 500 || w.Body.String() != "No cluster leader" || time.Since(began) < 5*time.Second {
			t.Errorf("no leader: got %d %s after %v", w.Code, w.Body, time.Since(began))
		}
		if h := c.ask("GET", "/v1/jobs?stale", "", nil); h.Get("X-Nomad-KnownLeader") != "false" || h.Get("X-Nomad-LastContact") != "9223372036854" {
			t.Errorf("a stale read without a leader: got %v", h)
		}
		c.LoseLeader(false)

		index := func() string { return c.ask("GET", "/v1/allocations", "", nil).Get("X-Nomad-Index") }
		before := index()
		c.to(1)
		time.Sleep(time.Second)
		after := index()
		c.AnswerOld(1, "/v1/allocations")
		if got := index(); got != before || got == after {
			t.Errorf("a server that lags: got index %s, want %s", got, before)
		}
		c.GoBack(1000)
		if got := index(); got != "1" {
			t.Errorf("a restored server: got index %s", got)
		}
		c.GoBack(0)

		whole := c.lines("topic=*&index=0", time.Second)
		c.DeafenStreams(true)
		if got := c.lines("topic=*&index=0", 40*time.Second); cmp.Diff([]string{"heartbeat", "heartbeat"}, got) != "" {
			t.Errorf("deaf: got %v", got)
		}
		c.DeafenStreams(false)
		c.ReplayStreams(1000)
		if got := c.lines("topic=*&index=1000000", time.Second); len(got) < len(whole) || cmp.Diff(whole, got[:len(whole)]) != "" {
			t.Errorf("replayed: got %d of %d", len(got), len(whole))
		}
		c.TearStreams(true)
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/event/stream?topic=*&index=0", nil))
		if json.Valid(w.Body.Bytes()) {
			t.Errorf("torn: got %s", w.Body)
		}
		c.TearStreams(false)

		c.Away(true)
		func() {
			defer func() {
				if recover() != http.ErrAbortHandler {
					t.Error("away: answered")
				}
			}()
			c.call("GET", "/v1/jobs", "")
		}()
		c.Away(false)

		c.FailEvaluations(1)
		s := c.to(2)
		time.Sleep(time.Second)
		var e struct{ Status, StatusDescription string }
		if c.ask("GET", "/v1/evaluation/"+s.EvalID, "", &e); e.Status != "failed" {
			t.Errorf("got %+v", e)
		}
		time.Sleep(2 * time.Minute)
		if names := c.wantedNames(); len(names) != 2 {
			t.Errorf("after the failed evaluation: got %v", names)
		}
	})
}

func TestAStartIsScriptedAndTold(t *testing.T) {
	inBubble(t, Config{Nodes: []Node{{Name: "n", Devices: []Device{GPUs(2)}, Skew: -time.Hour}}}, func(t *testing.T, c *cluster) {
		c.SetStartup("default", "translate", Startup{Delay: 3 * time.Minute, Image: "vllm:1", Progress: []string{"1 of 2 layers", "2 of 2 layers"}, Fail: "no such image"})
		placed := time.Now()
		c.to(1)
		time.Sleep(2*time.Minute + 30*time.Second)
		events := func() (all []string, first time.Time) {
			var list []struct {
				TaskStates map[string]struct {
					Events []struct {
						Type, DriverMessage, DriverError string
						Time                             int64
					}
				}
			}
			c.ask("GET", "/v1/job/translate/allocations", "", &list)
			for _, e := range list[0].TaskStates["engine"].Events {
				all = append(all, strings.TrimSpace(e.Type+" "+e.DriverMessage+e.DriverError))
			}
			return all, time.Unix(0, list[0].TaskStates["engine"].Events[0].Time)
		}
		got, first := events()
		if diff := cmp.Diff([]string{"Received", "Task Setup", "Driver Downloading image", "Driver 1 of 2 layers", "Driver 2 of 2 layers"}, got); diff != "" {
			t.Errorf("while it is pulled (-want +got):\n%s", diff)
		}
		if behind := placed.Sub(first); behind < 59*time.Minute {
			t.Errorf("the node's clock is %v behind, want an hour", behind)
		}
		time.Sleep(time.Minute)
		if got, _ = events(); got[len(got)-1] != "Not Restarting" || got[len(got)-2] != "Driver Failure no such image" {
			t.Errorf("afterwards: got %v", got)
		}
	})
}

func TestAnExitIsToldAsTheClientSawIt(t *testing.T) {
	inBubble(t, twoGPUs(), func(t *testing.T, c *cluster) {
		c.register(strings.Replace(source, "network {", "restart {\nattempts = 0\nmode = \"fail\"\n}\nnetwork {", 1))
		c.to(1)
		time.Sleep(time.Second)
		if err := c.Exit(c.newest(), Exit{Code: 137, Signal: 9, OutOfMemory: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		var list []struct {
			ClientStatus string
			TaskStates   map[string]struct {
				Events []struct {
					Type             string
					ExitCode, Signal int
					Details          map[string]string
				}
			}
		}
		c.ask("GET", "/v1/job/translate/allocations", "", &list)
		events := list[0].TaskStates["engine"].Events
		e := events[len(events)-2]
		if list[0].ClientStatus != "failed" || e.Type != "Terminated" || e.ExitCode != 137 || e.Signal != 9 || e.Details["oom_killed"] != "true" {
			t.Errorf("got %s, %+v", list[0].ClientStatus, e)
		}
	})
}

func TestStatisticsOfAnAllocationAreEmptyUnlessTheClientCollectsThem(t *testing.T) {
	cfg := twoGPUs()
	cfg.WithoutAllocationMetrics = true
	inBubble(t, cfg, func(t *testing.T, c *cluster) {
		c.to(1)
		time.Sleep(time.Second)
		var d struct {
			Timestamp     int64
			Tasks         map[string]any
			ResourceUsage struct{ DeviceStats []any }
		}
		c.ask("GET", "/v1/client/allocation/"+c.newest()+"/stats", "", &d)
		if d.Timestamp != 0 || len(d.Tasks) != 0 || d.ResourceUsage.DeviceStats == nil || len(d.ResourceUsage.DeviceStats) != 0 {
			t.Errorf("got %+v", d)
		}
		var self struct {
			Config struct {
				Telemetry struct{ PublishAllocationMetrics *bool }
				Client    struct{ MaxKillTimeout string }
			}
		}
		c.ask("GET", "/v1/agent/self", "", &self)
		if p := self.Config.Telemetry.PublishAllocationMetrics; p == nil || *p || self.Config.Client.MaxKillTimeout != "30s" {
			t.Errorf("the agent says otherwise: %+v", self)
		}
	})
}
