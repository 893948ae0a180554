package queue

import "time"

// A wait may be cold more than once, and from its middle on: the replicas may all go
// while a request waits, above all one whose own replica has died and that is tried
// again. So each service has a clock that runs while no replica is ready; a wait is
// cold for as long as that has gone on.

// readyLocked reports whether a replica has slots, as last heard.
func (s *service) readyLocked() bool { return s.coldSince.IsZero() }

// heardReadyLocked takes in what Redis says of that.
func (s *service) heardReadyLocked(ready bool) {
	now := time.Now()
	if !ready {
		s.coldHeard = now
	}
	switch {
	case ready && !s.coldSince.IsZero():
		s.cold += now.Sub(s.coldSince)
		s.coldSince = time.Time{}
	case !ready && s.coldSince.IsZero():
		s.coldSince = now
	}
}

// coldLocked is how long no replica was ready, all such times together.
func (s *service) coldLocked(now time.Time) time.Duration {
	if s.coldSince.IsZero() {
		return s.cold
	}
	return s.cold + now.Sub(s.coldSince)
}

// begins notes that a wait begins.
func (w *waiter) begins(s *service) {
	w.wait.Cold, w.coldAt = !s.readyLocked(), s.coldLocked(w.wait.From)
	w.heard = w.ticket.Seq > 0 // tried again: this process has just heard
}

// heardReady takes in what the first call of a wait has found: what this process knew
// before was of an earlier time.
func (w *waiter) heardReady(s *service, ready bool) {
	now := time.Now()
	was := s.readyLocked()
	w.heard = true
	s.heardReadyLocked(ready)
	switch {
	case ready:
		w.wait.Cold, w.coldAt = false, s.coldLocked(now)
	case was:
		w.wait.Cold, w.coldAt = true, s.coldLocked(now)-now.Sub(w.wait.From)
	}
}

// granted notes that a wait has its slot. If that comes before the answer to its first
// call, and nothing has told since it began that no replica was ready, one was.
func (w *waiter) granted(s *service) {
	if !w.heard && s.coldHeard.Before(w.wait.From) {
		w.heardReady(s, true)
	}
}

// ends notes that a wait ends.
func (w *waiter) ends(s *service) {
	w.wait.ColdFor = s.coldLocked(time.Now()) - w.coldAt
	w.wait.Cold = w.wait.Cold || w.wait.ColdFor > 0
}

// ColdTime is for how long no replica of a service was ready, all such times together,
// as this activator has heard, and whether none is: the difference between two moments
// is the cold part of a wait between them.
func (q *Queue) ColdTime(service string) (total time.Duration, cold bool) {
	s := q.service(service)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.coldLocked(time.Now()), !s.readyLocked()
}
