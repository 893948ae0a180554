package nomad

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// downloading is a group whose weights are fetched by a task of their own.
var downloading = groupInfo{mainTask: "engine", tasks: []taskInfo{
	{name: "weights", hook: api.TaskLifecycleHookPrestart},
	{name: "proxy", hook: api.TaskLifecycleHookPrestart, sidecar: true},
	{name: "engine"},
}}

func at(s int64) time.Time { return time.Unix(s, 0).UTC() }

func happened(s int64, kind, display string) *api.TaskEvent {
	return &api.TaskEvent{Type: kind, Time: at(s).UnixNano(), DisplayMessage: display}
}

func driver(s int64, message, image string) *api.TaskEvent {
	return &api.TaskEvent{Type: api.TaskDriverMessage, Time: at(s).UnixNano(), DriverMessage: message, Details: map[string]string{"image": image}}
}

func TestAColdStartIsToldPhaseByPhase(t *testing.T) {
	// What the client reports of one allocation, as it goes on: weights are
	// downloaded by a prestart task, then the engine's image is pulled.
	engine := func(events ...*api.TaskEvent) *api.TaskState {
		return &api.TaskState{State: "pending", Events: append([]*api.TaskEvent{happened(1, api.TaskReceived, "Task received by client")}, events...)}
	}
	weights := &api.TaskState{State: "running", StartedAt: at(4), Events: []*api.TaskEvent{
		happened(1, api.TaskReceived, ""), happened(2, api.TaskSetup, "Building Task Directory"), happened(4, api.TaskStarted, "")}}
	fetched := &api.TaskState{State: "dead", StartedAt: at(4), FinishedAt: at(60), Events: append(weights.Events[:3:3],
		&api.TaskEvent{Type: api.TaskTerminated, Time: at(60).UnixNano()})}
	pulling := engine(happened(61, api.TaskSetup, "Building Task Directory"), driver(62, "Downloading image", "vllm/vllm-openai:v0.6"))
	// A long pull has pushed everything else out of the ten events that are kept.
	late := &api.TaskState{State: "pending", Events: []*api.TaskEvent{driver(90, "Docker image pull progress: 3 of 8 layers", "")}}
	up := &api.TaskState{State: "running", StartedAt: at(100), Events: []*api.TaskEvent{happened(100, api.TaskStarted, "")}}

	p := newPicture()
	p.track(translateKey, translateRef)
	p.applyJob(translateKey, jobInfo{index: 1, scalable: true, groups: map[string]groupInfo{"server": downloading}})
	p.applyList([]jobKey{translateKey}, nil, 1, true)
	type told struct {
		Received, Pulling, Started int64
		Progress                   string
	}
	for i, step := range []struct {
		states map[string]*api.TaskState
		client string
		want   told
	}{
		{nil, jobs.ClientPending, told{}},
		{map[string]*api.TaskState{"weights": weights, "engine": engine()}, jobs.ClientPending, told{1, 2, 0, "task weights: runs"}},
		{map[string]*api.TaskState{"weights": fetched, "engine": pulling}, jobs.ClientPending, told{1, 2, 0, "Downloading image vllm/vllm-openai:v0.6"}},
		{map[string]*api.TaskState{"weights": fetched, "engine": late}, jobs.ClientPending, told{1, 2, 0, "Docker image pull progress: 3 of 8 layers"}},
		{map[string]*api.TaskState{"weights": fetched, "engine": up}, jobs.ClientRunning, told{1, 2, 100, ""}},
	} {
		s := stub("a", uint64(20+i), step.client)
		s.TaskStates = step.states
		p.applyAlloc(s)
		a := p.must(t).Allocations[0]
		got := told{Progress: a.Progress}
		for _, f := range []struct {
			to   *int64
			from time.Time
		}{{&got.Received, a.Received}, {&got.Pulling, a.Pulling}, {&got.Started, a.Started}} {
			if !f.from.IsZero() {
				*f.to = f.from.Unix()
			}
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
		if a.Failure != "" {
			t.Errorf("step %d: got failure %q of a task that has done its work", i, a.Failure)
		}
	}
}

func TestAPrestartTaskThatFailsIsTheFailure(t *testing.T) {
	exit := &api.TaskEvent{Type: api.TaskTerminated, Time: at(9).UnixNano(), ExitCode: 22}
	stub := &api.AllocationListStub{ClientStatus: jobs.ClientFailed, TaskStates: map[string]*api.TaskState{
		"weights": {State: "dead", Failed: true, Restarts: 3, Events: []*api.TaskEvent{exit, {Type: api.TaskNotRestarting, RestartReason: "Exceeded allowed attempts 3"}}},
		"engine":  {State: "dead", Events: []*api.TaskEvent{happened(1, api.TaskReceived, ""), {Type: api.TaskSiblingFailed, FailedSibling: "weights"}}},
	}}
	words := lastWordsOf(stub, downloading)
	if got, want := words.sentence("curl: (22) 404"), "task weights: exit code 22, restarted 3 times; exceeded allowed attempts 3; last log: curl: (22) 404"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !words.logged() || words.task != "weights" {
		t.Errorf("got %+v, want its log to be read", words)
	}
}

func TestARestartInPlaceKeepsTheReplicaAndIsSaid(t *testing.T) {
	p := known(1)
	s := stub("a", 20, jobs.ClientRunning)
	s.AllocatedResources = &api.AllocatedResources{Shared: api.AllocatedSharedResources{Ports: []api.PortMapping{{Label: "http", Value: 8000, HostIP: "10.0.0.1"}}}}
	s.TaskStates = map[string]*api.TaskState{"engine": {State: "running", StartedAt: at(5)}}
	p.applyAlloc(s)
	down := stub("a", 21, jobs.ClientPending)
	down.TaskStates = map[string]*api.TaskState{"engine": {State: "pending", StartedAt: at(5), Restarts: 1, Events: []*api.TaskEvent{
		{Type: api.TaskTerminated, Time: at(9).UnixNano(), ExitCode: 1}, happened(9, api.TaskRestarting, "Task restarting in 15s")}}}
	p.applyAlloc(down)
	a := p.must(t).Allocations[0]
	if a.Address != "10.0.0.1:8000" || a.Restarts != 1 || a.Progress != "Task restarting in 15s" || a.Failure != "exit code 1, restarted once" {
		t.Errorf("while it is down: got %+v", a)
	}
	up := stub("a", 22, jobs.ClientRunning)
	up.TaskStates = map[string]*api.TaskState{"engine": {State: "running", StartedAt: at(24), Restarts: 1}}
	p.applyAlloc(up)
	if a := p.must(t).Allocations[0]; !a.Started.Equal(at(24)) || a.Progress != "" || a.Address != "10.0.0.1:8000" {
		t.Errorf("up again: got %+v", a)
	}
}

func TestAPreemptedAllocationIsUnwantedAndHasNotFailed(t *testing.T) {
	s := stub("a", 20, jobs.ClientRunning)
	s.DesiredStatus, s.DesiredDescription = "evict", "Preempted by alloc ID 8d74476a"
	p := known(1)
	p.applyAlloc(s)
	if a := p.must(t).Allocations[0]; a.Desired != jobs.DesiredStop || a.MayServe() || a.Failure != "" {
		t.Errorf("got %+v", a)
	}
}
