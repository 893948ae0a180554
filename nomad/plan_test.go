package nomad_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/nomad"
)

func drafted(t *testing.T, c *nomad.Checkup, source string) *nomad.Draft {
	t.Helper()
	d, err := c.Draft(t.Context(), "test.nomad.hcl", source, "", "")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAPlanTellsWhatWouldFitAndWhyNotMore(t *testing.T) {
	_, address := startDouble(t, nomaddouble.Config{Delays: nomaddouble.Quick(), Nodes: []nomaddouble.Node{
		{Name: "gpu-1", Devices: []nomaddouble.Device{nomaddouble.GPUs(2)}}, {Name: "cpu-1"}}})
	spec, ref := job(t)
	spec = parse(t, strings.Replace(spec.Source, "resources {", "resources {\n        device \"nvidia/gpu\" {}", 1))
	c, fleet := newCheckup(t, address, ""), newFleet(t, address)
	if p, err := c.Plan(t.Context(), drafted(t, c, spec.Source), nil, nil); err != nil || p.Change != nomad.ChangeAdded {
		t.Fatalf("a new job: %+v, %v", p, err)
	}
	if err := fleet.Ensure(t.Context(), spec, ref, false); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Scale(t.Context(), ref, 2, "a test", nil); err != nil {
		t.Fatal(err)
	}
	var there *nomad.Registered
	for deadline := time.Now().Add(10 * time.Second); there == nil || there.Groups["server"].Running < 2; {
		var err error
		if there, err = c.Registered(t.Context(), ref.Namespace, ref.Job); err != nil || time.Now().After(deadline) {
			t.Fatalf("got %+v, %v", there, err)
		}
	}
	nodes, err := c.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := drafted(t, c, spec.Source)
	for n, want := range map[int]nomad.GroupPlan{
		0: {Stop: 2},
		2: {Keep: 2},
		4: {Keep: 2, Place: 2, Missing: 2, Obstacle: "no free GPU: 1 node, 0 of 2 nvidia/gpu free; 1 node lacks nvidia/gpu or its driver"},
	} {
		p, err := c.Plan(t.Context(), d, map[string]int{"server": n}, nodes)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, p.Groups["server"]); diff != "" {
			t.Errorf("%d: %s (-want +got)\n%s", n, p.Change, diff)
		}
	}
	p, err := c.Plan(t.Context(), d, nil, nodes)
	if err != nil || p.Groups["server"] != (nomad.GroupPlan{Keep: 2}) || !d.Groups[0].AllAtOnce {
		t.Errorf("planning with other counts has changed the draft: %+v, %v", p, err)
	}
	if after, err := c.Registered(t.Context(), ref.Namespace, ref.Job); err != nil || after.Version != there.Version {
		t.Errorf("planning has made version %d of %d: %v", after.Version, there.Version, err)
	}
}

func TestWhatNomadWouldNotTakeIsSaid(t *testing.T) {
	_, address := startDouble(t, nomaddouble.Config{Delays: nomaddouble.Quick()})
	c := newCheckup(t, address, "")
	_, err := c.Draft(t.Context(), "mine.nomad.hcl", `job "x" {`, "", "")
	if invalid, ok := errors.AsType[*nomad.InvalidJobError](err); !ok || !strings.Contains(invalid.Problems[0], "mine.nomad.hcl") {
		t.Errorf("got %v", err)
	}
	bounded := "scaling {\n      max = 3\n    }\n    network {"
	spec, _ := job(t)
	source := strings.Replace(spec.Source, "network {", bounded, 1)
	_, err = c.Plan(t.Context(), drafted(t, c, source), map[string]int{"server": 4}, nil)
	if invalid, ok := errors.AsType[*nomad.InvalidJobError](err); !ok || !strings.Contains(invalid.Error(), "maximum count") {
		t.Errorf("a count beyond the job's own bounds: got %v", err)
	}
}

// recorded answers as a real agent does to a change of a registered job.
func TestADiffIsOneLineForEachFieldAndHidesSecrets(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/parse"):
			fmt.Fprint(w, `{"ID":"web","TaskGroups":[{"Name":"server","Tasks":[{"Name":"model","Driver":"docker"}]}]}`)
		case strings.HasSuffix(r.URL.Path, "/plan"):
			fmt.Fprint(w, `{"JobModifyIndex":7,"Warnings":"1 warning:\n\n* deprecated","Annotations":{"DesiredTGUpdates":{"server":{"DestructiveUpdate":2}}},
			 "Diff":{"Type":"Edited","ID":"web","Fields":[{"Type":"None","Name":"Priority","Old":"50","New":"50"}],"TaskGroups":[{"Type":"Edited","Name":"server",
			 "Fields":[{"Type":"Deleted","Name":"Meta[x]","Old":"1","New":""}],"Tasks":[{"Type":"Edited","Name":"model",
			 "Fields":[{"Type":"Edited","Name":"Env[HF_TOKEN]","Old":"hf_old","New":"hf_new"}],
			 "Objects":[{"Type":"Edited","Name":"Config","Fields":[{"Type":"Edited","Name":"image","Old":"a:1","New":"a:2"}]}]}]}]}}`)
		default:
			fmt.Fprint(w, `{"ValidationErrors":null}`)
		}
	}))
	defer server.Close()
	c := newCheckup(t, server.URL, "")
	p, err := c.Plan(t.Context(), drafted(t, c, "…"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []nomad.Change{
		{Kind: "deleted", Path: "group.server.meta[x]", Hidden: true},
		{Kind: "edited", Path: "group.server.task.model.env[HF_TOKEN]", Hidden: true},
		{Kind: "edited", Path: "group.server.task.model.config.image", Old: "a:1", New: "a:2"},
	}
	if diff := cmp.Diff(want, p.Diff); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if p.Groups["server"].Replace != 2 {
		t.Errorf("got %+v", p.Groups)
	}
	if diff := cmp.Diff([]string{"deprecated"}, p.Warnings); diff != "" {
		t.Errorf("warnings (-want +got)\n%s", diff)
	}
}
