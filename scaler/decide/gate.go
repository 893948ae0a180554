package decide

import (
	"fmt"
	"time"
)

// Sleep remembers a sleep that an operator asked for: it lasts until the next
// demand after it began, even while the operator's flag is still up.
type Sleep struct {
	At       time.Time `json:"at,omitzero"` // it began; zero: none
	Arrivals uint64    `json:"arrivals,omitempty"`
	Over     bool      `json:"over,omitempty"` // demand has ended it
}

// settle is how long after its beginning arrivals that are reported late still
// belong to the time before a sleep.
const settle = 2 * time.Second

// observe follows the operator's flag and ends the sleep at a demand that came
// after it began.
func (s Sleep) observe(now time.Time, snap *Snapshot) Sleep {
	op := snap.Operator
	if !op.Asleep {
		return Sleep{}
	}
	if s.At.IsZero() || op.SleepAt.After(s.At) {
		at := op.SleepAt
		if at.IsZero() || at.After(now) {
			at = now
		}
		s = Sleep{At: at, Arrivals: snap.Arrivals}
		for i := range snap.Replicas { // a Memory was lost: somebody has ended the sleep before
			s.Over = s.Over || !op.SleepAt.IsZero() && snap.Replicas[i].Launched.After(at)
		}
	}
	if s.Over {
		return s
	}
	s.Over = op.WakeAt.After(s.At)
	if snap.Known && snap.Held > 0 {
		s.Over = s.Over || snap.OldestHold.After(s.At) || now.Sub(s.At) > settle && snap.Arrivals > s.Arrivals
	}
	if now.Sub(s.At) <= settle {
		s.Arrivals = max(s.Arrivals, snap.Arrivals)
	}
	return s
}

// gate is the first step: what a person has set, and what is not known, come
// before any arithmetic.
func (l *look) gate() bool {
	op := l.snap.Operator
	switch {
	case l.snap.Out != nil:
		l.settle(0, l.snap.Out.Rule, clip(l.snap.Out.Reason))
	case op.Paused:
		l.settle(l.count, "paused", "paused"+by(op)+fmt.Sprintf(": count stays at %d", l.count))
	case l.snap.Hand.held(l.now):
		h := l.snap.Hand
		l.settle(max(0, h.Count), "by-hand", fmt.Sprintf("count set to %d by hand%s: held until %s or unpin",
			h.Count, said(h.By), h.Until.UTC().Format("15:04:05")))
	case op.Pinned != nil:
		n := min(max(*op.Pinned, 0), l.p.Replicas.Max)
		l.settle(n, "pinned", fmt.Sprintf("pinned to %d%s", n, by(op)))
	case op.Asleep && !l.mem.Sleep.Over:
		l.settle(0, "asleep", "asleep until the next request"+by(op))
	case !l.snap.Known:
		n := l.clamp(l.count)
		if l.waking {
			n = min(max(n, 1), l.p.Replicas.Max)
		}
		l.settle(n, "unknown-demand", fmt.Sprintf("demand unknown: the slot ledger was not read for 3 ticks; count held at %d", n))
	default:
		return false
	}
	// An evaluation that falls into this time is left out, not made up for: the
	// next one is on the grid again.
	l.evaluates()
	return true
}

// held reports whether the count is still to be held.
func (h *Hand) held(now time.Time) bool { return h != nil && now.Before(h.Until) }

func said(words string) string {
	if words == "" {
		return ""
	}
	return " (" + clip(words) + ")"
}

func by(op Operator) string {
	s := ""
	if op.By != "" {
		s = " by " + clip(op.By)
	}
	if op.Reason != "" {
		s += " (" + clip(op.Reason) + ")"
	}
	return s
}
