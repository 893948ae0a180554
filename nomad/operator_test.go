package nomad_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// by an operator, with Nomad's own client.

func (s *setting) byHand(count int, why string) {
	s.Helper()
	if _, _, err := s.client.Jobs().Scale(s.ref.Job, s.ref.Group, &count, why, false, nil, nil); err != nil {
		s.Fatal(err)
	}
}

func (s *setting) job() *api.Job {
	s.Helper()
	job, _, err := s.client.Jobs().Info(s.ref.Job, nil)
	if err != nil {
		s.Fatal(err)
	}
	return job
}

func (s *setting) register(job *api.Job) {
	s.Helper()
	if _, _, err := s.client.Jobs().Register(job, nil); err != nil {
		s.Fatal(err)
	}
}

// restarted is what a process that starts now knows of the job.
func (s *setting) restarted() jobs.Observation {
	s.Helper()
	o, err := newFleet(s.T, s.address).Observe(s.Context(), s.ref)
	if err != nil {
		s.Fatal(err)
	}
	return o
}

// untilChanged waits for a change other than the one before it, and makes sure
// that what it did was never seen without it.
func (s *setting) untilChanged(before *jobs.Change, count int) jobs.Change {
	s.Helper()
	was, err := s.fleet.Observe(s.Context(), s.ref)
	if err != nil {
		s.Fatal(err)
	}
	o := s.until("the change", func(o jobs.Observation, err error) bool {
		if err != nil {
			s.Fatal(err)
		}
		told := o.Change != nil && (before == nil || o.Change.Index > before.Index)
		if o.Count != was.Count && !told {
			s.Errorf("count %d was seen without who set it: %+v", o.Count, o.Change)
		}
		return told
	})
	if o.Count != count {
		s.Errorf("count: got %d, want %d", o.Count, count)
	}
	if age := time.Since(o.Change.At).Abs(); age > time.Minute {
		s.Errorf("the change is said to be of %v", o.Change.At)
	}
	return *o.Change
}

func (s *setting) wantChange(got jobs.Change, kind string, before, count int, by string) {
	s.Helper()
	if got.Kind != kind || got.Before != before || got.Count != count || got.By != by {
		s.Errorf("got %+v, want %s from %d to %d by %q", got, kind, before, count, by)
	}
}

func TestWhatOthersDoToAJobIsToldAndKnownAfterARestart(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.ensure()
		s.until("the job", func(_ jobs.Observation, err error) bool { return err == nil })
		s.scale(1)
		if o := s.until("our count", func(o jobs.Observation, _ error) bool { return o.Count == 1 }); o.Change != nil {
			s.Errorf("our own scale is told as a change: %+v", o.Change)
		}
		if o := s.restarted(); o.Count != 1 || o.Change != nil {
			s.Errorf("our own scale is a change after a restart: %+v", o)
		}

		s.byHand(2, "more, please")
		scaled := s.untilChanged(nil, 2)
		s.wantChange(scaled, jobs.ChangeCount, 1, 2, "more, please")
		if o := s.restarted(); o.Change == nil || *o.Change != scaled {
			s.Errorf("after a restart: got %+v, want %+v", o.Change, scaled)
		}
		s.scale(1)
		if o := s.restarted(); o.Change != nil {
			s.Errorf("a change that was answered with a scale is told after a restart: %+v", o.Change)
		}

		job := s.job()
		job.TaskGroups[0].Count = new(0)
		s.register(job) // nomad job run of the same file: only the count differs
		reset := s.untilChanged(&scaled, 0)
		s.wantChange(reset, jobs.ChangeDeploy, 1, 0, "")
		if o := s.restarted(); o.Change == nil || *o.Change != reset {
			s.Errorf("after a restart: got %+v, want %+v", o.Change, reset)
		}

		job = s.job()
		job.TaskGroups[0].Tasks[0].Env["MODEL"] = "another"
		s.register(job) // nomad job run of another file
		deployed := s.untilChanged(&reset, 0)
		s.wantChange(deployed, jobs.ChangeDeploy, 0, 0, "")
	})
}

func TestAStopAndAStartByOthersAreTold(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.ensure()
		s.scale(1)
		s.until("one running", func(o jobs.Observation, _ error) bool {
			return len(o.Allocations) == 1 && o.Allocations[0].Client == jobs.ClientRunning
		})
		if _, _, err := s.client.Jobs().Deregister(s.ref.Job, false, nil); err != nil {
			s.Fatal(err)
		}
		o := s.until("that it is stopped", func(o jobs.Observation, _ error) bool { return o.Stopped != "" })
		if o.Change != nil {
			s.Errorf("a stop is told as a change: %+v", o.Change)
		}
		if o := s.restarted(); o.Stopped == "" || o.Change != nil {
			s.Errorf("after a restart: %+v", o)
		}
		job := s.job()
		job.Stop = new(false)
		s.register(job) // nomad job start
		started := s.untilChanged(nil, 1)
		s.wantChange(started, jobs.ChangeDeploy, 1, 1, "")
		if o, err := s.fleet.Observe(s.Context(), s.ref); err != nil || o.Stopped != "" {
			s.Errorf("after the start: got %q (%v)", o.Stopped, err)
		}
	})
}

func TestAStoppedJobIsRevivedAsItWasAtCountZero(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.ensure()
		s.scale(2)
		if _, _, err := s.client.Jobs().Deregister(s.ref.Job, false, nil); err != nil {
			s.Fatal(err)
		}
		s.until("that it is stopped", func(o jobs.Observation, _ error) bool { return o.Stopped != "" })
		for range 2 { // the second finds one that may run
			if err := s.fleet.Revive(s.Context(), s.spec, s.ref, "resumed by a test"); err != nil {
				s.Fatal(err)
			}
		}
		o, err := s.fleet.Observe(s.Context(), s.ref)
		if err != nil || o.Stopped != "" || o.Count != 0 || o.Change != nil {
			s.Errorf("got %+v (%v), want it at count 0 and nobody's change", o, err)
		}
		if o := s.restarted(); o.Stopped != "" || o.Count != 0 || o.Change != nil {
			s.Errorf("after a restart: got %+v, want it at count 0 and nobody's change", o)
		}
		s.scale(1)
		s.until("one running", func(o jobs.Observation, _ error) bool {
			for _, a := range o.Allocations {
				if a.MayServe() && a.Client == jobs.ClientRunning {
					return true
				}
			}
			return false
		})
		if err := s.fleet.Revive(s.Context(), s.spec, s.ref, "resumed by a test"); err != nil {
			s.Fatal(err)
		}
		if o, err := s.fleet.Observe(s.Context(), s.ref); err != nil || o.Count != 1 {
			s.Errorf("reviving a job that runs: got count %d (%v), want 1 still", o.Count, err)
		}
	})
}

func TestAPurgedJobIsRevivedFromItsSpecOnly(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.ensure()
		if _, _, err := s.client.Jobs().Deregister(s.ref.Job, true, nil); err != nil {
			s.Fatal(err)
		}
		if err := s.fleet.Revive(s.Context(), nil, s.ref, "a test"); !errors.Is(err, jobs.ErrUnknownJob) {
			s.Errorf("without a spec: got %v, want jobs.ErrUnknownJob", err)
		}
		if err := s.fleet.Revive(s.Context(), s.spec, s.ref, "a test"); err != nil {
			s.Fatal(err)
		}
		if o, err := s.fleet.Observe(s.Context(), s.ref); err != nil || o.Count != 0 || o.Stopped != "" || o.Change != nil {
			s.Errorf("got %+v (%v), want it at count 0", o, err)
		}
	})
}

func TestANoteIsLeftOnceAndChangesNothing(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.ensure()
		before := s.job()
		for range 2 {
			if err := s.fleet.Note(s.Context(), s.ref, "no free GPU: 2 nodes, 0 of 4 nvidia/gpu free", map[string]string{"decision": "d-1"}); err != nil {
				s.Fatal(err)
			}
		}
		status, _, err := s.client.Jobs().ScaleStatus(s.ref.Job, nil)
		if err != nil {
			s.Fatal(err)
		}
		var notes int
		for _, e := range status.TaskGroups[s.ref.Group].Events {
			if strings.HasPrefix(e.Message, "no free GPU") {
				notes++
				if e.Count != nil || e.Meta["decision"] != "d-1" || e.Meta["pilotlight"] != "note" || e.Error {
					s.Errorf("got %+v", e)
				}
			}
		}
		if notes != 1 {
			s.Errorf("got %d notes, want 1", notes)
		}
		if after := s.job(); *after.Version != *before.Version || *after.JobModifyIndex != *before.JobModifyIndex {
			s.Error("the note made a version of the job")
		}
		s.scale(1) // a note's index, taken for the job's, would make this lose its compare
	})
}

func TestADeploymentIsToldInASentenceUntilItEnds(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.change("max_parallel = 0", "max_parallel = 1\n      min_healthy_time = \"30s\"")
		s.ensure()
		s.scale(1)
		o := s.until("the deployment", func(o jobs.Observation, _ error) bool { return o.Deployment != "" })
		if !strings.Contains(o.Deployment, "is running") || !strings.Contains(o.Deployment, "nomad deployment fail ") {
			s.Errorf("got %q", o.Deployment)
		}
		d, _, err := s.client.Jobs().LatestDeployment(s.ref.Job, nil)
		if err != nil {
			s.Fatal(err)
		}
		if !strings.Contains(o.Deployment, d.ID[:8]) {
			s.Errorf("got %q, want the id %s in it", o.Deployment, d.ID)
		}
		if !strings.HasSuffix(s.Name(), "/double") { // which pauses none
			if _, _, err := s.client.Deployments().Pause(d.ID, true, nil); err != nil {
				s.Fatal(err)
			}
			s.until("that it is paused", func(o jobs.Observation, _ error) bool {
				return strings.Contains(o.Deployment, "nomad deployment resume")
			})
		}
		if o := s.restarted(); o.Deployment == "" {
			s.Error("a process that starts now does not see it")
		}
		if _, _, err := s.client.Deployments().Fail(d.ID, nil); err != nil {
			s.Fatal(err)
		}
		s.until("its end", func(o jobs.Observation, _ error) bool { return o.Deployment == "" })
		s.scale(2)
	})
}

func TestHowAJobDiffersFromItsShippedSpecIsTold(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.ensure()
		s.scale(1)
		if o, err := s.fleet.Observe(s.Context(), s.ref); err != nil || o.Drift != nil {
			s.Errorf("as it was shipped: got %q (%v)", o.Drift, err)
		}
		job := s.job()
		job.TaskGroups[0].Tasks[0].Env["MODEL"] = "another"
		job.TaskGroups[0].Tasks[0].KillTimeout = new(9 * time.Second)
		s.register(job)
		o := s.until("the difference", func(o jobs.Observation, _ error) bool { return o.Drift != nil })
		want := "task engine: env[MODEL] differs\ntask engine: kill_timeout \"9s\" → \"2s\""
		if got := strings.Join(o.Drift, "\n"); got != want {
			s.Errorf("got\n%s\nwant\n%s", got, want)
		}
		restarted := newFleet(s.T, s.address)
		if err := restarted.Ensure(s.Context(), s.spec, s.ref, true); err != nil {
			s.Fatal(err)
		}
		if o, err := restarted.Observe(s.Context(), s.ref); err != nil || strings.Join(o.Drift, "\n") != want {
			s.Errorf("after a restart: got %q (%v)", o.Drift, err)
		}
		if _, _, err := s.client.Jobs().Deregister(s.ref.Job, false, nil); err != nil {
			s.Fatal(err)
		}
		s.until("that it is stopped", func(o jobs.Observation, _ error) bool { return o.Stopped != "" && o.Drift != nil })
		job = s.job()
		delete(job.TaskGroups[0].Tasks[0].Env, "MODEL")
		job.TaskGroups[0].Tasks[0].KillTimeout = new(2 * time.Second)
		job.Stop = new(false)
		s.register(job)
		s.until("no difference", func(o jobs.Observation, _ error) bool { return o.Stopped == "" && o.Drift == nil })
	})
}

func TestARevertIsADeploy(t *testing.T) {
	overBoth(t, func(s *setting) {
		s.ensure()
		s.scale(1)
		s.scale(2)
		s.until("our count", func(o jobs.Observation, _ error) bool { return o.Count == 2 })
		if _, _, err := s.client.Jobs().Revert(s.ref.Job, 1, nil, nil, "", ""); err != nil {
			s.Fatal(err)
		}
		// Nomad keeps the live count when it reverts, or not: whatever it left is told.
		o := s.until("the revert", func(o jobs.Observation, _ error) bool { return o.Change != nil })
		s.wantChange(*o.Change, jobs.ChangeDeploy, 2, o.Count, "")
	})
}
