package nomad

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
)

// nulls are events in which lists have null for an element.
var nulls = []string{
	`{"Topic":"Job","Type":"JobRegistered","Key":"translate","Payload":{"Job":{"ID":"translate","TaskGroups":[null,{"Tasks":[null]},{"Name":"server","Tasks":[null,{"Name":"engine","Resources":{"Devices":[null,{"Name":"nvidia/gpu","Constraints":[null]}]}}]}]}}}`,
	`{"Topic":"Allocation","FilterKeys":["translate"],"Payload":{"Allocation":{"ID":"a","JobID":"translate","Namespace":"default","TaskGroup":"server","ModifyIndex":20,"TaskStates":{"x":null,"engine":{"Events":[null,{"Type":"Terminated","Details":null}]}},"AllocatedResources":{"Shared":{"Networks":[null]},"Tasks":{"x":null,"engine":{"Devices":[null],"Networks":[null]}}}}}}`,
	`{"Topic":"Deployment","FilterKeys":["translate"],"Payload":{"Deployment":{"ID":"d","JobID":"translate","Namespace":"default","ModifyIndex":9,"Status":"running","TaskGroups":{"server":null}}}}`,
	`{"Topic":"Evaluation","FilterKeys":["translate"],"Payload":{"Evaluation":{"Status":"blocked","FailedTGAllocs":{"server":null}}}}`,
	`{"Topic":"Node","Key":"n","Payload":{"Node":null}}`,
	`{"Topic":"Allocation","FilterKeys":[],"Payload":null}`,
}

func withNamespace(event string) string {
	return `{"Index":21,"Events":[` + strings.Replace(event, `{"Topic"`, `{"Namespace":"default","Index":21,"Topic"`, 1) + `]}`
}

// FuzzTakeLine feeds lines to a Fleet that knows a job: whatever is in them, it
// goes on.
func FuzzTakeLine(f *testing.F) {
	for _, e := range nulls {
		f.Add([]byte(withNamespace(e)))
	}
	for _, name := range []string{"events-wake.ndjson", "events-to-zero.ndjson", "events-node-drain.ndjson"} {
		raw, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(raw))
		for lines.Buffer(nil, 1<<20); lines.Scan(); {
			f.Add(bytes.Clone(lines.Bytes()))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var line eventLine
		if json.Unmarshal(raw, &line) != nil {
			return
		}
		fleet, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		key := fleet.track(translateRef)
		fleet.pic.applyJob(key, jobInfo{index: 10, scalable: true, groups: map[string]groupInfo{"server": {mainTask: "engine"}}})
		fleet.pic.applyList([]jobKey{key}, nil, 10, true)
		fleet.pic.claim(key, 1<<63)
		_ = fleet.takeLine(line) // what is not understood is an error
		_, _, _ = fleet.pic.observe(key, translateRef, time.Now())
	})
}

// FuzzEvaluations puts whatever evaluations and nodes say into a reason.
func FuzzEvaluations(f *testing.F) {
	for _, name := range []string{"evaluations-failed.json", "evaluation-blocked.json", "evaluation-devices-exhausted.json"} {
		raw, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, []byte(`[]`))
		f.Add([]byte("["+string(raw)+"]"), []byte(`[null,{"Status":"ready","NodeResources":{"Devices":[null,{"Vendor":"nvidia","Type":"gpu","Instances":[null]}]}}]`))
	}
	f.Add([]byte(`[null,{"Status":"blocked","JobID":"translate","FailedTGAllocs":{"server":null}}]`), []byte(`[null]`))
	f.Fuzz(func(t *testing.T, rawEvals, rawNodes []byte) {
		var (
			evals []*api.Evaluation
			nodes []*api.NodeListStub
		)
		if json.Unmarshal(rawEvals, &evals) != nil || json.Unmarshal(rawNodes, &nodes) != nil {
			return
		}
		wholeAnswer(&evals)
		wholeAnswer(&nodes)
		info := jobInfo{groups: map[string]groupInfo{"server": {devices: []deviceAsk{{name: "nvidia/gpu", count: 1}}}}}
		c := newCluster(nodes, nil)
		for k, b := range newestBlocked(evals) {
			if b.reason(k.job, info, "server", c) == "" {
				t.Errorf("no reason from %s", rawEvals)
			}
		}
	})
}

func TestNullsInListsEndNoProcess(t *testing.T) {
	answers := map[string]string{
		"/v1/job/nothing": `null`,
		"/v1/allocations": `[null,{"ID":"a","JobID":"translate","Namespace":"default","TaskGroup":"server","DesiredStatus":"run","ClientStatus":"running","ModifyIndex":7,
			"TaskStates":{"x":null,"engine":{"Events":[null]}},"AllocatedResources":{"Shared":{"Networks":[null]},"Tasks":{"engine":{"Devices":[null],"Networks":[null]}}}}]`,
		"/v1/jobs": `[null,{"ID":"translate","Namespace":"default","JobModifyIndex":7}]`,
		"/v1/job/translate": `{"ID":"translate","Namespace":"default","Type":"service","CreateIndex":3,"JobModifyIndex":7,"ModifyIndex":7,"Version":2,
			"TaskGroups":[null,{"Tasks":[null]},{"Name":"server","Count":2,"Update":{"MaxParallel":1},"Tasks":[null,{"Name":"engine"}]}]}`,
		"/v1/job/translate/evaluations": `[null]`,
		"/v1/job/translate/scale":       `{"TaskGroups":{"server":{"Events":[{"CreateIndex":5,"Meta":{"pilotlight":"version 1"}}]}}}`,
		"/v1/deployments":               `[null]`,
		"/v1/evaluations":               `[null,{"Status":"blocked","Namespace":"default","JobID":"translate","FailedTGAllocs":{"server":{"NodesEvaluated":1}}}]`,
		"/v1/nodes":                     `[null,{"ID":"n","Status":"ready","NodeResources":{"Devices":[null,{"Instances":[null]}]}}]`,
	}
	nomad := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Nomad-Index", "7")
		w.Header().Set("X-Nomad-LastContact", "0")
		w.Header().Set("X-Nomad-KnownLeader", "true")
		fmt.Fprint(w, answers[r.URL.Path])
	})
	inBubbleVia(t, gpus(1), func(http.Handler) http.Handler { return nomad }, func(t *testing.T, b *bubble) {
		o := b.observe(translateRef)
		if o.Count != 2 || len(o.Allocations) != 1 || o.Blocked == "" {
			t.Errorf("got %+v, want what is not null", o)
		}
		if err := b.readStaleJob(t.Context(), jobKey{"default", "nothing"}); err != nil {
			t.Errorf("a job that is null: %v", err)
		}
	})
}
