package web

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestTheStripFollowsAWake(t *testing.T) {
	now := time.Now()
	const id = "0f0e0d0c-aaaa-bbbb-cccc-new"
	replica := func(phase jobs.Phase, address string) jobs.ReplicaCounts {
		return jobs.ReplicaCounts{Wanted: 1, List: []jobs.Replica{{ID: id, Phase: phase, Address: address,
			Launched: now.Add(-9 * time.Second), Since: now.Add(-4 * time.Second)}}}
	}
	ready, asked := replica(jobs.Ready, "127.0.0.1:1"), jobs.DemandCounts{InFlight: 1}
	long := replica(jobs.Ready, "127.0.0.1:1")
	long.List[0].Launched, long.List[0].Since = now.Add(-2*time.Hour), now.Add(-time.Hour)
	beside := replica(jobs.Ready, "127.0.0.1:1")
	beside.List = append(beside.List, jobs.Replica{ID: "0f0e0d0c-aaaa-bbbb-cccc-before", Phase: jobs.Draining})

	before := []jobs.ColdStart{coldStart("a", "before", now.Add(-time.Hour), 1, 20, 0, 110, 3000, 2, 80)}
	this := slices.Concat([]jobs.ColdStart{coldStart("a", "new", now.Add(-10*time.Second), 1000, 20, 0, 110, 4870, 2, 80)}, before)
	failed := slices.Clone(before)
	failed[0].Outcome, failed[0].Failure = jobs.OutcomeFailed, "exit code 127"
	failedBeside := slices.Concat([]jobs.ColdStart{coldStart("a", "beside", now.Add(-8*time.Second), 1, 20)}, this)
	failedBeside[0].Outcome, failedBeside[0].Failure = jobs.OutcomeFailed, "exit code 127"
	unused := slices.Clone(this)
	unused[0].Outcome = jobs.OutcomeUnused

	pulls := replica(jobs.Starting, "127.0.0.1:1")
	pulls.List[0].Progress = "Docker image pull progress: 3 of 8 layers"
	again := replica(jobs.Starting, "127.0.0.1:1")
	again.List[0].Progress, again.List[0].Failure = "Task restarting in 15s", "exit code 1"
	withPull := []jobs.ColdStart{coldStart("a", "before", now.Add(-time.Hour), 1, 20, 40_000, 0, 3000, 2, 80)}

	for _, test := range []struct {
		name          string
		status        jobs.Status
		starts        []jobs.ColdStart
		want, caption string
	}{
		{"never woken", jobs.Status{State: jobs.StateZero}, nil, "todo todo todo todo todo todo", "No cold start yet"},
		{"held, nothing launched", jobs.Status{State: jobs.StateWaking}, before, "current todo todo todo todo todo", "going on"},
		{"launched", jobs.Status{State: jobs.StateWaking, Replicas: jobs.ReplicaCounts{Wanted: 1}}, before, "done current todo todo todo todo", "going on"},
		{"pending", jobs.Status{State: jobs.StateWaking, Replicas: replica(jobs.Pending, "")}, before, "done current todo todo todo todo", "going on"},
		{"placed", jobs.Status{State: jobs.StateWaking, Replicas: replica(jobs.Starting, "")}, before, "done done current todo todo todo", "going on"},
		{"loading", jobs.Status{State: jobs.StateWaking, Replicas: replica(jobs.Starting, "127.0.0.1:1")}, before, "done done done current todo todo", "going on"},
		{"pulling, with its address", jobs.Status{State: jobs.StateWaking, Replicas: pulls}, before, "done done current todo todo todo todo",
			"Its node says: Docker image pull progress: 3 of 8 layers."},
		{"started again by its node", jobs.Status{State: jobs.StateWaking, Replicas: again}, before, "done done current todo todo todo", "Its node says: Task restarting in 15s."},
		{"loading, after a pull the last time", jobs.Status{State: jobs.StateWaking, Replicas: replica(jobs.Starting, "127.0.0.1:1")}, withPull, "done done done done current todo todo", "going on"},
		{"at zero, after a pull the last time", jobs.Status{State: jobs.StateZero}, withPull, "todo todo todo todo todo todo todo", "took 43 s"},
		{"ready, the first request in flight", jobs.Status{State: jobs.StateReady, Replicas: ready, Demand: asked}, before,
			"done done done done done current", "Ready 5.0 s after its launch; the first answer is being computed."},
		{"ready, the first request not released yet", jobs.Status{State: jobs.StateReady, Replicas: ready, Demand: jobs.DemandCounts{Held: 1}}, nil,
			"done done done done done current", "being computed"},
		{"ready for an operator", jobs.Status{State: jobs.StateReady, Replicas: ready}, before,
			"done done done done done todo", "Ready 5.0 s after its launch; nobody has asked it yet."},
		{"ready, the last demand before the wake", jobs.Status{State: jobs.StateReady, Replicas: ready, LastDemand: ptr(now.Add(-time.Hour))}, before,
			"done done done done done todo", "nobody has asked"},
		{"ready, its answer given and not recorded", jobs.Status{State: jobs.StateReady, Replicas: ready, LastDemand: &now}, before,
			"done done done done done todo", "not recorded yet"},
		{"busy for longer than a first byte may take", jobs.Status{State: jobs.StateReady, Replicas: long, Demand: asked}, nil,
			"done done done done done todo", "not recorded yet"},
		{"ready beside the one that drains", jobs.Status{State: jobs.StateReady, Replicas: beside, Demand: asked}, before, "done done done done done current", "being computed"},
		{"answered", jobs.Status{State: jobs.StateReady, Replicas: ready}, this, "done done done done done done", "The last cold start took 6.1 s; 3 requests waited."},
		{"answered by one that is gone", jobs.Status{State: jobs.StateReady, Replicas: long, Demand: asked}, before, "done done done done done done", "took 3.2 s"},
		{"answered, with a failure beside it", jobs.Status{State: jobs.StateReady, Replicas: ready}, failedBeside,
			"done done done done done done", "The last cold start took 6.1 s; 3 requests waited. The last start failed: exit code 127."},
		{"ready after one that nobody used", jobs.Status{State: jobs.StateReady, Replicas: ready, Demand: asked}, unused, "done done done done done current", "being computed"},
		{"blocked", jobs.Status{State: jobs.StateBlocked}, nil, "done failed todo todo todo todo", "Blocked"},
		{"back at zero", jobs.Status{State: jobs.StateZero}, before, "todo todo todo todo todo todo", "took 3.2 s"},
		{"last one failed", jobs.Status{State: jobs.StateZero}, failed, "done done done failed todo todo", "The last start failed: exit code 127."},
	} {
		steps, caption := strip(now, service{Status: test.status, Known: true}, test.starts)
		var got []string
		for _, step := range steps {
			got = append(got, step.State)
		}
		if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" || !strings.Contains(caption, test.caption) {
			t.Errorf("%s, caption %q, want %q (-want +got):\n%s", test.name, caption, test.caption, diff)
		}
	}
}

// figuresOf the steps: "last" stands before what is of another wake.
func figuresOf(steps []stripStep) []string {
	var out []string
	for _, step := range steps {
		text := strings.TrimSpace(step.Figure.Text + " " + step.Figure.Unit)
		if step.Last {
			text = "last " + text
		}
		out = append(out, fmt.Sprintf("%s: %s", step.Label, text))
	}
	return out
}

func TestFinishedStepsOfAWakeShowItsOwnFiguresAndOnlyThoseToComeTheLastOnes(t *testing.T) {
	now := time.Now()
	before := []jobs.ColdStart{coldStart("a", "before", now.Add(-time.Hour), 1, 20, 0, 110, 3000, 2, 80)}
	waking := jobs.Status{State: jobs.StateWaking, At: now, Demand: jobs.DemandCounts{Held: 1}, Oldest: ptr(6.0), Replicas: jobs.ReplicaCounts{Wanted: 1,
		List: []jobs.Replica{{ID: "new", Phase: jobs.Starting, Address: "127.0.0.1:1", Launched: now.Add(-5 * time.Second), Since: now.Add(-3 * time.Second)}}}}

	steps, _ := strip(now, service{Status: waking, Known: true}, before)
	want := []string{"held: 1.0 s", "place: 2.0 s", "start: –", "load: last 3.0 s", "ready: last 2 ms", "answered: last 80 ms"}
	if diff := cmp.Diff(want, figuresOf(steps)); diff != "" {
		t.Errorf("loading (-want +got):\n%s", diff)
	}
	if load := steps[3]; load.Label != "load" || !load.Since.Equal(now.Add(-3*time.Second)) {
		t.Errorf("%s since %v, want load", load.Label, load.Since)
	}

	again := slices.Concat([]jobs.ColdStart{coldStart("a", "x", now.Add(-time.Minute), 1, 20)}, before)
	again[0].Replica = "new" // it has died in place: Since is of its second life
	steps, _ = strip(now, service{Status: waking, Known: true}, again)
	if got := figuresOf(steps)[stepPlace]; got != "place: –" {
		t.Errorf("loading again: %s, want unknown", got)
	}

	ready := waking
	ready.State, ready.Replicas.List = jobs.StateReady, slices.Clone(waking.Replicas.List)
	ready.Replicas.List[0].Phase = jobs.Ready
	steps, _ = strip(now, service{Status: ready, Known: true}, before)
	want = []string{"held: –", "place: –", "start: –", "load: ≤ 2.0 s", "ready: –", "answered: –"}
	if diff := cmp.Diff(want, figuresOf(steps)); diff != "" {
		t.Errorf("ready (-want +got):\n%s", diff)
	}
}
