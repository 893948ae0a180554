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

// series is how the services of a run stand over time, in steps, all together.
type series struct {
	step   time.Duration
	points []Point
}

// trail is how one service has stood within the step that its model is in: what
// is over is added to the series, so that a service more takes no series more.
type trail struct {
	of   *series
	step int
	most Point
}

// pass notes how the model has stood since its present moment and stands until to.
func (t *trail) pass(m *model, to time.Duration) {
	stood := Point{Wanted: m.wanted, Ready: m.countReady(), Held: m.held.len(), Demand: m.inFlight + m.held.len()}
	for at := m.now; at < to; {
		n := int(at / t.of.step)
		if n != t.step {
			t.settle()
			t.step = n
		}
		t.most.most(stood)
		at = time.Duration(n+1) * t.of.step
	}
}

// settle adds the most of the present step to the series. After it nothing may be
// noted of that step.
func (t *trail) settle() {
	s := t.of
	for t.step >= len(s.points) {
		s.points = append(s.points, Point{AtS: (time.Duration(len(s.points)) * s.step).Seconds()})
	}
	sum := &s.points[t.step]
	sum.Wanted += t.most.Wanted
	sum.Ready += t.most.Ready
	sum.Held += t.most.Held
	sum.Demand += t.most.Demand
	t.most = Point{}
}
