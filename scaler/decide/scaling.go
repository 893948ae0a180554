package decide

import "fmt"

// raise is step "thresholds" of mode auto: the count that scale_up asks for,
// which holds until the next evaluation, and through the lock that follows a
// step.
func (l *look) raise() (int, string) {
	up, t := &l.p.ScaleUp, &l.mem.Threshold
	due := l.evaluates()
	if !l.names(false) || l.count == 0 {
		*t = Threshold{Evaluated: t.Evaluated}
		return 0, ""
	}
	l.helpArrived()
	if !due {
		return t.Target, t.Reason
	}
	if _, locked := t.locked(up, l.now); locked {
		return t.Target, t.Reason
	}
	var room [maxConditions]condition
	target, why := above(l.ups(&room), l.count, l.ready, false)
	l.step(target, why)
	return t.Target, t.Reason
}

// step obeys what scale_up asks for, within max_step and max.
func (l *look) step(target int, by condition) {
	up, t := &l.p.ScaleUp, &l.mem.Threshold
	if target == 0 {
		*t = Threshold{Evaluated: t.Evaluated}
		return
	}
	asked := target
	if up.MaxStep > 0 {
		target = min(target, l.count+up.MaxStep)
	}
	target = min(target, l.p.Replicas.Max)
	over := fmt.Sprintf("%s %s over %s is above %s", by.name, by.show(*by.value), short(up.Window), by.bound())
	if target <= l.count { // still above, and all that it asks for is there
		*t = Threshold{Evaluated: t.Evaluated, Target: target, Reason: over}
		if asked > l.p.Replicas.Max {
			t.Reason += fmt.Sprintf(", but max is %d", l.p.Replicas.Max)
		}
		return
	}
	*t = Threshold{
		Evaluated: t.Evaluated, Target: target, At: l.now,
		Reason: fmt.Sprintf("%s: from %d to %s", over, l.count, plural(target, "replica")),
	}
	l.mem.LastBuy = l.now
}

// helpArrived notes when all replicas that the last step asked for are ready.
func (l *look) helpArrived() {
	t := &l.mem.Threshold
	if !t.At.IsZero() && t.Ready.IsZero() && l.ready >= min(t.Target, l.p.Replicas.Max) {
		t.Ready = l.now
	}
}

// evaluates reports whether thresholds are due: once per sizing.every, on a
// grid that all scalers share. The first look of all is one only if it is on it.
func (l *look) evaluates() bool {
	due := floor(l.now.Unix(), max(1, seconds(l.p.Sizing.Every)))
	if due == l.mem.Threshold.Evaluated {
		return false
	}
	first := l.mem.Threshold.Evaluated == 0
	l.mem.Threshold.Evaluated = due
	return !first || due == l.now.Unix()
}

// weighThresholds is sizing mode "thresholds": scale_up and scale_down alone
// move the count, once per sizing.every. Bounds, any demand and the way to zero
// are watched at every look.
func (l *look) weighThresholds() {
	n := l.clamp(l.count)
	l.helpArrived()
	if due := l.evaluates(); due && l.count > 0 {
		n = l.clamp(l.evaluate())
	}
	tau1, ends := lastKeepAlive(l.p.ToZero, l.tau(1))
	l.inputs.count("N_thr", n)
	switch idle := l.idle(); {
	case l.asked() && n == 0:
		l.mem.Threshold.Reason = ""
		l.settle(1, "any-demand", fmt.Sprintf("%d held + %d in flight: at least 1 replica", l.snap.Held, l.snap.InFlight))
		if l.waking && l.demand == 0 {
			l.rule, l.reason = "wake", "woken"+by(l.snap.Operator)
		}
		return
	case !l.asked() && ends && idle >= tau1 && l.min == 0:
		l.endThresholds()
		return
	}
	switch {
	case n == 0:
		l.settle(0, "idle", "nothing asked for")
	case n < l.count && n == l.p.Replicas.Max:
		l.settle(n, "max", fmt.Sprintf("max is %d", n))
	case n > l.count && n == l.min:
		l.settle(l.minimum(n))
	case l.mem.Threshold.Reason == "":
		l.settle(n, "threshold", fmt.Sprintf("%s until scale_up or scale_down says otherwise", plural(n, "replica")))
	default:
		l.settle(n, "threshold", l.mem.Threshold.Reason)
	}
}

// endThresholds lets the last replicas go at the end of the keep-alive: at once
// for a fixed one, if scale_down does not object for "auto".
func (l *look) endThresholds() {
	if l.p.ToZero.Mode != zeroAfter && l.count > 0 {
		var room [maxConditions]condition
		if ok, why := below(l.downs(&room), l.down, l.snap.Replicas); !ok {
			l.held = true
			l.settle(l.clamp(l.count), "down-gate", fmt.Sprintf("down held at %d: %s", l.count, why))
			return
		}
	}
	l.expire(l.idle())
}

// evaluate is one evaluation in mode thresholds: any of scale_up, else all of
// scale_down.
func (l *look) evaluate() int {
	var room, roomDown [maxConditions]condition
	ups := l.ups(&room)
	t := &l.mem.Threshold
	target, by := above(ups, l.count, l.ready, true)
	if target > l.count {
		if until, locked := t.locked(&l.p.ScaleUp, l.now); locked {
			t.Reason = fmt.Sprintf("%s %s is above %s, but the step to %d waits for its help", by.name,
				by.show(*by.value), by.bound(), t.Target)
			if !until.IsZero() {
				t.Reason += " until " + until.Format("15:04:05")
			}
			return l.count
		}
		l.step(target, by)
		return max(t.Target, l.count)
	}
	downs := l.downs(&roomDown)
	least := max(1, l.min)
	if len(downs) == 0 || l.count <= least {
		t.Reason = ""
		return l.count
	}
	if ok, why := below(downs, l.down, l.snap.Replicas); !ok {
		t.Reason = fmt.Sprintf("down held at %d: %s", l.count, why)
		return l.count
	}
	down := &l.p.ScaleDown
	if wait := l.mem.LastDown.Add(down.Cooldown); !l.mem.LastDown.IsZero() && l.now.Before(wait) {
		t.Reason = fmt.Sprintf("down held at %d: cooldown until %s", l.count, wait.Format("15:04:05"))
		return l.count
	}
	// A step is what the policy says it is; without a limit it goes as far as
	// scale_up would not ask for them again, or by one if no signal can tell.
	n := max(least, l.count-max(1, down.MaxStep))
	if down.MaxStep == 0 && anyLinear(ups) {
		if n = leastProjected(ups, least, l.count, l.ready); n == l.count {
			t.Reason = fmt.Sprintf("down held at %d: with one replica less scale_up would ask for it again", l.count)
			return n
		}
	}
	t.Reason = fmt.Sprintf("all of scale_down held over %s: from %d to %s", short(down.Window), l.count, plural(n, "replica"))
	return n
}

func anyLinear(cs []condition) bool {
	for _, c := range cs {
		if c.linear {
			return true
		}
	}
	return false
}
