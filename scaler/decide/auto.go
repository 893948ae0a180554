package decide

import (
	"fmt"
	"time"
)

// weigh is sizing mode "auto": steps any demand, load, backlog, thresholds,
// levels and down gate.
func (l *look) weigh() {
	c, top := l.concurrency(), l.p.Replicas.Max
	s := sizes{any: 0}
	if l.asked() {
		s.any = 1
	}
	s.load = l.weighLoad()
	s.back, s.bought = l.weighBacklog(c, top)
	s.again = l.mem.Missed.Next.worth(l.cold.p50)
	want := max(s.any, s.load, s.back, s.again)
	if l.snap.Held > 0 {
		want = max(want, l.n0) // a start bought for a backlog is not cancelled in its middle
	}
	s.need = min(want, top)
	s.uncapped = want
	s.thr, s.why = l.raise()

	lasting := max(s.need, min(s.thr, top))
	if l.fresh {
		lasting = max(lasting, l.n0) // what it was started for is not known
	}
	l.mem.Levels = need(l.mem.Levels, lasting, top, l.now)
	for k := l.mem.Gaps.Needed; k > max(lasting, 1); k = lowest(bandOf(k)) - 1 {
		l.mem.Gaps = l.keep.open(l.mem.Gaps, l.now, bandOf(k), l.keep.price(bandOf(k)))
	}
	l.mem.Missed = l.mem.Missed.needed(l.now, l.mem.Gaps.Needed, lasting)
	l.mem.Gaps = l.mem.Gaps.climb(l.now, lasting, top, l.p.ToZero.AtLeast)
	s.tau1, s.ends = lastKeepAlive(l.p.ToZero, l.tau(1))
	s.level, l.mem.Levels = kept(l.mem.Levels, l.tau, l.now)
	switch idle := l.idle(); {
	case l.asked() || l.count > 0 && (!s.ends || idle < s.tau1):
		s.level = max(s.level, 1)
	case l.p.ToZero.Mode == zeroAfter && l.min == 0:
		l.expire(idle)
		l.note(s)
		return
	case l.min == 0 && l.count == 0:
		s.level = 0 // nobody asks, and none is there to keep
	case l.min == 0:
		s.level = min(s.level, s.need) // none is kept longer than the first
	}
	if s.level == 0 && l.min == 0 {
		s.pre, s.ahead = l.prewarms(s.tau1)
	}
	l.note(s)
	l.choose(s)
}

// sizes are the counts that the steps of mode "auto" arrive at.
type sizes struct {
	any, load, back, thr int
	bought               int // of back, beside N₀
	again                int // for those who wait again and again
	need, uncapped       int
	level                int
	tau1                 time.Duration // of the first level
	ends                 bool          // false: the first level is kept for ever
	why                  string        // of thr
	pre                  bool          // one replica ahead of demand
	ahead                string        // why
}

// expire is the end of a fixed keep-alive, exact: everything above min goes.
func (l *look) expire(idle time.Duration) {
	l.mem.Levels = nil
	l.mem.Threshold = Threshold{Evaluated: l.mem.Threshold.Evaluated}
	n := l.clamp(0)
	switch {
	case n > 0:
		l.settle(l.minimum(n))
	case l.count == 0:
		l.settle(0, "idle", "nothing asked for")
	default:
		l.settle(0, "to-zero", l.idleFor(idle))
	}
}

// note records the intermediate figures by symbol.
func (l *look) note(s sizes) {
	if !l.tell || l.count == 0 && !l.asked() {
		return
	}
	in := &l.inputs
	in.count("c", l.concurrency())
	in.set("L50", l.cold.p50)
	in.set("L90", l.cold.p90)
	in.count("N_load", s.load)
	in.count("N_back", s.back)
	in.count("N_thr", s.thr)
	in.count("N_level", s.level)
	in.count("need", s.need)
	if n := l.count; n > 1 {
		in.set("tau_k", l.tau(n).Seconds())
	}
	if s.ends {
		in.set("tau_1", s.tau1.Seconds())
	}
}

// choose takes the largest count, lets the down gate judge it if it is lower
// than before, and says which step won.
func (l *look) choose(s sizes) {
	raw := max(s.level, s.thr, s.any)
	if s.pre {
		raw = max(raw, 1)
	}
	n := l.clamp(raw)
	if from := l.clamp(l.count); n < from {
		at, why := l.downGate(from, n)
		switch {
		case at >= from && from < l.count:
			n = from // max was lowered
		case at >= from:
			l.held = true
			l.settle(from, "down-gate", fmt.Sprintf("down held at %d: %s", from, why))
			return
		case at > n:
			l.settle(at, "down-gate", fmt.Sprintf("down to %d, not yet to %d: %s", at, n, why))
			return
		}
	}
	l.settle(l.explain(n, s))
	if over := max(raw, s.uncapped); over > l.p.Replicas.Max && l.rule != "max" {
		l.reason += fmt.Sprintf("; max is %d", l.p.Replicas.Max)
	}
	if n > l.count && (l.rule == "backlog" || l.rule == "threshold") {
		l.mem.LastBuy = l.now
	}
}
