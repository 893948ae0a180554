package soak

// unheard is how many calls of a request with a key ended without an answer: each
// may have been told that it failed, after which the key is free for another one.
func unheard(r *Request) int {
	n := 0
	for _, c := range r.Calls {
		if r.Keyed && (c.HungUp || c.Err != "" && !c.Refused) {
			n++
		}
	}
	return n
}

// attempts: a request is executed at most as often as its policy allows, and never
// twice at once but for an owner that was lost.
func (a *auditor) attempts(r *Request) {
	runs, allowed := a.runs[r.ID], a.services[r.Service].Attempts(r.Keyed)
	switch unheard := unheard(r); {
	case len(runs) <= allowed:
	case len(runs) <= allowed*(1+unheard):
		a.excused("a key was free again after a failure that its caller did not hear of")
	default:
		a.broken("attempts", r.ID, "%d executions, at most %d are allowed", len(runs), allowed)
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
