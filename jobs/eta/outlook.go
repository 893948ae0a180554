package eta

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// Outlook is what a request of a service waits for: the slots that are there, and
// the replicas on their way.
type Outlook struct {
	Free    int           // slots that nobody has
	Slots   int           // of the ready replicas, Free among them
	Service float64       // S: mean seconds of a request in a slot; 0: unknown
	Coming  []jobs.Coming // from now on; Left nil: unknown when
}

// stale is how old a status may be until what it says of starts is not believed
// any more: the scaler publishes each second while any is under way.
const stale = 15 * time.Second

// Read is the outlook by a status, at a moment. What was left when the status was
// made has passed in part since.
func Read(st jobs.Status, now time.Time) Outlook {
	var o Outlook
	for _, r := range st.Replicas.List {
		if r.Phase == jobs.Ready {
			o.Slots += r.Slots
		}
	}
	o.Free = max(0, o.Slots-st.Demand.InFlight)
	if st.Service != nil {
		o.Service = *st.Service
	}
	age := max(0, now.Sub(st.At))
	for _, c := range st.Coming {
		switch {
		case age > stale:
			c.Left = nil
		case c.Left != nil:
			c.Left = c.Left.After(age)
		}
		o.Coming = append(o.Coming, c)
	}
	return o
}

// Wait is how many seconds a place in the queue, from 1, waits for its slot; nil if
// that is unknown. It grows with the place.
func (o Outlook) Wait(position int) *float64 {
	return wait(position, o.Free, o.Slots, o.Service, o.Coming, func(e *jobs.Estimate) float64 { return e.P50 })
}

// Latest is Wait with starts that last as long as the longest tenth of the past ones.
func (o Outlook) Latest(position int) *float64 {
	return wait(position, o.Free, o.Slots, o.Service, o.Coming, func(e *jobs.Estimate) float64 { return e.P90 })
}

// Launching is the outlook of a request for which a replica of so many slots is
// launched this moment, because none is there or on its way.
func (o Outlook) Launching(slots int, start *jobs.Estimate) Outlook {
	if o.Slots == 0 && len(o.Coming) == 0 {
		o.Coming = []jobs.Coming{{Phase: jobs.PhaseDecide, Slots: slots, Left: start}}
	}
	return o
}

// hurried is how many times as fast as its mean a queue may drain in a hopeful
// reckoning.
const hurried = 2.0

// enough past starts say how fast the fastest are.
const enough = 5

// Soonest is Wait at its most hopeful: starts that last as long as the shortest
// tenth of the past ones, whatever is in flight over this moment, requests after
// that which take half as long as their mean, and extra more replicas of so many
// slots, each launched this moment and taking start. A
// deadline before that is past hope. nil if anything of it is unknown, or rests on
// fewer than five past starts: nobody is refused for a guess.
func (o Outlook) Soonest(position, extra, slots int, start *jobs.Estimate) *float64 {
	coming := slices.Clone(o.Coming)
	for range extra {
		coming = append(coming, jobs.Coming{Slots: slots, Left: start})
	}
	for _, c := range coming {
		if c.Left == nil || c.Left.Seen < enough {
			return nil
		}
	}
	return wait(position, o.Slots, o.Slots, o.Service/hurried, coming, func(e *jobs.Estimate) float64 { return e.P10 })
}

// wait solves n(t) = position: n counts the slots that have come free by t. Nothing
// of what comes at an unknown time is counted.
func wait(position, free, slots int, service float64, coming []jobs.Coming, quantile func(*jobs.Estimate) float64) *float64 {
	p, n, t := float64(max(position, 1)), float64(free), 0.0
	rate := func() float64 { // slots that come free in a second
		if service <= 0 {
			return 0
		}
		return float64(slots) / service
	}
	known := make([]jobs.Coming, 0, len(coming))
	for _, c := range coming {
		if c.Left != nil && c.Slots > 0 {
			known = append(known, c)
		}
	}
	slices.SortFunc(known, func(a, b jobs.Coming) int { return cmp.Compare(quantile(a.Left), quantile(b.Left)) })
	for _, c := range known {
		if n >= p {
			break
		}
		at := max(quantile(c.Left), t)
		if then := n + rate()*(at-t); then >= p {
			break
		} else {
			n, t = then+float64(c.Slots), at
			slots += c.Slots
		}
	}
	switch r := rate(); {
	case n >= p:
	case r == 0:
		return nil
	default:
		t += (p - n) / r
	}
	if t = milli(t); math.IsInf(t, 0) || math.IsNaN(t) {
		return nil
	}
	return &t
}
