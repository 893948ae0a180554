package queue

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// item is one row of a settle answer.
type item struct{ kind, id, a, b string }

func itemsOf(reply []any) []item {
	var out []item
	for i := 0; i+3 < len(reply); i += 4 {
		out = append(out, item{text(reply[i]), text(reply[i+1]), text(reply[i+2]), text(reply[i+3])})
	}
	return out
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return ""
}

// applyLocked takes the rest of a settle answer in: offers first, because grants
// and leases speak of them.
func (s *service) applyLocked(reply []any, st *statement, sent time.Time) {
	items := itemsOf(reply)
	for _, r := range s.replicas {
		r.offered = false
		r.told = max(st.Held[r.ID][1], st.Held[r.ID][2])
	}
	for _, it := range items {
		switch it.kind {
		case "o":
			var offer jobs.SlotOffer
			if err := json.Unmarshal([]byte(it.a), &offer); err == nil {
				s.offerLocked(offer)
			}
		case "s": // silent
			s.q.askAfter(it.id, it.a, []string{s.name})
		}
	}
	s.heardReadyLocked(slices.ContainsFunc(s.replicas, func(r *replica) bool { return r.offered && r.Slots > 0 }))
	for _, it := range items {
		switch it.kind {
		case "r": // less than was stated: the rest is others', or will be once we say less
			if r := s.find(it.id); r != nil {
				r.owned = max(r.busy, min(r.owned, int(number(it.a))))
				s.kick()
			}
		case "l":
			if r := s.find(it.id); r != nil {
				r.owned += int(number(it.a))
			}
		case "g":
			s.acceptLocked(it.id, it.a, sent)
		case "x":
			epoch, timeout, _ := strings.Cut(it.b, "|")
			s.acceptDurableLocked(it.id, it.a, number(epoch), time.Duration(number(timeout))*time.Millisecond, sent)
		}
	}
	s.replicas = slices.DeleteFunc(s.replicas, func(r *replica) bool { return !r.offered && r.busy == 0 })
}

// offerLocked notes a replica that has slots, or drains (Slots 0).
func (s *service) offerLocked(offer jobs.SlotOffer) {
	r := s.find(offer.ID)
	if r == nil {
		r = &replica{}
		s.replicas = append(s.replicas, r)
	}
	if r.SlotOffer != offer {
		r.SlotOffer, r.suspectTo = offer, time.Time{}
		slices.SortFunc(s.replicas, func(a, b *replica) int {
			return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.ID, b.ID))
		})
	}
	r.offered = true
}

// acceptLocked takes a grant of Redis: the slot is ours, its ticket has left
// the queue. A grant for somebody who has gone is acknowledged without owning
// the slot, which frees it.
func (s *service) acceptLocked(ticket, replicaID string, sent time.Time) {
	if _, taken := s.acks[ticket]; taken {
		return // told twice; who waits now holds the ticket again, for a retry
	}
	w := s.waiters[ticket]
	if w == nil {
		s.acks[ticket] = 0
		return
	}
	r := s.find(replicaID)
	if r == nil || !r.offered { // gone since: asking again takes the grant back, and the old place
		w.numbered = false
		return
	}
	s.acks[ticket] = 0
	w.granted(s)
	r.owned++
	s.longest.hear(w.limits.Timeout, time.Now()) // its own: while it waited others may have come with less
	s.endLocked(w, outcome{slot: s.slotLocked(r, sent)})
}
