package nomad

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// lastWords says in a sentence why the task of an allocation failed: how its
// process ended, or what kept it from starting, and that it is not tried
// again. "" if nothing failed: an end that was asked for is none.
func lastWords(stub *api.AllocationListStub, state *api.TaskState) string {
	var end, verdict string
	if state != nil {
	events:
		for _, e := range state.Events {
			switch e.Type {
			case api.TaskKilling:
				break events // what follows was asked for
			case api.TaskNotRestarting:
				verdict = e.RestartReason
				if verdict == "" {
					verdict = e.DisplayMessage
				}
			default:
				if s := failing(e); s != "" {
					end, verdict = s, ""
				}
			}
		}
	}
	switch {
	case end != "" && verdict != "":
		return end + "; " + lowerFirst(verdict)
	case end != "":
		return end
	case stub.ClientStatus == jobs.ClientLost:
		return "lost with its node: " + cmp.Or(stub.DesiredDescription, stub.ClientDescription, "the node does not answer")
	case stub.ClientStatus == jobs.ClientFailed:
		return cmp.Or(verdict, stub.ClientDescription, "failed, no reason given")
	}
	return ""
}

// failing puts one failing event into words, "" if it is none.
func failing(e *api.TaskEvent) string {
	switch e.Type {
	case api.TaskTerminated:
		return ended(e)
	case api.TaskDriverFailure:
		return "driver: " + cmp.Or(e.DriverError, e.DisplayMessage)
	case api.TaskSetupFailure:
		return "setup: " + cmp.Or(e.SetupError, e.DisplayMessage)
	case api.TaskArtifactDownloadFailed:
		return "artifact: " + cmp.Or(e.DownloadError, e.DisplayMessage)
	case api.TaskFailedValidation:
		return "validation: " + cmp.Or(e.ValidationError, e.DisplayMessage)
	case api.TaskSiblingFailed:
		return "sibling task failed: " + cmp.Or(e.FailedSibling, e.DisplayMessage)
	}
	return ""
}

// ended says how a process ended. Exit code 0 fails a service's task as well.
func ended(e *api.TaskEvent) string {
	var b strings.Builder
	switch {
	case e.Details["oom_killed"] == "true":
		b.WriteString("killed: out of memory")
	case e.Signal != 0:
		fmt.Fprintf(&b, "ended by signal %d", e.Signal)
	default:
		fmt.Fprintf(&b, "exit code %d", e.ExitCode)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	return b.String()
}

func lowerFirst(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToLower(s[:1]) + s[1:]
}
