package soak

import "slices"

// anew reports whether the executions of a request from i on may be of a ticket of
// its own: its key was free again after a failure that its caller was told of, or
// did not hear, and it has come back since the last execution of the former ticket
// began. The key of an answer is not freed.
func (a *auditor) anew(r *Request, i int) bool {
	last, next := a.runs[r.ID][i-1].From.Add(-skew), a.runs[r.ID][i].From.Add(skew)
	failed, back := false, false
	for _, c := range r.Calls {
		if c.Execution != "" && c.Answered() && slices.ContainsFunc(a.runs[r.ID][:i], func(x Execution) bool { return x.Name == c.Execution }) {
			return false
		}
		if c.What == "state" || c.What == "result" || c.What == "DELETE" || c.At.After(next) {
			continue // it begins nothing
		}
		failed = failed || frees(c) && c.At.Before(last)
		late := a.activatorDuring(c.Activator, c.At, next, StopActivator) || a.redisAway(c.At, next) // it may have been read only then
		back = back || late || !c.At.Before(last)
	}
	return r.Keyed && failed && back
}

// frees reports whether a call may have been told that its request has failed, or has
// not heard it: of two that were sent at once the other comes back all the same.
func frees(c Call) bool {
	return passing(c) && !c.Refused || c.Problem == "upstream-failed" || c.Problem == "upstream-timeout"
}

// attempts: a request is executed at most as often as its policy allows, and never
// twice at once but for an owner that was lost.
func (a *auditor) attempts(r *Request) {
	runs, allowed := a.runs[r.ID], a.services[r.Service].Attempts(r.Keyed)
	ticket := 0 // the first execution of the present one
	for i := range runs {
		if i-ticket < allowed {
			continue
		}
		next := i
		for next > ticket && !a.anew(r, next) {
			next--
		}
		if next == ticket {
			a.broken("attempts", r.ID, "%d executions, at most %d are allowed", len(runs), allowed)
			break
		}
		ticket = next
		a.excused("a key was free again after a failure, and its caller came back")
	}
	for i := 1; i < len(runs); i++ {
		before, now := runs[i-1], runs[i]
		if before.To.IsZero() || !before.To.After(now.From) {
			continue
		}
		switch {
		case a.during(before.From, now.From, lease, KillActivator, StopActivator):
			a.excused("an adopted request ran beside the run of its lost owner")
		case a.redisAway(before.From, now.From):
			a.excused("a request ran twice at once after Redis was away")
		default:
			a.broken("attempts", r.ID, "%s (%s to %s) and %s (from %s) ran at once, and no owner was lost",
				before.Name, clock(before.From), clock(before.To), now.Name, clock(now.From))
		}
	}
}
