package decide

import "time"

// longestRest bounds how far Next may lie ahead, whatever is expected.
const longestRest = time.Minute

// applyBrake bounds the launches; wanted stays.
func (l *look) applyBrake() {
	l.braking = l.mem.Brake.brake(l.now, &l.snap.Failures, l.snap.Operator.WakeAt)
	if l.braking.maxStarts == 0 || l.rule == "paused" {
		return
	}
	allowed := l.ready + max(l.starting, l.braking.maxStarts)
	if !l.braking.until.IsZero() {
		allowed = l.n0
	}
	if l.to > allowed {
		l.rule, l.reason = "brake", l.braking.reason
	}
}

// answer writes the decision, and what it leaves behind.
func (l *look) answer(version int) Decision {
	if l.snap.Known {
		l.inputs.count("B", max(0, l.snap.InFlight))
		l.inputs.count("H", max(0, l.snap.Held))
	}
	l.inputs.count("r", l.ready)
	l.inputs.count("s", l.starting)
	if l.to > l.n0 && l.snap.Blocked != "" {
		l.inputs.say("blocked", clip(l.snap.Blocked))
	}
	d := Decision{
		Service: l.p.Name, At: l.now, From: l.count, To: l.to, Rule: l.rule, Reason: l.reason,
		Signals: Signals{Up: l.up.Signal, Down: l.down.Signal}, PolicyVersion: version,
		BrakeUntil: l.braking.until, MaxStarts: l.braking.maxStarts,
	}
	l.prewarming()
	d.Next = l.next()

	mem := l.mem
	if l.to < l.count {
		mem.LastDown = l.now
		mem.Threshold.Target = min(mem.Threshold.Target, l.to)
	}
	mem.At, mem.Wanted, mem.Rule, mem.Reason = l.now, l.to, l.rule, l.reason
	return d
}

// next is when something may change though nothing happens. While anything is
// going on that is the next sample; an idle service rests until a keep-alive
// or a level ends.
func (l *look) next() time.Time {
	soon := time.Unix(floor(l.now.Unix(), l.tick())+l.tick(), 0).UTC()
	watched := l.count > 0 && (l.names(false) || l.names(true))
	if !l.snap.Known || l.asked() || l.starting > 0 || l.to != l.count || l.to != l.n0 && l.braking.until.IsZero() ||
		l.held || watched || l.lingers && l.to > 1 {
		return soon
	}
	at := l.now.Add(longestRest)
	sooner := func(t time.Time) {
		if t.After(l.now) && t.Before(at) {
			at = t
		}
	}
	sooner(l.braking.until)
	if h := l.snap.Hand; h != nil {
		sooner(h.Until.UTC())
	}
	if !l.sched.change.IsZero() {
		sooner(l.sched.change)
	}
	if l.to > 0 {
		since := l.mem.LastDemand
		if since.IsZero() {
			since = l.mem.Since
		}
		if d, ends := l.restOf(1); ends {
			sooner(since.Add(d))
		}
		if n := len(l.mem.Levels); n > 0 && l.mem.Levels[n-1].K > 1 {
			d, _ := l.restOf(l.mem.Levels[n-1].K)
			sooner(l.mem.Levels[n-1].Last.Add(d))
		}
	}
	return at
}

// restOf is τ of the first level, or of those above it.
func (l *look) restOf(k int) (time.Duration, bool) {
	if k > 1 {
		return l.tau(k), true
	}
	return lastKeepAlive(l.p.ToZero, l.tau(1))
}

// tick is the time between looks that serves the policy, in seconds: no sample
// is missed.
func (l *look) tick() int64 {
	return max(1, min(seconds(l.p.Sizing.Every), seconds(l.p.Sizing.Sample)))
}
