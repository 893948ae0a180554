package soak

import (
	"fmt"
	"slices"
	"time"
)

// Violation of what the hold promises.
type Violation struct {
	Rule    string
	Request string // id; "" if it is about none
	What    string
}

func (v Violation) String() string {
	if v.Request == "" {
		return v.Rule + ": " + v.What
	}
	return v.Rule + ": request " + v.Request + ": " + v.What
}

// Verdict of Audit: what is broken, and how often an exception that the design
// states was made use of.
type Verdict struct {
	Violations []Violation
	Exceptions map[string]int
}

// auditor judges the evidence, rule by rule.
type auditor struct {
	Evidence
	Verdict
	services map[string]Service
	runs     map[string][]Execution // by request, in order
	requests map[string]*Request
	late     map[int]map[string]bool // by activator: executions taken for its late requests
}

// Audit judges evidence by every rule (package comment).
func Audit(e Evidence) Verdict {
	a := &auditor{Evidence: e, services: map[string]Service{}, runs: map[string][]Execution{}, requests: map[string]*Request{}, late: map[int]map[string]bool{}}
	a.Exceptions = map[string]int{}
	for _, s := range e.Services {
		a.services[s.Name] = s
	}
	for _, r := range e.Requests {
		a.requests[r.ID] = r
	}
	a.Executions = slices.Clone(e.Executions)
	slices.SortFunc(a.Executions, func(x, y Execution) int { return x.From.Compare(y.From) })
	for _, x := range a.Executions {
		a.runs[x.RequestID] = append(a.runs[x.RequestID], x)
		if a.requests[x.RequestID] == nil {
			a.broken("attempts", x.RequestID, "an execution of a request that nobody sent")
		}
	}
	for _, r := range e.Requests {
		a.accepted(r)
		a.answers(r)
		a.attempts(r)
	}
	a.slots()
	a.order()
	for _, left := range e.Leftovers {
		a.broken("leftovers", "", "%s", left)
	}
	return a.Verdict
}

func (a *auditor) broken(rule, request, format string, args ...any) {
	a.Violations = append(a.Violations, Violation{rule, request, fmt.Sprintf(format, args...)})
}

// excused counts an exception.
func (a *auditor) excused(which string) { a.Exceptions[which]++ }

// during reports whether a fault of one of the kinds was on at some time between
// from and to, or ended less than after before that.
func (a *auditor) during(from, to time.Time, after time.Duration, kinds ...string) bool {
	return slices.ContainsFunc(a.Faults, func(f Fault) bool {
		return slices.Contains(kinds, f.Kind) && !f.From.After(to) && !f.To.Add(after).Before(from)
	})
}

// activatorDuring is during of one activator alone.
func (a *auditor) activatorDuring(index int, from, to time.Time, kind string) bool {
	return slices.ContainsFunc(a.Faults, func(f Fault) bool {
		return f.Kind == kind && f.Index == index && !f.From.After(to.Add(skew)) && !f.To.Add(skew).Before(from)
	})
}

// stoodFor is how long an activator stood still between from and to.
func (a *auditor) stoodFor(index int, from, to time.Time) (sum time.Duration) {
	for _, f := range a.Faults {
		if f.Kind != StopActivator || f.Index != index {
			continue
		}
		began, ended := f.From, f.To
		if began.Before(from) {
			began = from
		}
		if ended.After(to) {
			ended = to
		}
		sum += max(ended.Sub(began), 0)
	}
	return sum
}

const (
	// skew is how far apart two processes may note the same event.
	skew = 100 * time.Millisecond
	// diesWithin is how long a replica may outlive the scaler that ran it, or be
	// answered for after it has died.
	diesWithin = 5 * time.Second
)

// replicaDied reports whether a replica may have died between from and to.
func (a *auditor) replicaDied(from, to time.Time) bool {
	return a.during(from, to, diesWithin, KillReplica, KillScaler, StopScaler)
}

// redisAway reports whether Redis did not answer, or what it said may not have
// been heard yet, between from and to.
func (a *auditor) redisAway(from, to time.Time) bool {
	return a.during(from, to, 2*lease, KillRedis, RestartRedis, StopRedis)
}

// lease of an activator (activator/queue).
const lease = 5 * time.Second
