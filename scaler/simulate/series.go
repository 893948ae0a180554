package simulate

import "time"

// Point of a series: how a service stood at one moment.
type Point struct {
	AtS    float64 `json:"at_s"` // since the trace's start
	Wanted int     `json:"wanted"`
	Ready  int     `json:"ready"`
	Held   int     `json:"held"`
	Demand int     `json:"demand"` // in flight and held
}

// series samples a model every step.
type series struct {
	step   time.Duration
	at     time.Duration // the next sample
	points []Point
}

// pass samples the moments before to.
func (s *series) pass(m *model, to time.Duration) {
	for ; s.at < to; s.at += s.step {
		s.points = append(s.points, Point{
			AtS: s.at.Seconds(), Wanted: m.wanted, Ready: m.countReady(), Held: m.held.len(), Demand: m.inFlight + m.held.len(),
		})
	}
}
