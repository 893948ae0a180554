package decide

import (
	"fmt"
	"strconv"
	"time"
)

// explain names the step that asked for n, and says why in a sentence.
func (l *look) explain(n int, s sizes) (int, string, string) {
	p := l.p
	held, c := max(0, l.snap.Held), l.concurrency()
	switch {
	case n == 0 && l.count == 0:
		return n, "idle", "nothing asked for"
	case n == 0:
		return n, "to-zero", l.idleFor(l.idle())
	case l.count > p.Replicas.Max && n == p.Replicas.Max:
		return n, "max", fmt.Sprintf("max is %d", n)
	case n == min(l.min, p.Replicas.Max) && n > max(s.level, s.thr, s.any):
		return l.minimum(n)
	case n < l.count && !s.pre:
		return n, "level", fmt.Sprintf("nothing has needed more than %s for %s", plural(n, "replica"), short(l.tau(max(n+1, 2))))
	case s.thr >= n:
		return n, "threshold", s.why
	case s.pre && n == 1 && s.thr < 1:
		return n, rulePrewarm, s.ahead
	case n == 1 && l.demand > 0:
		return n, "any-demand", strconv.Itoa(held) + " held + " + strconv.Itoa(l.snap.InFlight) + " in flight: at least 1 replica"
	case n == 1 && l.waking:
		return n, "wake", "woken" + by(l.snap.Operator)
	case s.bought > 0 && s.back >= n:
		return n, "backlog", fmt.Sprintf("%d held + %d in flight over %d slots a replica: %s",
			held, l.snap.InFlight, c, l.drain(n))
	case s.again >= n && n > l.n0:
		return n, "backlog", fmt.Sprintf("requests wait again and again: replica %d would have saved more than twice what its start costs", n)
	case n == min(l.min, p.Replicas.Max) && (n == 1 || s.need < n): // no end of a keep-alive could change it
		return l.minimum(n)
	case n == 1 && !s.ends:
		return n, "level", "the last replica is never stopped"
	case n == 1:
		return n, "level", "the last replica is kept until " + l.keepReason(s.tau1)
	case s.load >= n:
		return n, "load", fmt.Sprintf("a load of %s Erlang over %d slots a replica, with headroom: %s", figure(l.load), c, plural(n, "replica"))
	case s.need >= n:
		return n, "backlog", fmt.Sprintf("%d held + %d in flight over %d slots a replica: the %s there %s through before another could help",
			held, l.snap.InFlight, c, plural(n, "replica"), are(n))
	default:
		return n, "level", fmt.Sprintf("replica %d is kept until %s after it was last needed: %s", n, short(l.tau(n)), l.keep.why(n, &l.mem.Gaps))
	}
}

// drain says what n replicas are bought for.
func (l *look) drain(n int) string {
	what := "1 replica drains it"
	if n != 1 {
		what = fmt.Sprintf("%d replicas drain it", n)
	}
	if l.drains > 0 {
		return what + " within " + short(l.drains)
	}
	return what + " soonest"
}

func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// idleFor says since when nobody has asked; of a service that nobody ever asked for
// there is no last demand.
func (l *look) idleFor(idle time.Duration) string {
	if l.mem.LastDemand.IsZero() {
		return "nobody has asked for it in the " + short(idle) + " it is known"
	}
	return "idle " + short(idle) + " after the last demand"
}

// keepReason says until when the last replica is kept, and why so long.
func (l *look) keepReason(tau time.Duration) string {
	s := short(tau) + " after the last demand"
	if l.p.ToZero.Mode == zeroAuto {
		s += ": " + l.keep.why(1, &l.mem.Gaps)
	}
	return s
}
