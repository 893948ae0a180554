package nomad

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/jobs"
)

// whyBlocked launches n replicas of the job in a cluster of nodes and returns why
// they cannot all be placed.
func whyBlocked(t *testing.T, job string, n int, nodes ...nomaddouble.Node) string {
	t.Helper()
	var why string
	inBubble(t, nomaddouble.Config{Nodes: nodes}, func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, job), translateRef)
		b.scale(translateRef, n)
		why = b.until(translateRef, "a reason", func(o jobs.Observation) bool { return o.Blocked != "" }).Blocked
	})
	return why
}

func with(gpus int, change func(*nomaddouble.Node)) nomaddouble.Node {
	n := nomaddouble.Node{Name: "node"}
	if gpus > 0 {
		n.Devices = []nomaddouble.Device{nomaddouble.GPUs(gpus)}
	}
	if change != nil {
		change(&n)
	}
	return n
}

func TestWhyAReplicaCannotBePlacedIsSaidWithNumbers(t *testing.T) {
	edit := func(old, replacement string) string {
		if !strings.Contains(translate, old) {
			t.Fatalf("%q is not in the test's job", old)
		}
		return strings.Replace(translate, old, replacement, 1)
	}
	for _, c := range []struct {
		name  string
		job   string
		n     int
		nodes []nomaddouble.Node
		want  string
	}{
		{"all taken", translate, 5, []nomaddouble.Node{with(2, nil), with(2, nil), with(0, nil), with(0, nil), with(0, nil)},
			"no free GPU: 2 nodes, 0 of 4 nvidia/gpu free; 3 nodes lack nvidia/gpu or its driver"},
		{"none there", translate, 1, []nomaddouble.Node{with(0, nil)},
			"no GPU: no node has nvidia/gpu"},
		{"more than a node has", edit("count = 1", "count = 8"), 1, []nomaddouble.Node{with(2, nil), with(4, nil)},
			"no fitting GPU: 2 nodes, at most 4 nvidia/gpu on one, 8 needed on one node"},
		{"split over two nodes", edit("count = 1", "count = 2"), 2, []nomaddouble.Node{with(3, nil)},
			"no free GPU: 1 node, 1 of 3 nvidia/gpu free, 2 needed on one node"},
		{"memory that is taken", edit("resources {", "resources {\n memory = 1000"), 2, []nomaddouble.Node{with(2, func(n *nomaddouble.Node) { n.Memory = 1500 })},
			"no room: 1000 MiB of memory asked on one node, at most 500 free on 1 node"},
		{"memory that no node has", edit("resources {", "resources {\n memory = 9000"), 1, []nomaddouble.Node{with(2, func(n *nomaddouble.Node) { n.Memory = 1500 })},
			"no room: 9000 MiB of memory asked on one node, none of 1 node has more than 1500"},
		{"cpu", edit("resources {", "resources {\n cpu = 800"), 2, []nomaddouble.Node{with(2, func(n *nomaddouble.Node) { n.CPU = 1000 })},
			"no room: 800 MHz of CPU asked on one node, at most 200 free on 1 node"},
		{"a constraint", edit("network {", "constraint {\n attribute = \"${node.class}\"\n value = \"h100\"\n }\n network {"), 1, []nomaddouble.Node{with(2, nil), with(2, nil)},
			"no room: 2 nodes looked at, ${node.class} = h100 on 1 node, 1 node of a kind that was refused already"},
		{"a pool without nodes", edit(`group "server"`, "datacenters = [\"eu\"]\n group \"server\""), 1, []nomaddouble.Node{with(2, nil)},
			`no eligible node in the job's datacenters and node pool "default"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := whyBlocked(t, c.job, c.n, c.nodes...); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestNodesThatTakeNothingAreCountedApart(t *testing.T) {
	nodes := func(change func(ns []*api.NodeListStub)) []*api.NodeListStub {
		all := recorded[[]*api.NodeListStub](t, "nodes-list-resources.json")
		change(all)
		return all
	}
	exhausted := recorded[api.Evaluation](t, "evaluation-blocked.json").FailedTGAllocs["server"]
	info := jobInfo{datacenters: []string{"*"}, pool: "default", groups: map[string]groupInfo{"server": {
		devices: []deviceAsk{{name: "nvidia/gpu", count: 1}}, tasks: []taskInfo{{name: "engine", driver: "docker"}}}}}
	say := func(ns []*api.NodeListStub, m *api.AllocationMetric) string {
		return blockage{metric: m}.reason(jobKey{"default", "gpu"}, info, "server", newCluster(ns, nil))
	}
	for _, c := range []struct {
		name   string
		nodes  []*api.NodeListStub
		metric *api.AllocationMetric
		want   string
	}{
		{"a drained node", nodes(func(ns []*api.NodeListStub) { ns[1].Drain = true }), exhausted,
			"no GPU: no node has nvidia/gpu; 1 node with it being drained"},
		{"a driver that is missing", nodes(func(ns []*api.NodeListStub) {
			for _, n := range ns {
				n.Drivers = map[string]*api.DriverInfo{"raw_exec": {Detected: true, Healthy: true}, "docker": {HealthDescription: "Failed to connect to docker daemon"}}
			}
		}), &api.AllocationMetric{NodesEvaluated: 2, ConstraintFiltered: map[string]int{"missing drivers": 2}},
			"no room: 2 nodes looked at, missing drivers on 2 nodes; 2 nodes lack the driver docker"},
		{"no node at all", nodes(func(ns []*api.NodeListStub) { ns[0].Status = "down"; ns[1].SchedulingEligibility = "ineligible" }),
			&api.AllocationMetric{NodePool: "default"},
			`no eligible node in the job's datacenters and node pool "default": 1 down, 1 ineligible`},
		{"quota", nodes(func([]*api.NodeListStub) {}), &api.AllocationMetric{NodesEvaluated: 2, QuotaExhausted: []string{"memory exhausted (8000 needed > 4000 limit)"}},
			"quota exhausted: memory exhausted (8000 needed > 4000 limit)"},
		{"an evaluation without a word", nil, nil, "not placed yet: nomad gives no reason"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := say(c.nodes, c.metric); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
	t.Run("a constraint on the device", func(t *testing.T) {
		g := info.groups["server"]
		g.devices = []deviceAsk{{name: "nvidia/gpu", count: 1, constraints: "${device.attr.memory} >= 120 GiB"}}
		info.groups["server"] = g
		m := recorded[map[string]api.Evaluation](t, "evaluations-failed.json")["asked nvidia/gpu with device.attr.memory >= 120 GiB"].FailedTGAllocs["server"]
		want := "no fitting GPU: 1 node with nvidia/gpu, none with ${device.attr.memory} >= 120 GiB; 1 node lacks nvidia/gpu or its driver"
		if got := say(nodes(func([]*api.NodeListStub) {}), m); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

func TestABlockedReplicaIsNotAskedAboutAgainAndAgainAndGoesOnByItself(t *testing.T) {
	inBubble(t, gpus(1), func(t *testing.T, b *bubble) {
		b.launched(1)
		b.ensure(parse(t, strings.Replace(translate, `job "translate"`, `job "other"`, 1)), jobs.Ref{Namespace: "default", Job: "other", Group: "server"})
		other := jobs.Ref{Namespace: "default", Job: "other", Group: "server"}
		b.scale(other, 1)
		b.until(other, "a reason", func(o jobs.Observation) bool { return o.Blocked != "" })
		asked := func() (n int) {
			for _, path := range []string{"/v1/evaluations", "/v1/job/other/evaluations"} {
				n += len(b.double.Calls("GET", path))
			}
			return n
		}
		time.Sleep(time.Minute)
		before := asked()
		time.Sleep(10 * time.Minute)
		if n := asked() - before; n > 2*10+1 {
			t.Errorf("asked %d times in ten minutes in which nothing happened", n)
		}
		began := time.Now()
		b.scale(translateRef, 0)
		b.until(other, "that a GPU is being freed, or running on it", func(o jobs.Observation) bool {
			return strings.HasPrefix(o.Blocked, "GPU being freed") || running(o) == 1
		})
		b.until(other, "running without being asked", func(o jobs.Observation) bool { return running(o) == 1 && o.Blocked == "" })
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("running after %v", took)
		}
	})
}
