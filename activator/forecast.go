package activator

import (
	"time"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/jobs"
)

// forecast says where a request stands on its way and how many seconds are left
// until it is sent to a replica; nil is unknown.
func (a *Activator) forecast(e queue.Entry) (phase string, seconds *float64) {
	if e.State != queue.StateHeld {
		return "running", nil
	}
	rt := a.routes.Load()
	if rt == nil || rt.services[e.Service] == nil {
		return jobs.PhaseDecide, nil
	}
	s := rt.services[e.Service]
	slots := 0
	for _, o := range a.cfg.Queue.Offers(s.name) {
		slots += o.Slots
	}
	mean := s.meanSeconds()
	if slots > 0 { // it waits for a slot: one comes free every mean/slots
		if mean == 0 {
			return jobs.PhaseReady, nil
		}
		left := float64(e.Position) * mean / float64(slots)
		return jobs.PhaseReady, &left
	}
	st, known := a.cfg.Statuses.Status(s.name)
	if !known {
		return jobs.PhaseDecide, nil
	}
	phase = PhaseOf(st)
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

// PhaseOf says how far a cold start has come for those who wait for it, in the
// names of its phases: ready while replicas are there and all their slots are out.
func PhaseOf(st jobs.Status) string {
	switch {
	case st.Replicas.Ready > 0:
		return jobs.PhaseReady
	case st.Replicas.Starting > 0:
		return jobs.PhaseLoad
	case st.Replicas.Pending > 0:
		return jobs.PhasePlace
	}
	return jobs.PhaseDecide
}
