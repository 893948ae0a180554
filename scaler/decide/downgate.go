package decide

import (
	"fmt"
	"time"
)

const (
	afterBuying = time.Minute // no step down within this time of a launch for backlog or a threshold
	afterPanic  = time.Minute // nor of demand over twice the slots of the ready replicas [KPA]
)

// downGate judges a step down to n: it returns the lowest count at or above n
// that may be, and what holds it if that is not n. In mode
// thresholds, and at the end of a fixed keep-alive, nobody asks it.
func (l *look) downGate(from, n int) (int, string) {
	down, mem := &l.p.ScaleDown, l.mem
	switch {
	case l.snap.Held > 0:
		return from, fmt.Sprintf("%d held", l.snap.Held)
	case within(mem.Panic, afterPanic, l.now):
		return from, fmt.Sprintf("demand was over twice the slots there are %s ago", short(l.now.Sub(mem.Panic)))
	case within(mem.LastBuy, afterBuying, l.now):
		return from, fmt.Sprintf("launched %s ago for those who waited", short(l.now.Sub(mem.LastBuy)))
	case within(mem.LastDown, down.Cooldown, l.now):
		return from, "cooldown until " + mem.LastDown.Add(down.Cooldown).Format("15:04:05")
	case down.MaxStep > 0 && within(mem.LastDown, down.Window, l.now):
		return from, fmt.Sprintf("at most %d within %s", down.MaxStep, short(down.Window))
	}
	var room, roomUp [maxConditions]condition
	if ok, why := below(l.downs(&room), l.down, l.snap.Replicas); !ok {
		return from, why
	}
	why := "with fewer scale_up would ask for them again"
	if down.MaxStep > 0 && n < from-down.MaxStep {
		n = from - down.MaxStep
		why = fmt.Sprintf("at most %d within %s", down.MaxStep, short(down.Window))
	}
	return leastProjected(l.ups(&roomUp), n, from, l.ready), why
}

func within(at time.Time, d time.Duration, now time.Time) bool {
	return !at.IsZero() && now.Sub(at) < d
}
