package soak

import (
	"slices"
	"time"
)

const (
	// overtake is how much later than another one's acceptance a request must have
	// been sent to be certainly behind it: longer than any slot is held free for
	// new ones by an activator that has not heard of those who wait (50 ms), or than
	// a ticket takes to Redis, on a machine that is busy with other things.
	overtake = 2 * time.Second
	// underway is how much later than another one a request may begin to run that
	// got its slot before: a message that is lost is found a second later.
	underway = 3 * time.Second
)

// order: of one service, a request that was sent when another one had been
// accepted already does not begin to run before it.
func (a *auditor) order() {
	for _, s := range a.Services {
		type began struct {
			*Request
			at time.Time
		}
		var list []began
		for _, r := range a.Requests {
			if runs := a.runs[r.ID]; r.Service == s.Name && len(runs) > 0 {
				list = append(list, began{r, runs[0].From})
			}
		}
		slices.SortFunc(list, func(x, y began) int { return x.at.Compare(y.at) })
		slack := underway
		if s.Concurrency*s.Most == 1 {
			slack = 0 // the one slot is free before the next one gets it
		}
		var latest []began // of those that have begun: each one sent later than all before it
		for _, x := range list {
			if known := a.numbered(x.Request); !known.IsZero() {
				excuse := ""
				for _, y := range latest {
					if y.Sent.After(known.Add(overtake)) && x.at.Sub(y.at) > slack {
						if excuse = a.excuse(x.Request, y.at); excuse == "" {
							a.broken("order", x.ID, "of %s: accepted by %s, it began at %s; request %s, sent at %s, began at %s",
								s.Name, clock(known), clock(x.at), y.ID, clock(y.Sent), clock(y.at))
							break
						}
					}
				}
				if excuse != "" {
					a.excused(excuse)
				}
			}
			if len(latest) == 0 || x.Sent.After(latest[len(latest)-1].Sent) {
				latest = append(latest, x)
			}
		}
	}
}

// excuse says why a request may have been passed by one that began at this moment;
// "" if nothing explains it. One without a key waits at its own activator: only when
// that one is stopped is its place given away.
func (a *auditor) excuse(r *Request, at time.Time) string {
	if a.during(at, at, time.Second, KillRedis, RestartRedis, StopRedis) {
		return "order: while Redis was away activators served their own waiters"
	}
	for _, f := range a.Faults {
		since := at.Sub(f.From)
		switch {
		case since < 0:
		case r.Keyed || r.Async:
			if (f.Kind == KillActivator || f.Kind == StopActivator) && since < 2*lease {
				return "order: a granted request lost its activator and came back to its place"
			}
		case f.Kind == StopActivator && f.Index == r.Calls[0].Activator && at.Sub(f.To) < 2*lease:
			return "order: a request's activator stood still, and asked for its place again when it went on"
		}
		if (f.Kind == KillReplica || f.Kind == KillScaler || f.Kind == StopScaler) && since >= 0 && since < diesWithin {
			return "order: a granted request lost its replica and came back to its place"
		}
	}
	return ""
}

// numbered is when a request certainly had its number; zero if that is not known.
func (a *auditor) numbered(r *Request) time.Time {
	if r.Async || r.Keyed {
		return r.Accepted
	}
	if len(r.Calls) == 0 {
		return time.Time{}
	}
	c := r.Calls[0]
	soon := r.Sent.Add(overtake)
	if a.redisAway(r.Sent, soon) || a.activatorDuring(c.Activator, r.Sent.Add(-overtake), soon, StopActivator) ||
		a.activatorDuring(c.Activator, r.Sent.Add(-overtake), soon, KillActivator) {
		return time.Time{}
	}
	return soon
}
