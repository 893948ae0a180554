package scaler

import (
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// logPatience is how long the judgement of a replica that ended waits for what
// its process wrote last. A fleet gives up reading one log a little sooner.
const logPatience = 2500 * time.Millisecond

// lastLogs are the last log lines of replicas that ended. A fleet reads them
// after it has seen the end, and whoever waited for the replica is told why it
// failed only once: so nothing is said of a failed start before they are there.
type lastLogs struct {
	awaited map[string]ending // by replica, not judged yet
	told    string            // the replica whose last words failures.Reason is; "": none's
}

// ending is a replica that is gone and may have more to say.
type ending struct {
	r  *replica
	at time.Time // when it was seen to be gone
}

// awaitLog puts off what the end of a replica means.
func (s *service) awaitLog(now time.Time, r *replica) {
	if s.logs.awaited == nil {
		s.logs.awaited = map[string]ending{}
	}
	s.logs.awaited[r.alloc.ID] = ending{r, now}
}

// hearLast takes in what a fleet has learned of a replica since it is gone.
func (s *service) hearLast(now time.Time, a jobs.Allocation) {
	switch e, awaited := s.logs.awaited[a.ID]; {
	case awaited:
		e.r.alloc.Failure = a.Failure
		if !a.LogDue {
			s.endWithout(now, a.ID)
		}
	case a.ID == s.logs.told && a.Failure != "" && a.Failure != s.failures.Reason:
		// Too late for those who waited, in time for those who come during the pause.
		s.failures.Reason = a.Failure
		s.changed, s.due, s.learned = true, true, true
	}
}

// endWithout goes on with the end of a replica, with the words that there are. It
// began when it was seen, or a pause after it would begin anew with its log.
func (s *service) endWithout(now time.Time, id string) {
	e, awaited := s.logs.awaited[id]
	if !awaited {
		return
	}
	delete(s.logs.awaited, id)
	s.ended(now, e.at, e.r)
}

// logsOverdue goes on with replicas whose log was awaited for long enough, and
// returns when the next one will have been.
func (s *service) logsOverdue(now time.Time) (next time.Time) {
	for id, e := range s.logs.awaited {
		if limit := e.at.Add(logPatience); now.Before(limit) {
			next = earlier(next, limit)
		} else {
			s.endWithout(now, id)
		}
	}
	return next
}
