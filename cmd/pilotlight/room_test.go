package main

import (
	"strings"
	"testing"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/nomad"
	"github.com/pilotlight/pilotlight/policies"
)

func TestAReplicaTakesWhatTheJobInNomadAsksForElseItsSpecElseThePolicy(t *testing.T) {
	_, address := cluster(t, nomaddouble.Config{Nodes: []nomaddouble.Node{{Name: "gpu-1", Devices: []nomaddouble.Device{nomaddouble.GPUs(4)}}}})
	inventory, err := nomad.NewInventory(nomad.Config{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	defer inventory.Close()
	with := func(gpus int) *jobs.Spec {
		return &jobs.Spec{Groups: []jobs.Group{{Name: "server", Tasks: []jobs.Task{{GPUs: gpus}}}}}
	}
	n := &node{inventory: inventory, specs: jobSpecs{"web": with(3), "spec": with(2), "without": with(0)}}
	register(t, address, webJob, 0)
	for _, c := range []struct {
		job, cost string
		want      int
	}{
		{"web", "4x 80GB", 1},     // as registered
		{"spec", "4x 80GB", 2},    // not registered yet
		{"without", "4x 80GB", 0}, // its spec asks for none
		{"unheard", "4x 80GB", 4},
		{"unheard", "", 0},
	} {
		p := policies.New("p")
		p.Job, p.Namespace = c.job, "default"
		if c.cost != "" {
			p.Cost = &policies.Cost{GPU: c.cost}
		}
		room, err := n.room(t.Context(), p)
		if err != nil || room.PerReplica != c.want {
			t.Errorf("job %s, cost.gpu %q: %+v, %v; want %d GPUs", c.job, c.cost, room, err, c.want)
		}
	}
}

func TestOnlyWhoWasToldOfNomadAsksItAboutRoom(t *testing.T) {
	t.Setenv("NOMAD_ADDR", "")
	for _, c := range []struct {
		serve serveCommand
		env   string
		want  bool
	}{
		{serveCommand{Fleet: "nomad", Role: allRoles}, "", true},
		{serveCommand{Fleet: "nomad", Role: []string{roleWeb}}, "", false},
		{serveCommand{Fleet: "nomad", Role: []string{roleWeb}, Nomad: "http://127.0.0.1:4646"}, "", true},
		{serveCommand{Fleet: "nomad", Role: []string{roleWeb}}, "http://127.0.0.1:4646", true},
		{serveCommand{Fleet: "local", Role: allRoles}, "http://127.0.0.1:4646", false},
	} {
		t.Setenv("NOMAD_ADDR", c.env)
		if got := c.serve.knowsNomad(); got != c.want {
			t.Errorf("fleet %s, roles %s, --nomad %q, NOMAD_ADDR %q: %v", c.serve.Fleet, strings.Join(c.serve.Role, ","), c.serve.Nomad, c.env, got)
		}
	}
}
