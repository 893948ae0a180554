package nomad

import (
	"testing"

	"github.com/hashicorp/nomad/api"
)

// A plan may place some and not all: what the placed ones take is not free.
func TestAnObstacleCountsWhatThePlanHasPlaced(t *testing.T) {
	instances := []*api.NodeDevice{{ID: "a", Healthy: true}, {ID: "b", Healthy: true}, {ID: "c", Healthy: true}}
	nodes := []*api.NodeListStub{
		{ID: "1", Status: api.NodeStatusReady, Datacenter: "dc1", NodeResources: &api.NodeResources{
			Devices: []*api.NodeDeviceResource{{Vendor: "nvidia", Type: "gpu", Name: "A", Instances: instances}}}},
		{ID: "2", Status: api.NodeStatusReady, Datacenter: "elsewhere", NodeResources: &api.NodeResources{
			Devices: []*api.NodeDeviceResource{{Vendor: "nvidia", Type: "gpu", Name: "A", Instances: instances}}}},
	}
	c := newCluster(nodes, nil)
	m := &api.AllocationMetric{NodesEvaluated: 1, DimensionExhausted: map[string]int{"devices: no devices match request": 1}}
	info := jobInfo{datacenters: []string{"dc1"}, groups: map[string]groupInfo{"server": {devices: []deviceAsk{{name: "nvidia/gpu", count: 2}}}}}
	const want = "no free GPU: 1 node, 1 of 3 nvidia/gpu free, 2 needed on one node beside 1 that fit"
	for range 2 { // and takes nothing from what was counted
		if got := obstacle(m, jobKey{}, info, "server", 1, c); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
