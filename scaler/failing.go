package scaler

import "time"

// ends are the requests that have left their slots within the last minute: how
// many, and how many of them failed (5xx, or given up). They are shown and decide
// nothing: a replica that fails fast would look idle, and one more would fail too.
type ends struct{ list []ended }

type ended struct {
	at                time.Time
	completed, failed uint64 // since the entry before
}

func (e *ends) add(now time.Time, completed, failed uint64) {
	if completed > 0 {
		e.list = append(e.list, ended{now, completed, min(failed, completed)})
	}
	e.prune(now)
}

func (e *ends) prune(now time.Time) {
	for len(e.list) > 0 && now.Sub(e.list[0].at) > shown {
		e.list = e.list[1:]
	}
	if len(e.list) == 0 {
		e.list = nil
	}
}

// failing is the share that failed, 0 to 1; nil if none has ended, which is
// unknown and not 0.
func (e *ends) failing(now time.Time) *float64 {
	e.prune(now)
	var completed, failed uint64
	for _, x := range e.list {
		completed, failed = completed+x.completed, failed+x.failed
	}
	if completed == 0 {
		return nil
	}
	return figure(float64(failed) / float64(completed))
}
