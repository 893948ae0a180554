package decide

import (
	"slices"
	"time"
)

// Memory is what a service's decisions remember of its past: enough to go on
// after a change of leader, and no more. The zero Memory is a service never
// seen before. It is a value: [Decide] returns a new one and leaves the old one
// as it was, [Quietly] moves one on in its place; a copy made before stays what it
// was, since slices inside are shared and never written again. As JSON it is
// below 64 KiB whatever happens (see the bounds beside each part).
type Memory struct {
	Since  time.Time `json:"since"`  // first decision; zero: none yet
	At     time.Time `json:"at"`     // last decision
	Wanted int       `json:"wanted"` // by the last decision
	Rule   string    `json:"rule"`   // of the last decision
	Reason string    `json:"reason"` // of the last decision

	LastDemand time.Time `json:"last_demand,omitzero"` // last moment with anything held or in flight, as far as seen
	Quiet      bool      `json:"quiet,omitempty"`      // at the last look demand was known and zero

	Woken time.Time `json:"woken,omitzero"` // the operator's wake that was answered, or waited too long

	Samples   Series     `json:"samples"`
	Latency   Latencies  `json:"latency"`
	Peak      Peakedness `json:"peakedness"`
	Levels    []Level    `json:"levels,omitempty"`
	Gaps      Gaps       `json:"gaps,omitzero"`
	Prewarm   Prewarm    `json:"prewarm,omitzero"`
	Metrics   []Metered  `json:"metrics,omitempty"`   // by the policy's metric blocks
	Schedules []Window   `json:"schedules,omitempty"` // by the policy's schedules
	Threshold Threshold  `json:"threshold"`
	Wake      Wake       `json:"wake"`
	Missed    Missed     `json:"missed,omitzero"`
	Surge     Surge      `json:"surge,omitzero"`
	Sleep     Sleep      `json:"sleep"`
	Brake     Brake      `json:"brake"`

	LastBuy  time.Time `json:"last_buy,omitzero"`  // last time backlog or a threshold raised wanted
	LastDown time.Time `json:"last_down,omitzero"` // last time wanted was lowered
	Panic    time.Time `json:"panic,omitzero"`     // last time demand was over twice the slots of the ready replicas
}

// Emptied is the memory of a service that has no replicas any more, through no
// decision: they ended with their fleet. What they were kept for is forgotten, so
// that nobody launches what nobody asks for; how the service wakes, sleeps, rests and
// brakes is not.
func (m Memory) Emptied() Memory {
	return Memory{LastDemand: m.LastDemand, Woken: m.Woken, Peak: m.Peak, Wake: m.Wake, Missed: m.Missed.over(), Surge: m.Surge.over(), Sleep: m.Sleep, Brake: m.Brake,
		Gaps: Gaps{Bands: m.Gaps.Bands}, Prewarm: m.Prewarm}
}

// Adopted is the memory of a service whose count was set to n by somebody else
// and is taken as it is: the rules go on from there. What was measured at the
// count before says nothing about this one and is forgotten, and the keep-alives
// of the n replicas begin now; else the rules would set them back at once.
func (m Memory) Adopted(now time.Time, n int) Memory {
	m = m.Emptied()
	m.Since, m.Wanted = now.Round(0).UTC(), max(0, n)
	if n <= 0 {
		return m
	}
	m.LastDemand, m.LastBuy = m.Since, m.Since
	m.Levels = need(nil, n, n, m.Since)
	m.Sleep.Over = !m.Sleep.At.IsZero()
	return m
}

// setBack is the memory after a clock was set back: nothing in it lies ahead of
// now, or a level would be kept, a step locked and completions left out until
// that hour has come again. What lasts a day by itself goes back with the clock,
// so that what has passed of it has passed. Windows of samples, metrics and
// schedules see to it themselves.
func (m Memory) setBack(now time.Time) Memory {
	back := m.At.Sub(now)
	for _, t := range []*time.Time{&m.Brake.Spent, &m.Prewarm.Off} {
		if !t.IsZero() {
			*t = t.Add(-back)
		}
	}
	for _, t := range []*time.Time{&m.Since, &m.At, &m.LastDemand, &m.LastBuy, &m.LastDown, &m.Panic,
		&m.Threshold.At, &m.Threshold.Ready, &m.Prewarm.Since, &m.Sleep.At, &m.Wake.At, &m.Wake.Last, &m.Brake.Spent, &m.Brake.Seen} {
		if t.After(now) {
			*t = now
		}
	}
	m.Levels = levelsBefore(m.Levels, now)
	m.Missed, m.Surge = m.Missed.over(), m.Surge.over()
	m.Gaps = m.Gaps.setBack(now)
	m.Prewarm = m.Prewarm.setBack(now)
	m.Latency = m.Latency.setBack(now)
	return m
}

func levelsBefore(levels []Level, now time.Time) []Level {
	levels = slices.Clone(levels)
	for i := range levels {
		if levels[i].Last.After(now) {
			levels[i].Last = now
		}
	}
	return levels
}

// count is the number of replicas that the service is meant to have before this
// decision: the last one's answer, or what runs if there was none.
func (m *Memory) count(n0 int) int {
	if m.Since.IsZero() {
		return n0
	}
	return m.Wanted
}
