package soak

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// unstated is how long a slot may be in use before the ledger knows of it (50 ms),
// on a machine that is busy with other things.
const unstated = 500 * time.Millisecond

// slots: a replica never runs more than it has slots.
func (a *auditor) slots() {
	byReplica := map[string][]Execution{}
	for _, x := range a.Executions {
		byReplica[x.Replica] = append(byReplica[x.Replica], x)
	}
	for replica, runs := range byReplica {
		var running []Execution
		for _, x := range runs { // in the order of their beginnings
			running = slices.DeleteFunc(running, func(y Execution) bool { return !y.To.IsZero() && !y.To.After(x.From) })
			running = append(running, x)
			a.crowd(replica, x.From, running)
		}
	}
}

// crowd judges what runs at a replica at the moment at which one more has begun.
func (a *auditor) crowd(replica string, at time.Time, running []Execution) {
	r := a.requests[running[0].RequestID]
	if r == nil {
		return // told already
	}
	most := a.services[r.Service].Concurrency
	over := len(running) - most
	var why []string
	for _, x := range running {
		if over <= 0 {
			break
		}
		if reason := a.beside(x, at); reason != "" {
			why = append(why, reason)
			over--
		}
	}
	if over <= 0 {
		for _, reason := range why {
			a.excused(reason)
		}
		return
	}
	var list strings.Builder
	for _, x := range running {
		fmt.Fprintf(&list, "\n    %s %s from %s to %s cancelled=%t", x.RequestID, x.Name, clock(x.From), clock(x.To), x.Cancelled)
	}
	a.broken("slots", running[len(running)-1].RequestID, "at %s replica %s of %s runs %d, it has %d slots:%s",
		clock(at), replica, r.Service, len(running), most, list.String())
}

// beside says why an execution that runs at this moment is in nobody's slot.
func (a *auditor) beside(x Execution, at time.Time) string {
	r := a.requests[x.RequestID]
	if r == nil {
		return ""
	}
	if x.Cancelled {
		for _, c := range r.Calls {
			left := c.HungUp && !r.Keyed && !r.Async || c.What == "DELETE"
			if left && !c.At.After(at) && !c.Until.Before(x.From.Add(-skew)) && x.To.Sub(at) < time.Second {
				return "a replica had not noticed yet that its client has gone"
			}
		}
	}
	if !r.Keyed && !r.Async && len(r.Calls) > 0 {
		for _, f := range a.Faults {
			if f.Kind != KillActivator || f.Index != r.Calls[0].Activator || f.From.Before(x.From.Add(-skew)) || f.From.After(at) {
				continue
			}
			if f.From.Sub(x.From) < unstated {
				return "an activator died before it had stated a slot that it had just put to use"
			}
			if a.during(x.From, f.From, 0, KillRedis, RestartRedis, StopRedis) {
				return "an activator died before it could state a slot that it had put to use while Redis was away"
			}
		}
	}
	for i := range a.Late {
		if a.activatorDuring(i, x.From.Add(-skew), x.From, StopActivator) && a.wasLate(i, x) {
			return "a process was stopped between the check of its lease and the write"
		}
	}
	return ""
}

// wasLate takes an execution for one of the late requests that an activator has
// counted: it has sent no more than those.
func (a *auditor) wasLate(activator int, x Execution) bool {
	taken := a.late[activator]
	if taken[x.Name] {
		return true
	}
	if len(taken) >= a.Late[activator] {
		return false
	}
	if taken == nil {
		taken = map[string]bool{}
		a.late[activator] = taken
	}
	taken[x.Name] = true
	return true
}
