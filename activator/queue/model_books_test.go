package queue

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// books are what Redis believes at one moment.
type books struct {
	slots      map[string]int  // replica → offered
	held       map[at]int      // owned, as was stated or leased since
	grants     map[string]at   // ticket → where
	quarantine map[at]int      // of dead activators; what they left behind when they came back is theirs, too
	queue      []position      // those that wait, in order
	silent     map[string]bool // tickets of connections whose activator has not been heard since it was cut off or stood still
	life       string          // of the ledger
}

// at a replica, of an activator.
type at struct{ replica, activator string }

// position in the queue.
type position struct {
	id    string
	score float64
	epoch string // "": a connection's
}

func (p position) level() int { return int(p.score / 9e14) }

func (m *model) read() books {
	p := prefix("translate")
	b := books{slots: map[string]int{}, held: map[at]int{}, grants: map[string]at{}, quarantine: map[at]int{}, silent: map[string]bool{}}
	rows := func(key string) map[string]string {
		out := map[string]string{}
		fields, _ := m.redis.HKeys(p + key) // an error: there are none
		for _, f := range fields {
			out[f] = m.redis.HGet(p+key, f)
		}
		return out
	}
	first := func(value string) int {
		n, _ := strconv.Atoi(strings.Split(value, "|")[0])
		return n
	}
	for id, raw := range rows("offers") {
		var offer jobs.SlotOffer
		if err := json.Unmarshal([]byte(raw), &offer); err != nil {
			m.fail("the offer of %s is %q", id, raw)
		}
		b.slots[id] = offer.Slots
	}
	for field, value := range rows("held") {
		replica, activator, _ := strings.Cut(field, "|")
		b.held[at{replica, activator}] = first(value)
	}
	for ticket, value := range rows("grants") {
		part := strings.Split(value, "|")
		b.grants[ticket] = at{part[0], part[1]}
	}
	for field, value := range rows("quarantine") {
		replica, activator, _ := strings.Cut(field, "|")
		activator, _, _ = strings.Cut(activator, "~")
		b.quarantine[at{replica, activator}] += first(value)
	}
	b.life = m.redis.HGet(p+"ledger", "life")
	for _, w := range m.waits {
		b.silent[w.id] = b.silent[w.id] || w.waits() && !w.actor.current()
	}
	scores, _ := m.redis.SortedSet(p + "queue")
	ids, _ := m.redis.ZMembers(p + "queue") // by score
	for _, id := range ids {
		b.queue = append(b.queue, position{id, scores[id], m.redis.HGet(p+"ticket:"+id, "epoch")})
	}
	return b
}

// out is how many slots of a replica are out.
func (b *books) out(replica string) int {
	n := 0
	for where, owned := range b.held {
		if where.replica == replica {
			n += owned
		}
	}
	for _, where := range b.grants {
		if where.replica == replica {
			n++
		}
	}
	for where, slots := range b.quarantine {
		if where.replica == replica {
			n += slots
		}
	}
	return n
}

// counted for an activator at a replica; of grants only those that ok accepts.
func (b *books) counted(where at, ok func(ticket string) bool) int {
	n := b.held[where]
	for ticket, of := range b.grants {
		if of == where && ok(ticket) {
			n++
		}
	}
	return n
}

// checkBooks: whatever an activator may use, Redis counts as its; whatever a dead one
// has left at a replica is quarantined; and no more is out than is offered, unless
// somebody came back with what was not known.
func (m *model) checkBooks(b *books) {
	for _, a := range m.actors {
		if s := a.known("translate"); s != nil && a.current() {
			m.checkOwned(b, a, s)
		}
	}
	orphans := map[at]int{}
	now := time.Now()
	for _, u := range m.uses {
		if u.actor.dead && u.runs(now) {
			orphans[at{u.slot.Replica, u.actor.Activator()}]++
		}
	}
	for where, n := range orphans {
		if has := b.counted(where, func(string) bool { return true }) + b.quarantine[where]; has < n {
			m.fail("%s died with %d requests at %s, of which Redis knows %d", where.activator, n, where.replica, has)
		}
	}
	m.checkOut(b)
}

// checkOwned: an activator lowers what it owns before it says so, and raises it after
// it was told.
func (m *model) checkOwned(b *books, a *actor, s *service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !within(s.renewed, time.Now(), a.cfg.term()) || !s.outage.IsZero() || s.life != b.life || !s.renewed.After(m.lostAt) {
		return // it uses nothing but what it has in flight, or has not heard of what was lost
	}
	for _, r := range s.replicas {
		has := b.counted(at{r.ID, a.Activator()}, func(ticket string) bool { _, taken := s.acks[ticket]; return taken })
		if r.owned > has {
			m.fail("%s owns %d slots of %s, of which Redis knows %d", a.Activator(), r.owned, r.ID, has)
		}
	}
}

func (m *model) checkOut(b *books) {
	settled := true
	for _, a := range m.actors {
		settled = settled && a.current() && a.back.IsZero()
	}
	for i := range concurrency {
		id := fmt.Sprintf("r%d", i)
		out := b.out(id)
		switch {
		case out <= b.slots[id]:
			m.over[id] = false
		case b.slots[id] < m.before.slots[id] || !settled || m.lost:
			m.over[id] = true
		case !m.over[id]:
			m.fail("%d slots of %s are out, which has %d", out, id, b.slots[id])
		}
	}
}

// checkOrder: who has been granted a slot since the last look stood before all of its
// priority that still wait; and a place is kept once its activator knows it. The
// tickets of one that was silent may have been forgotten meanwhile, as a dead one's, and
// asked for again.
func (m *model) checkOrder(b *books) {
	now := map[string]position{}
	for _, p := range b.queue {
		now[p.id] = p
		if !m.told(p) {
			continue
		}
		if was, known := m.scores[p.id]; known && was != p.score && !m.ghost(p) {
			m.fail("the place of %s was %.0f and is %.0f", p.id, was, p.score)
		}
		m.scores[p.id] = p.score
	}
	for i, p := range m.before.queue {
		if _, waits := now[p.id]; waits || !m.granted(b, p) {
			continue
		}
		if kept, known := m.scores[p.id]; known && kept != p.score {
			continue // it was at a late call's place, and has gone back to its own
		}
		for _, earlier := range m.before.queue[:i] {
			still, waits := now[earlier.id] // or has its slot, and Redis was not told yet
			if waits && still == earlier && earlier.level() == p.level() && !m.before.silent[earlier.id] && !m.ghost(earlier) {
				m.fail("%s has a slot, and %s, which came earlier, waits", p.id, earlier.id)
			}
		}
	}
}

// ghost reports whether nobody waits for a connection's ticket any more: a call that
// came late has brought it back.
func (m *model) ghost(p position) bool {
	return p.epoch == "" && !slices.ContainsFunc(m.waits, func(w *waiting) bool { return w.id == p.id && w.waits() })
}

// told reports whether the activator of one that waits has heard of its place, and
// takes it for known: a ticket whose activator is buried before it has is asked for
// anew, and one that a late call brings back is at its place once it is asked for.
func (m *model) told(p position) bool {
	if p.epoch != "" {
		return true
	}
	for _, w := range m.waits {
		if s := w.actor.known("translate"); w.id == p.id && s != nil && w.actor.current() {
			s.mu.Lock()
			defer s.mu.Unlock()
			held := s.waiters[p.id]
			return held != nil && held.numbered && held.ticket.Seq != 0
		}
	}
	return false
}

// claimed reports whether a run that Redis has forgotten goes on: what its activator
// tells Redis of it is no new grant.
func (m *model) claimed(id string) bool {
	return m.lost && slices.ContainsFunc(m.uses, func(u *use) bool { return u.id == id && !u.gone && !u.orphan() && m.looked[u] })
}

// granted reports whether Redis has given a slot to one that waited.
func (m *model) granted(b *books, p position) bool {
	if _, ok := b.grants[p.id]; ok {
		return true
	}
	if p.epoch != "" {
		return m.redis.HGet(prefix("translate")+"ticket:"+p.id, "epoch") != p.epoch && !m.claimed(p.id)
	}
	return slices.ContainsFunc(m.uses, func(u *use) bool { return u.id == p.id && u.granted && !m.looked[u] })
}
