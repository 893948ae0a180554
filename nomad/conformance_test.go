package nomad_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
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
		_, address := startDouble(t, nomaddouble.Config{Delays: nomaddouble.Quick()})
		return harness(t, address)
	})
}

// The agent needs the raw_exec driver and no other work; it must run on this
// machine, because its tasks are this test binary.
func TestFleetConformsOverARealAgent(t *testing.T) {
	address := os.Getenv("NOMAD_ADDR")
	if address == "" {
		t.Skip("NOMAD_ADDR is not set: a nomad dev agent with raw_exec is needed")
	}
	fleettest.Run(t, func(t *testing.T) fleettest.Harness { return harness(t, address) })
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
