package activator

import (
	"time"

	"github.com/pilotlight/pilotlight/activator/queue"
)

// forecast says where a request stands on its way and how many seconds are left
// until it is sent to a replica; nil is unknown.
func (a *Activator) forecast(e queue.Entry) (phase string, seconds *float64) {
	if e.State != queue.StateHeld {
		return "running", nil
	}
	rt := a.routes.Load()
	if rt == nil || rt.services[e.Service] == nil {
		return "decide", nil
	}
	s := rt.services[e.Service]
	slots := 0
	for _, o := range a.cfg.Queue.Offers(s.name) {
		slots += o.Slots
	}
	mean := s.meanSeconds()
	if slots > 0 { // it waits for a slot: one comes free every mean/slots
		if mean == 0 {
			return "ready", nil
		}
		left := float64(e.Position) * mean / float64(slots)
		return "ready", &left
	}
	st, known := a.cfg.Statuses.Status(s.name)
	if !known {
		return "decide", nil
	}
	switch phase = "decide"; {
	case st.Replicas.Starting > 0:
		phase = "load"
	case st.Replicas.Pending > 0:
		phase = "place"
	}
	left := 0.0
	switch {
	case st.ETA != nil:
		left = *st.ETA - time.Since(st.At).Seconds()
	case st.Cold.P50 != nil:
		left = *st.Cold.P50
	default:
		return phase, nil
	}
	coming := max(1, st.Replicas.Starting+st.Replicas.Pending) * s.policy.Replicas.Concurrency
	left = max(left, 0) + float64(max(e.Position-1, 0)/coming)*mean
	return phase, &left
}
