package nomad_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

func TestACrashingTaskIsToldWithItsLastLogLines(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.change("command = ", `args = ["-c", "echo loading >&2; printf 'CUDA error: \\033[31mout of memory\\033[0m\\n' >&2; exit 7"]
        command = "/bin/sh" //`)
		s.change("attempts = 0", "attempts = 1\n      delay = \"100ms\"")
		s.ensure()
		s.scale(1)
		o := s.until("the log", func(o jobs.Observation, _ error) bool {
			return len(o.Allocations) == 1 && o.Allocations[0].Client == jobs.ClientFailed && strings.Contains(o.Allocations[0].Failure, "last log")
		})
		a := o.Allocations[0]
		if !strings.HasPrefix(a.Failure, "exit code 7, restarted once; exceeded allowed attempts") ||
			!strings.Contains(a.Failure, "; last log: loading | CUDA error: out of memory") {
			s.Errorf("got %q", a.Failure)
		}
	})
}

func TestADrainedNodeIsToldBeforeItsReplicasAreStopped(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.ensure()
		s.scale(1)
		o := s.until("one running", func(o jobs.Observation, _ error) bool {
			return len(o.Allocations) == 1 && o.Allocations[0].Client == jobs.ClientRunning
		})
		node := o.Allocations[0].NodeID
		drain := func(spec *api.DrainSpec) {
			if _, err := s.client.Nodes().UpdateDrainOpts(node, &api.DrainOptions{DrainSpec: spec, MarkEligible: true}, nil); err != nil {
				s.Error(err)
			}
		}
		s.Cleanup(func() { drain(nil) })
		drain(&api.DrainSpec{Deadline: time.Hour})
		s.until("the drain", func(o jobs.Observation, _ error) bool {
			return len(o.Allocations) > 0 && o.Allocations[0].NodeDraining && o.Allocations[0].Desired == jobs.DesiredRun
		})
		drain(nil)
		s.until("its end", func(o jobs.Observation, _ error) bool {
			return len(o.Allocations) > 0 && !o.Allocations[0].NodeDraining
		})
	})
}

// The double runs the serving task only.
func TestATaskBeforeTheServingOneIsPartOfThePull(t *testing.T) {
	address := os.Getenv("NOMAD_ADDR")
	if address == "" {
		t.Skip("NOMAD_ADDR is not set: a nomad dev agent with raw_exec is needed")
	}
	s := newSetting(t, address)
	s.change("task \"engine\" {", `task "weights" {
      driver = "raw_exec"
      lifecycle {
        hook = "prestart"
      }
      config {
        command = "/bin/sleep"
        args    = ["2"]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
    task "engine" {`)
	s.ensure()
	s.scale(1)
	s.until("that the weights are fetched", func(o jobs.Observation, _ error) bool {
		return len(o.Allocations) == 1 && o.Allocations[0].Progress == "task weights: runs" && o.Allocations[0].Started.IsZero()
	})
	o := s.until("the engine", func(o jobs.Observation, _ error) bool {
		return len(o.Allocations) == 1 && !o.Allocations[0].Started.IsZero()
	})
	a := o.Allocations[0]
	if pull := a.Started.Sub(a.Pulling); pull < 2*time.Second || a.Progress != "" || a.Failure != "" || a.Pulling.Before(a.Received) {
		s.Errorf("got %+v, want a pull of two seconds", a)
	}
}

func TestTheVersionThatAReplicaRunsIsKnownSoon(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.ensure()
		s.scale(1) // version 1
		s.until("its version", func(o jobs.Observation, _ error) bool {
			return len(o.Allocations) == 1 && o.Allocations[0].Version == 1
		})
	})
}
