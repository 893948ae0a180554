package nomad

import (
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// readPhases takes from the task events what happened to the allocation and
// when: Nomad keeps the last ten events of a task only, so that a long pull
// pushes its own beginning out. Tasks before the serving one (a prestart
// download of weights) are part of the pull.
func readPhases(a *jobs.Allocation, states map[string]*api.TaskState, group groupInfo) {
	main := mainState(states, group)
	for name, state := range states {
		if state == nil {
			continue
		}
		for _, e := range state.Events {
			switch e.Type {
			case api.TaskReceived:
				a.Received = earlier(a.Received, unixNano(e.Time))
			case api.TaskSetup, api.TaskDownloadingArtifacts, api.TaskDriverMessage:
				a.Pulling = earlier(a.Pulling, unixNano(e.Time))
			case api.TaskStarted:
				if state != main && group.before(name) {
					a.Pulling = earlier(a.Pulling, unixNano(e.Time))
				}
			}
		}
	}
	if main != nil {
		a.Restarts = int(main.Restarts)
		a.Started = main.StartedAt
	}
	if !a.Terminal() && (main == nil || main.State != stateRunning) {
		a.Progress = progress(states, main, group)
	}
	if a.Terminal() && main != nil {
		a.Finished = main.FinishedAt
	}
}

// stateRunning is TaskState.State of a task whose process runs.
const stateRunning = "running"

// progress is what the node last said that it does, over all tasks.
func progress(states map[string]*api.TaskState, main *api.TaskState, group groupInfo) string {
	var (
		said   string
		saidAt int64
	)
	for _, name := range slices.Sorted(maps.Keys(states)) {
		state := states[name]
		if state == nil || state != main && state.State != stateRunning && !state.FinishedAt.IsZero() {
			continue // it is over
		}
		for _, e := range state.Events {
			s := doing(e)
			if s == "" && e.Type == api.TaskStarted && state != main && group.before(name) {
				s = "runs"
			}
			if s == "" || e.Time < saidAt {
				continue
			}
			if state != main {
				s = "task " + name + ": " + s
			}
			said, saidAt = s, e.Time
		}
	}
	return said
}

// doing puts an event on the way to a running task into words, "" if it is none.
func doing(e *api.TaskEvent) string {
	switch e.Type {
	case api.TaskDriverMessage:
		s := e.DriverMessage
		if s == "" {
			s = e.DisplayMessage
		}
		if image := e.Details["image"]; image != "" {
			s += " " + image
		}
		return clean(s, maxWords)
	case api.TaskDownloadingArtifacts:
		return "Downloading artifacts"
	case api.TaskSetup:
		return clean(e.DisplayMessage, maxWords)
	case api.TaskRestarting:
		return clean(e.DisplayMessage, maxWords)
	}
	return ""
}

// carryOver keeps what the new picture of an allocation has lost: the first
// events of its tasks, and, in what the scheduler writes, all of them.
func carryOver(old, now jobs.Allocation) jobs.Allocation {
	now.Received = earlier(old.Received, now.Received)
	now.Pulling = earlier(old.Pulling, now.Pulling)
	if now.Started.IsZero() {
		now.Started = old.Started
	}
	if now.Address == "" {
		now.Address = old.Address
	}
	if len(now.Devices) == 0 {
		now.Devices = old.Devices
	}
	if now.Version == 0 {
		now.Version = old.Version // events do not tell it
	}
	now.Restarts = max(now.Restarts, old.Restarts)
	return now
}

// earlier returns the earlier of two times, zero being none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// mainState finds the state of the serving task; while the job is not known,
// that of the only task.
func mainState(states map[string]*api.TaskState, group groupInfo) *api.TaskState {
	if s, ok := states[group.mainTask]; ok {
		return s
	}
	if len(states) != 1 {
		return nil
	}
	for _, s := range states {
		return s
	}
	return nil
}
