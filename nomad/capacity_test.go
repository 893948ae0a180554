package nomad

import (
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/jobs"
)

func TestRecordedFailuresAreSaidInASentence(t *testing.T) {
	nodes := recorded[[]*api.NodeListStub](t, "nodes-list-resources.json")
	running := recorded[api.AllocationListStub](t, "alloc-stub-gpu-resources.json")
	other := running
	other.AllocatedResources = withDevice("GPU-00000000-1111-2222-3333-444444444444")
	both := []*api.AllocationListStub{&running, &other}
	stopping := other
	stopping.DesiredStatus = jobs.DesiredStop
	gpu := []deviceAsk{{name: "nvidia/gpu", count: 1}}
	exhausted := recorded[api.Evaluation](t, "evaluation-blocked.json").FailedTGAllocs["server"]
	failed := recorded[map[string]api.Evaluation](t, "evaluations-failed.json")
	because := func(what string) *api.AllocationMetric {
		e, ok := failed[what]
		if !ok {
			t.Fatalf("no recording %q", what)
		}
		return e.FailedTGAllocs["server"]
	}
	why := func(m *api.AllocationMetric, asks []deviceAsk, c *cluster) string {
		info := jobInfo{datacenters: []string{"*"}, pool: "default", groups: map[string]groupInfo{"server": {
			devices: asks, tasks: []taskInfo{{name: "engine", ask: footprint{memoryMiB: 64}}}}}}
		return blockage{metric: m}.reason(jobKey{"default", "gpu"}, info, "server", c)
	}
	for _, c := range []struct {
		name   string
		metric *api.AllocationMetric
		asks   []deviceAsk
		allocs []*api.AllocationListStub
		want   string
	}{
		{"all taken", exhausted, gpu, both, "no free GPU: 1 node, 0 of 2 nvidia/gpu free; 1 node lacks nvidia/gpu or its driver"},
		{"asked by type alone", exhausted, []deviceAsk{{name: "gpu", count: 1}}, both, "no free GPU: 1 node, 0 of 2 gpu free; 1 node lacks gpu or its driver"},
		{"one is on its way out", exhausted, gpu, []*api.AllocationListStub{&running, &stopping}, "GPU being freed: 1 node, 0 of 2 nvidia/gpu free, 1 being freed by replicas of this service that stop; 1 node lacks nvidia/gpu or its driver"},
		{"more than one node has", exhausted, []deviceAsk{{name: "nvidia/gpu", count: 2}}, both[:1], "no free GPU: 1 node, 1 of 2 nvidia/gpu free, 2 needed on one node; 1 node lacks nvidia/gpu or its driver"},
		{"no such device", because("asked device amd/gpu (no such device)"), []deviceAsk{{name: "amd/gpu", count: 1}}, nil, "no GPU: no node has amd/gpu"},
		{"attributes that none has", because("asked nvidia/gpu with device.attr.memory >= 120 GiB"), gpu, nil, "no room: 2 nodes looked at, missing devices on 2 nodes"},
		{"memory", because("asked 9 TB of memory"), nil, nil, "no room: 2 nodes looked at, memory exhausted on 2 nodes"},
		{"a constraint", because("node.class = h100"), gpu, both, "no room: 2 nodes looked at, ${node.class} = h100 on 2 nodes"},
		{"no node at all", &api.AllocationMetric{NodePool: "gpu"}, gpu, nil, `no eligible node in the job's datacenters and node pool "gpu"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := why(c.metric, c.asks, newCluster(nodes, c.allocs)); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
	t.Run("without the nodes the evaluation has to do", func(t *testing.T) {
		want := "no room: 2 nodes looked at, devices: no devices match request exhausted on 1 node, 1 node of a kind that was refused already"
		if got := why(exhausted, gpu, nil); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// withDevice is what an allocation with one device of that id has.
func withDevice(id string) *api.AllocatedResources {
	return &api.AllocatedResources{Tasks: map[string]*api.AllocatedTaskResources{"engine": {
		Devices: []*api.AllocatedDeviceResource{{Vendor: "nvidia", Type: "gpu", DeviceIDs: []string{id}}},
	}}}
}

func TestOnlyNodesThatTheJobMayUseAreCounted(t *testing.T) {
	ready := func(change func(*api.NodeListStub)) *api.NodeListStub {
		n := &api.NodeListStub{ID: "n", Datacenter: "dc1", NodePool: "default", Status: "ready", SchedulingEligibility: "eligible",
			NodeResources: &api.NodeResources{Devices: []*api.NodeDeviceResource{{Vendor: "nvidia", Type: "gpu",
				Instances: []*api.NodeDevice{{ID: "a", Healthy: true}, {ID: "b", Healthy: false}}}}}}
		change(n)
		return n
	}
	for _, c := range []struct {
		name   string
		change func(*api.NodeListStub)
		free   int
	}{
		{"a ready one", func(*api.NodeListStub) {}, 1},
		{"down", func(n *api.NodeListStub) { n.Status = "down" }, 0},
		{"draining", func(n *api.NodeListStub) { n.Drain = true }, 0},
		{"ineligible", func(n *api.NodeListStub) { n.SchedulingEligibility = "ineligible" }, 0},
		{"another datacenter", func(n *api.NodeListStub) { n.Datacenter = "eu" }, 0},
		{"another pool", func(n *api.NodeListStub) { n.NodePool = "batch" }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := 0
			for _, n := range newCluster([]*api.NodeListStub{ready(c.change)}, nil).usable(jobInfo{datacenters: []string{"dc*"}, pool: "default"}) {
				for _, d := range n.devices {
					got += d.free
				}
			}
			if got != c.free {
				t.Errorf("got %d free, want %d", got, c.free)
			}
		})
	}
}

func TestWithoutAFreeGPUTheReasonIsSaidAndThenTakenBack(t *testing.T) {
	cfg := gpus(1, 1, 0)
	inBubble(t, cfg, func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.scale(translateRef, 2)
		b.until(translateRef, "two running", func(o jobs.Observation) bool { return running(o) == 2 })
		b.scale(translateRef, 3)
		o := b.until(translateRef, "a reason", func(o jobs.Observation) bool { return o.Blocked != "" })
		if want := "no free GPU: 2 nodes, 0 of 2 nvidia/gpu free; 1 node lacks nvidia/gpu or its driver"; o.Blocked != want {
			t.Errorf("got %q, want %q", o.Blocked, want)
		}
		b.scale(translateRef, 2)
		b.until(translateRef, "no reason", func(o jobs.Observation) bool { return o.Blocked == "" })
	})
}

func TestWhileOwnReplicasStopTheirGPUsAreBeingFreed(t *testing.T) {
	slow := nomaddouble.DefaultDelays()
	slow.Batch *= 20
	cfg := gpus(1)
	cfg.Delays = slow
	inBubble(t, cfg, func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.scale(translateRef, 1)
		b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == 1 })
		b.scale(translateRef, 0)
		b.until(translateRef, "told to stop", func(o jobs.Observation) bool { return o.Allocations[0].Desired == jobs.DesiredStop })
		b.scale(translateRef, 1)
		o := b.until(translateRef, "a reason", func(o jobs.Observation) bool { return o.Blocked != "" })
		if !strings.HasPrefix(o.Blocked, "GPU being freed: ") {
			t.Errorf("got %q, want that a GPU is being freed", o.Blocked)
		}
		b.until(translateRef, "running on it", func(o jobs.Observation) bool { return running(o) == 1 && o.Blocked == "" })
	})
}
