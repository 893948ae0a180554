package simulate

import "time"

// Point of a series: the most of each within the step that begins at AtS. Of
// several services it is the sum of each one's most.
//
// A step may be a quarter of an hour, and a cold start is two minutes: samples of
// single moments would show a week with forty of them as a week without any.
type Point struct {
	AtS    float64 `json:"at_s"` // since the trace's start
	Wanted int     `json:"wanted"`
	Ready  int     `json:"ready"`
	Held   int     `json:"held"`
	Demand int     `json:"demand"` // in flight and held
}

// most takes from o what is more.
func (p *Point) most(o Point) {
	p.Wanted, p.Ready, p.Held, p.Demand = max(p.Wanted, o.Wanted), max(p.Ready, o.Ready), max(p.Held, o.Held), max(p.Demand, o.Demand)
}

// series is how a model stands over time, in steps.
type series struct {
	step   time.Duration
	points []Point
}

// pass notes how the model has stood since its present moment and stands until to.
func (s *series) pass(m *model, to time.Duration) {
	stood := Point{Wanted: m.wanted, Ready: m.countReady(), Held: m.held.len(), Demand: m.inFlight + m.held.len()}
	for at := m.now; at < to; {
		n := at / s.step
		for int(n) >= len(s.points) {
			s.points = append(s.points, Point{AtS: (time.Duration(len(s.points)) * s.step).Seconds()})
		}
		s.points[n].most(stood)
		at = (n + 1) * s.step
	}
}
