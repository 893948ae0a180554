package nomad_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/nomad"
)

// setting is one Nomad, the double or a real agent, with a job of the test's own.
type setting struct {
	*testing.T
	address string
	fleet   *nomad.Fleet
	client  *api.Client
	spec    *jobs.Spec
	ref     jobs.Ref
	changes chan struct{} // one token: something was reported
}

// overBoth runs a test over the double, and over a real agent where there is one.
func overBoth(t *testing.T, test func(s *setting)) {
	t.Run("double", func(t *testing.T) {
		delays := nomaddouble.Quick()
		delays.Deployment = time.Hour
		_, address := startDouble(t, nomaddouble.Config{Delays: delays})
		test(newSetting(t, address))
	})
	t.Run("agent", func(t *testing.T) {
		address := os.Getenv("NOMAD_ADDR")
		if address == "" {
			t.Skip("NOMAD_ADDR is not set: a nomad dev agent with raw_exec is needed")
		}
		test(newSetting(t, address))
	})
}

func newSetting(t *testing.T, address string) *setting {
	t.Helper()
	h := harness(t, address)
	client, err := api.NewClient(&api.Config{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s := &setting{T: t, address: address, fleet: newFleet(t, address), client: client, spec: h.Spec, ref: h.Ref, changes: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- s.fleet.Watch(ctx, func(jobs.Ref) {
			select {
			case s.changes <- struct{}{}:
			default:
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// change edits the job's text before it is registered.
func (s *setting) change(old, replacement string) {
	s.Helper()
	if !strings.Contains(s.spec.Source, old) {
		s.Fatalf("%q is not in the test's job", old)
	}
	s.spec = parse(s.T, strings.Replace(s.spec.Source, old, replacement, 1))
}

func (s *setting) ensure() {
	s.Helper()
	if err := s.fleet.Ensure(s.Context(), s.spec, s.ref, false); err != nil {
		s.Fatal(err)
	}
}

func (s *setting) scale(count int) {
	s.Helper()
	if err := s.fleet.Scale(s.Context(), s.ref, count, "a test", nil); err != nil {
		s.Fatal(err)
	}
}

// until observes after each report until the answer is as wanted.
func (s *setting) until(what string, wanted func(jobs.Observation, error) bool) jobs.Observation {
	s.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for {
		o, err := s.fleet.Observe(s.Context(), s.ref)
		if wanted(o, err) {
			return o
		}
		select {
		case <-s.changes:
		case <-deadline.C:
			s.Fatalf("%s: not seen; last %+v, %v", what, o, err)
		}
	}
}

func TestAPurgeIsSeenAndNotUndone(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.ensure()
		s.until("the job", func(_ jobs.Observation, err error) bool { return err == nil })
		if _, _, err := s.client.Jobs().Deregister(s.ref.Job, true, nil); err != nil {
			s.Fatal(err)
		}
		s.until("that it was purged", func(_ jobs.Observation, err error) bool { return errors.Is(err, jobs.ErrPurged) })
		if err := s.fleet.Ensure(s.Context(), s.spec, s.ref, false); !errors.Is(err, jobs.ErrPurged) {
			s.Errorf("ensure: got %v, want jobs.ErrPurged", err)
		}
		if err := s.fleet.Scale(s.Context(), s.ref, 1, "a test", nil); !errors.Is(err, jobs.ErrPurged) {
			s.Errorf("scale: got %v, want jobs.ErrPurged", err)
		}
	})
}

func TestAStopIsSeenAndRespected(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.ensure()
		s.until("the job", func(_ jobs.Observation, err error) bool { return err == nil })
		if _, _, err := s.client.Jobs().Deregister(s.ref.Job, false, nil); err != nil {
			s.Fatal(err)
		}
		s.until("that it is stopped", func(o jobs.Observation, _ error) bool {
			return strings.HasPrefix(o.Stopped, "stopped in Nomad at "+time.Now().UTC().Format("2006-01-02"))
		})
		if err := s.fleet.Ensure(s.Context(), s.spec, s.ref, false); err != nil {
			s.Errorf("ensure: got %v, want nothing: it is known", err)
		}
		if err := s.fleet.Scale(s.Context(), s.ref, 1, "a test", nil); !errors.Is(err, jobs.ErrStopped) {
			s.Errorf("scale: got %v, want jobs.ErrStopped", err)
		}
	})
}

func TestACountThatAnOperatorSetIsSeenAndNotOverwrittenByAccident(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.ensure()
		two := 2
		if _, _, err := s.client.Jobs().Scale(s.ref.Job, s.ref.Group, &two, "an operator", false, nil, nil); err != nil {
			s.Fatal(err)
		}
		s.until("their count", func(o jobs.Observation, _ error) bool { return o.Count == 2 })
		s.scale(0)
		s.until("all gone", func(o jobs.Observation, _ error) bool {
			for _, a := range o.Allocations {
				if !a.Terminal() {
					return false
				}
			}
			return o.Count == 0
		})
	})
}

func TestADeploymentInTheWayIsSaid(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.change("max_parallel = 0", "max_parallel = 1\n      min_healthy_time = \"30s\"")
		s.ensure()
		s.scale(1)
		// The deployment begins with the evaluation, before the allocation runs.
		s.until("one running", func(o jobs.Observation, _ error) bool {
			return len(o.Allocations) == 1 && o.Allocations[0].Client == jobs.ClientRunning
		})
		err := s.fleet.Scale(s.Context(), s.ref, 2, "a test", nil)
		if blocked, ok := errors.AsType[*jobs.DeploymentError](err); !ok || !strings.Contains(blocked.Message, "active deployment") {
			s.Errorf("got %v, want a jobs.DeploymentError with Nomad's words", err)
		}
	})
}

func TestManyProcessesThatEnsureAtOnceAreAllContent(t *testing.T) {
	overBoth(t, func(s *setting) {
		var wg sync.WaitGroup
		for range 8 {
			other := newFleet(s.T, s.address)
			wg.Go(func() {
				if err := other.Ensure(s.Context(), s.spec, s.ref, false); err != nil {
					s.Error(err)
				}
			})
		}
		wg.Wait()
		job, _, err := s.client.Jobs().Info(s.ref.Job, nil)
		if err != nil {
			s.Fatal(err)
		}
		if *job.Version != 0 || *job.TaskGroups[0].Count != 0 {
			s.Errorf("got version %d and count %d, want one registration at count 0", *job.Version, *job.TaskGroups[0].Count)
		}
	})
}

func TestAnAskForADeviceThatNoNodeHasIsSaid(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.change("resources {", "resources {\n        device \"nvidia/gpu\" {}")
		s.ensure()
		s.scale(1)
		o := s.until("a reason", func(o jobs.Observation, _ error) bool { return o.Blocked != "" })
		if want := "no GPU: no node has nvidia/gpu"; o.Blocked != want {
			s.Errorf("got %q, want %q", o.Blocked, want)
		}
	})
}

func TestACommandThatIsNotThereIsSaid(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.change("command = ", "command = \"/no/such/engine\" //")
		s.ensure()
		s.scale(1)
		s.until("why", func(o jobs.Observation, _ error) bool {
			return len(o.Allocations) == 1 && o.Allocations[0].Client == jobs.ClientFailed &&
				strings.HasPrefix(o.Allocations[0].Failure, "driver: ") && strings.Contains(o.Allocations[0].Failure, "/no/such/engine")
		})
	})
}

func TestWithoutWatchEveryObserveAsks(t *testing.T) {
	overBoth(t, func(s *setting) {
		unwatched := newFleet(s.T, s.address)
		if err := unwatched.Ensure(s.Context(), s.spec, s.ref, false); err != nil {
			s.Fatal(err)
		}
		for _, n := range []int{2, 1, 0} {
			s.scale(n)
			o, err := unwatched.Observe(s.Context(), s.ref)
			if err != nil || o.Count != n {
				s.Errorf("got count %d (%v), want %d", o.Count, err, n)
			}
		}
	})
}
