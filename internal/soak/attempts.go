package soak

// attempts: a request is executed at most as often as its policy allows, and never
// twice at once but for an owner that was lost.
func (a *auditor) attempts(r *Request) {
	runs, allowed := a.runs[r.ID], a.services[r.Service].Attempts(r.Keyed)
	if len(runs) > allowed {
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
