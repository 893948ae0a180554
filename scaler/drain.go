package scaler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

const (
	drainPoll  = 100 * time.Millisecond // between looks at the slots of a draining replica
	offerRetry = 200 * time.Millisecond // after the ledger could not be told
	offerAgain = 2 * time.Second        // an offer is repeated: a ledger may have lost its data, or heard a stale leader
	adoptGrace = 2 * time.Second        // for the first probe of adopted replicas
)

// drained reports whether a replica may be stopped: it never had slots, or all
// of them have come back since the ledger confirmed that it has none to give,
// or drain_timeout is over. Without knowing the demand nothing is stopped that
// may be in use.
func (s *service) drained(now time.Time, r *replica) bool {
	switch {
	case r == nil || !r.offered:
		return true
	case r.draining.IsZero(): // stopped by its fleet, or a stop was asked for
		return true
	case !s.knows(now):
		return false
	case !r.withdrawn.IsZero() && !s.demand.asked.Before(r.withdrawn) && s.demand.SlotsOut[r.alloc.ID] == 0:
		return true
	}
	return now.Sub(r.draining) >= s.policy.ScaleDown.DrainTimeout
}

// drains reports whether a replica is on its way out and not asked to stop.
func (s *service) drains() bool {
	for _, r := range s.replicas {
		if !r.draining.IsZero() && r.stopAsked.IsZero() {
			return true
		}
	}
	return false
}

// noteCut notes the requests of a replica whose stop was obeyed though they were
// in flight. A scale call alone does not tell: it may be refused.
func (s *service) noteCut(r *replica) {
	if r.cut > 0 && r.alloc.Desired != jobs.DesiredRun {
		if s.cuts == nil {
			s.cuts = map[string]int{}
		}
		s.cuts[r.alloc.ID], r.cut = r.cut, 0
	}
}

// tellCuts counts what was cut, and stores a decision that names it.
func (s *service) tellCuts(now time.Time) {
	if len(s.cuts) == 0 {
		return
	}
	total := sum(s.cuts)
	victims := slices.Sorted(maps.Keys(s.cuts))
	wanted := s.decision.To
	s.entry.Decisions = append(s.entry.Decisions, decide.Decision{
		Service: s.name, At: now.UTC(), From: wanted, To: wanted, Rule: "drain-timeout",
		Reason: fmt.Sprintf("%d in flight at %s cut after the drain timeout of %v",
			total, strings.Join(victims, ", "), s.policy.ScaleDown.DrainTimeout),
		Inputs:        map[string]any{"victims": victims, "cut": total},
		PolicyVersion: s.version,
	})
	s.ses.metrics.cut.WithLabelValues(s.name).Add(float64(total))
	s.cuts, s.changed = nil, true
}

// offers is which replicas have slots now, all of them, by index. One with no
// slots is still there: its requests are finishing, or its probe is silent.
func (s *service) offers() []jobs.SlotOffer {
	list := []jobs.SlotOffer{}
	for _, r := range s.inOrder() {
		o := jobs.SlotOffer{ID: r.alloc.ID, Address: r.alloc.Address, Index: r.alloc.Index}
		switch {
		case r.phase == jobs.Ready:
			o.Slots = s.policy.Replicas.Concurrency
		case r.phase == jobs.Gone, !r.offered, r.alloc.Address == "":
			continue
		}
		list = append(list, o)
	}
	return list
}

// adopting reports whether replicas found at the start have not been probed
// yet. Until then nothing is offered: an offer without them would call them gone.
func (s *service) adopting(now time.Time) bool {
	if now.Sub(s.adoptedAt) >= adoptGrace {
		return false
	}
	for _, r := range s.replicas {
		if r.offered && !r.probed && r.alloc.Address != "" && r.alloc.MayServe() {
			return true
		}
	}
	return false
}

// offer tells the slot ledger what changed. It returns when it wants to be
// called again though nothing happens.
func (s *service) offer(now time.Time) (again time.Time) {
	t := s.ses.acting()
	if t == nil || s.offering.busy {
		return time.Time{}
	}
	if !s.adopted {
		return time.Time{}
	}
	if s.adopting(now) {
		return s.adoptedAt.Add(adoptGrace)
	}
	offers := s.offers()
	if s.offeredOK && slices.Equal(offers, s.offered) {
		if len(offers) == 0 {
			return time.Time{}
		}
		if again := s.offeredAt.Add(offerAgain); now.Before(again) {
			return again
		}
	} else if now.Before(s.offerAfter) {
		return s.offerAfter
	}
	for _, o := range offers {
		if r := s.replicas[o.ID]; o.Slots > 0 {
			r.offered, r.withdrawn = true, time.Time{}
		}
	}
	s.offered, s.offeredAt, s.offeredOK = offers, now, false
	s.call(&s.offering, now, func() func(time.Time) {
		if len(offers) == 0 { // no slots: nobody waits for that
			defer s.ses.bulk.enter(t.ctx, nil)()
		}
		err := s.ses.cfg.Ledger.Offer(t.ctx, s.name, t.epoch, offers)
		return func(now time.Time) { s.onOffered(now, t, offers, err) }
	})
	return time.Time{}
}

// onOffered takes in that the ledger was told, or not.
func (s *service) onOffered(now time.Time, t *term, offers []jobs.SlotOffer, err error) {
	if s.outranked(t, err) {
		return
	}
	if err != nil {
		s.offerAfter = now.Add(offerRetry)
		if !s.offerFailed && s.ctx.Err() == nil {
			s.log.Warn("cannot tell the slot ledger", "err", err)
		}
		s.offerFailed = true
		return
	}
	s.offeredOK, s.offerFailed = true, false
	for _, o := range offers {
		if r := s.replicas[o.ID]; r != nil && o.Slots == 0 && r.withdrawn.IsZero() {
			r.withdrawn = now
		}
	}
	if s.drains() {
		s.reread(now)
	}
}
