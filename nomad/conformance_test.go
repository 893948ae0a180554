package nomad_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/internal/fleettest"
	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/spec"
	"github.com/pilotlight/pilotlight/nomad"
)

func TestFleetConformsOverTheDouble(t *testing.T) {
	fleettest.Run(t, func(t *testing.T) fleettest.Harness {
		delays := nomaddouble.Quick()
		delays.Deployment = time.Minute
		double, address := startDouble(t, nomaddouble.Config{Delays: delays, Nodes: []nomaddouble.Node{
			{Name: "node-1", Devices: []nomaddouble.Device{nomaddouble.GPUs(2)}},
			{Name: "node-2", Devices: []nomaddouble.Device{nomaddouble.GPUs(2)}},
		}})
		h := conformance(t, address)
		h.GPUs = parse(t, strings.Replace(h.Spec.Source, "resources {", "resources {\n        device \"nvidia/gpu\" {}", 1))
		h.Measure = func(t *testing.T, a jobs.Allocation, utilization, used, total *float64) {
			m := nomaddouble.Measurement{NotAvailable: utilization == nil}
			if utilization != nil {
				m = nomaddouble.Measurement{Utilization: *utilization, MemoryUsed: int64(*used) >> 20, MemoryTotal: int64(*total) >> 20}
			}
			for _, id := range a.Devices {
				must(t, double.Measure(a.Node, id, m))
			}
		}
		h.LoseNode = func(t *testing.T, node string) func() {
			must(t, double.LoseNode(node))
			return func() { must(t, double.ReturnNode(node)) }
		}
		return h
	})
}

// The agent needs the raw_exec driver and no other work; it must run on this
// machine, because its tasks are this test binary.
func TestFleetConformsOverARealAgent(t *testing.T) {
	address := os.Getenv("NOMAD_ADDR")
	if address == "" {
		t.Skip("NOMAD_ADDR is not set: a nomad dev agent with raw_exec is needed")
	}
	fleettest.Run(t, func(t *testing.T) fleettest.Harness { return conformance(t, address) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// conformance is a harness with all that can be done through Nomad's own API.
// Its fleet reaches Nomad over a wire that can be cut.
func conformance(t *testing.T, address string) fleettest.Harness {
	t.Helper()
	w := newWire(t, address)
	h := harness(t, address)
	h.Fleet = newFleet(t, w.address)
	client, err := api.NewClient(&api.Config{Address: address})
	must(t, err)
	t.Cleanup(client.Close)
	h.Cut = func(*testing.T) func() { return w.cut() }
	h.Another = func(t *testing.T) fleettest.Fleet { return newFleet(t, address) }
	h.Rolling = parse(t, strings.Replace(h.Spec.Source, "max_parallel = 0", "max_parallel     = 1\n      min_healthy_time = \"1m\"", 1))
	h.Stop = func(t *testing.T) {
		_, _, err := client.Jobs().Deregister(h.Ref.Job, false, nil)
		must(t, err)
	}
	h.Purge = func(t *testing.T) {
		_, _, err := client.Jobs().Deregister(h.Ref.Job, true, nil)
		must(t, err)
	}
	h.ScaleByHand = func(t *testing.T, count int) {
		_, _, err := client.Jobs().Scale(h.Ref.Job, h.Ref.Group, &count, "an operator", false, nil, nil)
		must(t, err)
	}
	h.Deploy = func(t *testing.T) {
		job, _, err := client.Jobs().Info(h.Ref.Job, nil)
		must(t, err)
		job.TaskGroups[0].Tasks[0].Env["RELEASE"] = "2"
		_, _, err = client.Jobs().RegisterOpts(job, &api.RegisterOptions{PreserveCounts: true}, nil)
		must(t, err)
	}
	h.DrainNode = func(t *testing.T, node string) func() { return drain(t, client, node) }
	return h
}

// drain empties a node until undo, at the latest when the test ends.
func drain(t *testing.T, client *api.Client, name string) (undo func()) {
	t.Helper()
	nodes, _, err := client.Nodes().List(nil)
	must(t, err)
	i := slices.IndexFunc(nodes, func(n *api.NodeListStub) bool { return n.Name == name })
	if i < 0 {
		t.Fatalf("no node is called %s", name)
	}
	set := func(spec *api.DrainSpec) {
		if _, err := client.Nodes().UpdateDrain(nodes[i].ID, spec, spec == nil, nil); err != nil {
			t.Errorf("drain of %s: %v", name, err)
		}
	}
	set(&api.DrainSpec{Deadline: time.Minute})
	undo = sync.OnceFunc(func() { set(nil) })
	t.Cleanup(undo)
	return undo
}

// startDouble serves a double for as long as the test lasts.
func startDouble(t *testing.T, cfg nomaddouble.Config) (*nomaddouble.Server, string) {
	t.Helper()
	cfg.Dir, cfg.BaseEnv = t.TempDir(), os.Environ()
	double := nomaddouble.New(cfg)
	server := httptest.NewServer(double)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := double.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		double.CutStreams()
		server.Close()
	})
	return double, server.URL
}

func newFleet(t *testing.T, address string) *nomad.Fleet {
	t.Helper()
	fleet, err := nomad.New(nomad.Config{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Close)
	return fleet
}

// job returns a spec of its own name whose task is this test binary.
func job(t *testing.T) (*jobs.Spec, jobs.Ref) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	id := "conformance-" + strings.ToLower(rand.Text()[:8])
	source := fmt.Sprintf(`
job %q {
  type = "service"
  group "server" {
    count = 2
    network {
      port "http" {}
    }
    update {
      max_parallel = 0
    }
    migrate {
      min_healthy_time = "1s"
    }
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      unlimited      = true
      delay          = "1h"
      delay_function = "constant"
    }
    task "engine" {
      driver       = "raw_exec"
      kill_timeout = "2s"
      config {
        command = %q
      }
      env {
        %s = "serve"
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}`, id, self, asTask)
	return parse(t, source), jobs.Ref{Namespace: "default", Job: id, Group: "server"}
}

func parse(t *testing.T, source string) *jobs.Spec {
	t.Helper()
	read, findings := spec.Parse("test.nomad.hcl", []byte(source))
	if read == nil {
		t.Fatalf("the test's own job does not parse: %+v", findings)
	}
	read.Source = source
	return read
}

func harness(t *testing.T, address string) fleettest.Harness {
	t.Helper()
	read, ref := job(t)
	client, err := api.NewClient(&api.Config{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer client.Close()
		if _, _, err := client.Jobs().Deregister(ref.Job, true, nil); err != nil && !strings.Contains(err.Error(), "404") {
			t.Errorf("purge %s: %v", ref.Job, err)
		}
	})
	return fleettest.Harness{
		Fleet:   newFleet(t, address),
		Spec:    read,
		Ref:     ref,
		Unknown: func(err error) bool { return errors.Is(err, jobs.ErrUnknownJob) },
		Serves:  true,
		Crash:   crash,
		Block:   func(t *testing.T) func() { return block(t, client) },
	}
}

// crash lets the task exit with code 3, as soon as it listens.
func crash(t *testing.T, a jobs.Allocation) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-every.C {
		res, err := client.Get("http://" + a.Address + "/crash?code=3")
		if err == nil {
			res.Body.Close()
			t.Fatalf("the task answered %d instead of exiting", res.StatusCode)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return "exit code 3" // it went before it could answer
		}
		if time.Now().After(deadline) {
			t.Fatalf("the task does not listen: %v", err)
		}
	}
}

// block makes every node ineligible.
func block(t *testing.T, client *api.Client) (release func()) {
	t.Helper()
	nodes, _, err := client.Nodes().List(nil)
	if err != nil {
		t.Fatal(err)
	}
	set := func(eligible bool) {
		for _, n := range nodes {
			if _, err := client.Nodes().ToggleEligibility(n.ID, eligible, nil); err != nil {
				t.Errorf("eligibility of %s: %v", n.Name, err)
			}
		}
	}
	set(false)
	t.Cleanup(func() { set(true) })
	return func() { set(true) }
}
