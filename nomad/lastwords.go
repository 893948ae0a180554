package nomad

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// lastWords are why an allocation failed; the zero value is "it has not".
type lastWords struct {
	task     string // whose failure it is, "" if no task's
	aside    bool   // that task is not the one that serves
	end      string // how its process ended, or what kept it from starting
	ran      bool   // it had a process, which may have left a log
	restarts int    // of that task, in place
	verdict  string // why it is not started again, "" while it is
}

// logged reports whether there may be a log to read.
func (x lastWords) logged() bool { return x.ran && x.task != "" }

// or returns x, or old if x says nothing.
func (x lastWords) or(old lastWords) lastWords {
	if x.end == "" {
		return old
	}
	return x
}

// sentence puts a failure into words, with the last lines of the task's log.
func (x lastWords) sentence(log string) string {
	if x.end == "" {
		return ""
	}
	var b strings.Builder
	if x.aside {
		b.WriteString("task " + x.task + ": ")
	}
	b.WriteString(x.end)
	switch {
	case x.restarts == 1:
		b.WriteString(", restarted once")
	case x.restarts > 1:
		fmt.Fprintf(&b, ", restarted %d times", x.restarts)
	}
	if x.verdict != "" {
		b.WriteString("; " + lowerFirst(x.verdict))
	}
	if log != "" {
		b.WriteString("; last log: " + log)
	}
	return b.String()
}

// lastWordsOf finds out why the allocation failed. An end that was asked for is no
// failure.
func lastWordsOf(stub *api.AllocationListStub, group groupInfo) lastWords {
	main := mainState(stub.TaskStates, group)
	var serving, aside lastWords
	for _, name := range slices.Sorted(maps.Keys(stub.TaskStates)) {
		state := stub.TaskStates[name]
		if state == nil {
			continue
		}
		x := wordsOfTask(name, state, state == main)
		switch {
		case state == main:
			serving = x
		case aside.end == "":
			aside = x
		}
	}
	// What ended the serving task because of another is that other's failure.
	if aside.end != "" && (serving.end == "" || !serving.ran) {
		return aside
	}
	if serving.end != "" {
		return serving
	}
	switch stub.ClientStatus {
	case jobs.ClientLost:
		return lastWords{end: "lost with its node: " + cmp.Or(stub.DesiredDescription, stub.ClientDescription, "the node does not answer")}
	case jobs.ClientFailed:
		return lastWords{end: cmp.Or(serving.verdict, stub.ClientDescription, "failed, no reason given")}
	}
	return lastWords{}
}

func wordsOfTask(name string, state *api.TaskState, main bool) lastWords {
	x := lastWords{task: name, aside: !main, restarts: int(state.Restarts)}
	for _, e := range state.Events {
		switch e.Type {
		case api.TaskKilling:
			return x // what follows was asked for
		case api.TaskNotRestarting:
			x.verdict = clean(cmp.Or(e.RestartReason, e.DisplayMessage), maxWords)
		case api.TaskTerminated:
			if !main && e.ExitCode == 0 && e.Signal == 0 {
				continue // it has done its work
			}
			x.end, x.ran, x.verdict = ended(e), true, ""
		default:
			if s := keptFromStarting(e); s != "" {
				x.end, x.ran, x.verdict = s, false, ""
			}
		}
	}
	return x
}

// keptFromStarting puts a failure before there was a process into words, "" if
// the event is none.
func keptFromStarting(e *api.TaskEvent) string {
	var s string
	switch e.Type {
	case api.TaskDriverFailure:
		s = "driver: " + cmp.Or(e.DriverError, e.DisplayMessage)
	case api.TaskSetupFailure:
		s = "setup: " + cmp.Or(e.SetupError, e.DisplayMessage)
	case api.TaskArtifactDownloadFailed:
		s = "artifact: " + cmp.Or(e.DownloadError, e.DisplayMessage)
	case api.TaskFailedValidation:
		s = "validation: " + cmp.Or(e.ValidationError, e.DisplayMessage)
	case api.TaskSiblingFailed:
		s = "sibling task failed: " + cmp.Or(e.FailedSibling, e.DisplayMessage)
	}
	return clean(s, maxWords)
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
		b.WriteString(": " + clean(e.Message, maxWords))
	}
	return b.String()
}

func lowerFirst(s string) string {
	if s == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(first)) + s[size:]
}
