package soak

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// accepted: what was accepted reaches a final state, and whatever fails does so
// for a reason that was true.
func (a *auditor) accepted(r *Request) {
	for _, c := range r.Calls {
		if why := a.unexplained(r, c); why != "" {
			a.broken("accepted", r.ID, "%s at activator %d, %s to %s: %s", c.What, c.Activator, clock(c.At), clock(c.Until), why)
		}
	}
	switch {
	case r.Async && !r.Accepted.IsZero():
		a.final(r)
	case r.Keyed && (len(r.Calls) == 0 || passing(lastPost(r))):
		a.broken("accepted", r.ID, "it was never answered")
	}
}

// lastPost of the calls that ask for the answer.
func lastPost(r *Request) Call {
	for _, c := range slices.Backward(r.Calls) {
		if c.What == "POST" {
			return c
		}
	}
	return Call{Err: "no call"}
}

// final state of an async request.
func (a *auditor) final(r *Request) {
	switch r.State {
	case "succeeded":
	case "cancelled":
		if !slices.ContainsFunc(r.Calls, func(c Call) bool { return c.What == "DELETE" }) {
			a.broken("accepted", r.ID, "it was cancelled, and nobody asked for that")
		}
	case "failed":
		tried := r.Reason == "attempts" || r.Reason == "upstream-failed"
		if r.Reason == "deadline" || !a.died(r.Sent, r.Settled) || tried && !a.usedUp(r, r.Settled) {
			a.broken("accepted", r.ID, "it failed (%s), and nothing that it met explains that", r.Reason)
		}
	default:
		a.broken("accepted", r.ID, "it was accepted at %s and has no final state", clock(r.Accepted))
	}
}

// died reports whether there was anything between from and to that ends the run of
// a request: its replica, its activator, or that one's lease.
func (a *auditor) died(from, to time.Time) bool {
	return a.replicaDied(from, to) || a.during(from, to, lease, KillActivator, StopActivator)
}

// usedUp reports whether a request may have been tried as often as allowed until then:
// it ran so often, or met as many deaths. One of an activator or a replica costs it an
// attempt, and one of a scaler as many as its service has replicas; a replica that
// refuses costs none.
func (a *auditor) usedUp(r *Request, until time.Time) bool {
	service, deaths := a.services[r.Service], 0
	allowed := service.Attempts(r.Keyed)
	if len(a.runs[r.ID]) >= allowed {
		return true
	}
	for _, f := range a.Faults {
		switch {
		case f.From.After(until) || f.To.Add(diesWithin).Before(r.Sent):
		case f.Kind == KillScaler, f.Kind == StopScaler:
			deaths += service.Most
		case f.Kind == KillActivator, f.Kind == StopActivator, f.Kind == KillReplica:
			deaths++
		}
	}
	return deaths >= allowed
}

// ownerLost reports whether the activator that ran a request, which need not be the
// one that was asked, may have died in the middle of its answer.
func (a *auditor) ownerLost(r *Request, c Call) bool {
	return (r.Keyed || r.Async) && a.during(c.At, c.Until, lease, KillActivator, StopActivator)
}

// enough of its activator's time for a call to be answered.
const enough = time.Minute

// unexplained says what is wrong with the outcome of a call; "" nothing.
func (a *auditor) unexplained(r *Request, c Call) string {
	killed := a.activatorDuring(c.Activator, c.At, c.Until, KillActivator)
	stood := a.activatorDuring(c.Activator, c.At, c.Until, StopActivator)
	switch {
	case c.HungUp:
		return ""
	case c.Err != "" && c.Until.Sub(c.At) >= patience-time.Second:
		if c.Until.Sub(c.At)-a.stoodFor(c.Activator, c.At, c.Until) < enough {
			a.excused("a call was not answered in time whose activator stood still for most of it")
			return ""
		}
		return "no answer within " + patience.String()
	case c.Refused && !killed:
		return "nobody listened, and the activator was not killed"
	case c.Err != "" && !killed && !stood && !a.replicaDied(c.At, c.Until) && !a.ownerLost(r, c):
		return "the connection broke (" + c.Err + "), and neither its activator nor its replica died"
	case c.Problem == "":
		return ""
	}
	switch c.Problem {
	case "queue-full", "no-capacity":
		return ""
	case "upstream-failed":
		if a.died(r.Sent, c.Until) && (strings.Contains(c.Detail, "broke off") || a.usedUp(r, c.Until)) {
			return ""
		}
	case "upstream-timeout":
		if a.during(r.Sent, c.Until, requestTimeout, StopActivator) {
			return ""
		}
	case "store-unavailable":
		if killed || stood || a.during(c.At, c.Until, lease, KillRedis, RestartRedis, StopRedis) {
			return ""
		}
	case "start-failed":
		if a.replicaDied(c.At.Add(-time.Minute), c.Until) {
			return ""
		}
	case "request-cancelled":
		if slices.ContainsFunc(r.Calls, func(c Call) bool { return c.What == "DELETE" }) {
			return ""
		}
	}
	return "it was told " + http.StatusText(c.Status) + " " + c.Problem + ", and nothing explains that"
}
