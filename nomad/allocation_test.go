package nomad

import (
	"bufio"
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// recorded decodes a recording of testdata.
func recorded[T any](t *testing.T, name string) T {
	t.Helper()
	var v T
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// utc parses a time of day of the recordings.
func utc(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}

func TestAllocationsOfRecordingsAreUnderstood(t *testing.T) {
	for _, c := range []struct {
		file string
		want jobs.Allocation
	}{
		{"alloc-stub-gpu-resources.json", jobs.Allocation{
			ID:       "8d74476a-85ac-b783-0f80-8f415a6b0501",
			Ref:      jobs.Ref{Namespace: "default", Job: "gpu", Group: "server"},
			Index:    0,
			Node:     "gpu-node-1",
			NodeID:   "8385b014-7b94-806f-e97a-56403bf2e6f1",
			Address:  "192.0.2.2:21219",
			Desired:  jobs.DesiredRun,
			Client:   jobs.ClientRunning,
			Created:  unixNano(1795226586423647600),
			Received: unixNano(1795226586450238613),
			Pulling:  unixNano(1795226586460005422),
			Started:  utc(t, "2026-11-21T02:03:06.679020645Z"),
			Version:  3,
			Devices:  []string{"GPU-00000001-1111-2222-3333-444444444444"},
		}},
		{"alloc-failed-rescheduled.json", jobs.Allocation{
			ID:       "4d90ed26-fb83-b232-259d-be3215f2085d",
			Ref:      jobs.Ref{Namespace: "default", Job: "bad", Group: "server"},
			Index:    0,
			Node:     "gpu-node-1",
			NodeID:   "52e9e000-4bce-5f5d-0bce-d38146b24fc8",
			Address:  "127.0.0.1:26426",
			Desired:  jobs.DesiredStop,
			Client:   jobs.ClientFailed,
			Created:  unixNano(1795227035045430244),
			Received: unixNano(1795227035052052249),
			Pulling:  unixNano(1795227035078198712),
			Started:  utc(t, "2026-11-21T02:10:36.370558179Z"),
			Finished: utc(t, "2026-11-21T02:10:36.376574834Z"),
			Restarts: 1,
		}},
	} {
		t.Run(c.file, func(t *testing.T) {
			stub := recorded[api.AllocationListStub](t, c.file)
			if diff := cmp.Diff(c.want, toAllocation(&stub, groupInfo{mainTask: "engine"})); diff != "" {
				t.Errorf("allocation (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.want, toAllocation(&stub, groupInfo{})); diff != "" {
				t.Errorf("without the task's name (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnAllocationThatWasToldToStopHasNotFailed(t *testing.T) {
	stub := recorded[api.AllocationListStub](t, "alloc-stub-stopped.json")
	a := toAllocation(&stub, groupInfo{mainTask: "engine"})
	if !a.Terminal() || a.Failure != "" || a.Finished.IsZero() {
		t.Errorf("got %+v, want it finished and not failed", a)
	}
}

// replayed feeds a recorded event stream to a Fleet that knows the job, and
// calls after with the index of each line applied.
func replayed(t *testing.T, name string, after func(index uint64, o jobs.Observation)) {
	t.Helper()
	f, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	ref := jobs.Ref{Namespace: "default", Job: "translate", Group: "server"}
	key := f.track(ref)
	f.pic.applyJob(key, jobInfo{index: 1517, created: 1517, scalable: true, groups: map[string]groupInfo{"server": {mainTask: "engine"}}})
	f.pic.applyList([]jobKey{key}, nil, 0, true)
	f.pic.claim(key, math.MaxUint64) // nobody is there to be asked who made the job's versions
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line eventLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if err := f.takeLine(line); err != nil {
			t.Fatalf("line %d: %v", line.Index, err)
		}
		o, _, err := f.pic.observe(key, ref, time.Unix(0, 1795227440929272054))
		if err != nil {
			t.Fatal(err)
		}
		after(line.Index, o)
	}
}

func TestTheRecordedWakeIsSeenStepByStep(t *testing.T) {
	var seen []string
	note := func(s string) {
		if len(seen) == 0 || seen[len(seen)-1] != s {
			seen = append(seen, s)
		}
	}
	replayed(t, "events-wake.ndjson", func(_ uint64, o jobs.Observation) {
		switch {
		case o.Count == 0:
			note("zero")
		case len(o.Allocations) == 0:
			note("wanted")
		case o.Allocations[0].Client == jobs.ClientRunning:
			note("running at " + o.Allocations[0].Address)
		default:
			note(o.Allocations[0].Client + " at " + o.Allocations[0].Address)
		}
	})
	want := []string{"zero", "wanted", "pending at 127.0.0.1:29608", "running at 127.0.0.1:29608"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func TestTheRecordedWayToZeroKeepsWhatWasKnown(t *testing.T) {
	var last jobs.Observation
	replayed(t, "events-to-zero.ndjson", func(_ uint64, o jobs.Observation) { last = o })
	if last.Count != 0 || len(last.Allocations) != 1 {
		t.Fatalf("got %+v, want count 0 and the one that went", last)
	}
	a := last.Allocations[0]
	if a.Client != jobs.ClientComplete || a.Desired != jobs.DesiredStop || a.Failure != "" {
		t.Errorf("got %+v, want it complete, unwanted and not failed", a)
	}
	if a.Received.IsZero() || a.Pulling.IsZero() || a.Started.IsZero() || a.Finished.Before(a.Started) {
		t.Errorf("times are missing or out of order: %+v", a)
	}
}

func TestTheRecordedNodeDrainIsSeenBeforeAnythingIsAskedOfItsReplicas(t *testing.T) {
	const drained = "6f3b1dbb-5bc9-24bf-85a7-6f16c484a2d9"
	var marked []uint64 // indexes at which a replica of that node, still wanted, was said to be on a draining node
	replayed(t, "events-node-drain.ndjson", func(index uint64, o jobs.Observation) {
		for _, a := range o.Allocations {
			if a.NodeDraining && a.NodeID != drained {
				t.Errorf("at %d: %s is said to be drained", index, a.Node)
			}
			if a.NodeDraining && a.Desired == jobs.DesiredRun {
				marked = append(marked, index)
			}
			if index == 418 && a.NodeDraining {
				t.Error("the drain is over, and not said to be")
			}
		}
	})
	// The replica is first heard of at 413, after the drain began at 410; it is told
	// to stop at 415.
	if diff := cmp.Diff([]uint64{413, 414}, marked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnEventTellsEverythingButTheVersion(t *testing.T) {
	full := recorded[api.AllocationListStub](t, "alloc-full-gpu.json") // as events carry it
	listed := recorded[api.AllocationListStub](t, "alloc-stub-gpu-resources.json")
	full.Namespace, full.JobID, full.TaskGroup = translateRef.Namespace, translateRef.Job, translateRef.Group
	listed.Namespace, listed.JobID, listed.TaskGroup = full.Namespace, full.JobID, full.TaskGroup
	listed.ID, listed.ModifyIndex = full.ID, full.ModifyIndex
	p := known(1)
	p.applyAlloc(&full)
	a := p.must(t).Allocations[0]
	if len(a.Devices) == 0 || a.Address == "" || a.NodeID == "" || a.Version != 0 {
		t.Errorf("got %+v, want devices, address and node, and no version", a)
	}
	if !p.takeUnlisted("default") {
		t.Error("no list is asked for that would tell the version")
	}
	p.takeDirty()
	p.applyList([]jobKey{translateKey}, []*api.AllocationListStub{&listed}, listed.ModifyIndex, true)
	if a := p.must(t).Allocations[0]; a.Version != listed.JobVersion {
		t.Errorf("got version %d after the list, want %d", a.Version, listed.JobVersion)
	}
	if refs := p.takeDirty(); len(refs) != 1 {
		t.Errorf("the version was told as %d changes, want 1", len(refs))
	}
	next := full
	next.ModifyIndex++
	p.applyAlloc(&next)
	if a := p.must(t).Allocations[0]; a.Version != listed.JobVersion {
		t.Errorf("got version %d after the next event, want it kept", a.Version)
	}
}

func TestTheAddressIsThatOfThePortNamedHTTP(t *testing.T) {
	port := func(label string, value int) api.PortMapping {
		return api.PortMapping{Label: label, Value: value, HostIP: "10.0.0.1"}
	}
	for _, c := range []struct {
		name string
		r    *api.AllocatedResources
		want string
	}{
		{"no resources yet", nil, ""},
		{"the one named http, not the first", &api.AllocatedResources{Shared: api.AllocatedSharedResources{
			Ports: []api.PortMapping{port("metrics", 1), port("http", 2)}}}, "10.0.0.1:2"},
		{"the first if none is named http", &api.AllocatedResources{Shared: api.AllocatedSharedResources{
			Ports: []api.PortMapping{port("a", 1), port("b", 2)}}}, "10.0.0.1:1"},
		{"from the networks of an older agent", &api.AllocatedResources{Shared: api.AllocatedSharedResources{
			Networks: []*api.NetworkResource{{IP: "fd00::1", ReservedPorts: []api.Port{{Label: "http", Value: 8000}}}}}}, "[fd00::1]:8000"},
		{"from the networks of a task", &api.AllocatedResources{Tasks: map[string]*api.AllocatedTaskResources{
			"engine": {Networks: []*api.NetworkResource{{IP: "10.0.0.2", DynamicPorts: []api.Port{{Label: "http", Value: 9}}}}}}}, "10.0.0.2:9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := address(c.r); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTheIndexIsReadFromTheName(t *testing.T) {
	for name, want := range map[string]int{"a.b[0]": 0, "a.b[12]": 12, "a[3].b[4]": 4, "a.b": -1, "a.b[x]": -1, "": -1} {
		if got := nameIndex(name); got != want {
			t.Errorf("%q: got %d, want %d", name, got, want)
		}
	}
}

func TestLastWordsSayHowTheTaskEnded(t *testing.T) {
	terminated := func(code, signal int, oom string) *api.TaskEvent {
		return &api.TaskEvent{Type: api.TaskTerminated, ExitCode: code, Signal: signal, Details: map[string]string{"oom_killed": oom}}
	}
	for _, c := range []struct {
		name   string
		client string
		events []*api.TaskEvent
		want   string
	}{
		{"nothing yet", jobs.ClientRunning, nil, ""},
		{"by a signal", jobs.ClientFailed, []*api.TaskEvent{terminated(139, 11, "false")}, "ended by signal 11"},
		{"out of memory", jobs.ClientFailed, []*api.TaskEvent{terminated(137, 9, "true")}, "killed: out of memory"},
		{"exit 0 is an end too", jobs.ClientPending, []*api.TaskEvent{terminated(0, 0, "false")}, "exit code 0"},
		{"driver", jobs.ClientFailed, []*api.TaskEvent{
			{Type: api.TaskDriverFailure, DriverError: "exec: \"nope\": not found"},
			{Type: api.TaskNotRestarting, RestartReason: "Error was unrecoverable"},
		}, `driver: exec: "nope": not found; error was unrecoverable`},
		{"artifact", jobs.ClientPending, []*api.TaskEvent{{Type: api.TaskArtifactDownloadFailed, DisplayMessage: "404"}}, "artifact: 404"},
		{"killed on time-out, as asked", jobs.ClientComplete, []*api.TaskEvent{{Type: api.TaskKilling}, terminated(137, 9, "false")}, ""},
		{"node lost", jobs.ClientLost, nil, "lost with its node: the node does not answer"},
		{"failed without a word", jobs.ClientFailed, nil, "failed, no reason given"},
	} {
		t.Run(c.name, func(t *testing.T) {
			state := &api.TaskState{Events: c.events}
			stub := &api.AllocationListStub{ClientStatus: c.client, TaskStates: map[string]*api.TaskState{"engine": state}}
			if got := lastWordsOf(stub, groupInfo{mainTask: "engine"}).sentence(""); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTheFirstTimesSurviveTheLossOfTheirEvents(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	old := jobs.Allocation{Received: at(1), Pulling: at(2), Started: at(9), Address: "10.0.0.1:1", Devices: []string{"GPU-1"}, Version: 7, Restarts: 1}
	now := jobs.Allocation{Pulling: at(5), Started: at(12)} // progress lines have pushed the first events out
	want := jobs.Allocation{Received: at(1), Pulling: at(2), Started: at(12), Address: "10.0.0.1:1", Devices: []string{"GPU-1"}, Version: 7, Restarts: 1}
	if diff := cmp.Diff(want, carryOver(old, now)); diff != "" {
		t.Errorf("carried over (-want +got):\n%s", diff)
	}
}

func TestAVerdictBeginsInLowerCaseWhateverItsFirstLetter(t *testing.T) {
	for in, want := range map[string]string{"": "", "Exceeded": "exceeded", "Über": "über", "…": "…", "日本": "日本", "OOM": "oOM"} {
		if got := lowerFirst(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
