package simulate

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// size of a Pareto chart in pixels, and the room around its plot.
type size struct {
	width, height         float64
	left, right, top, low float64
	ticks                 int     // on the axis of GPU-hours
	first, legend         float64 // where the legend begins, and from one text of it to the next
}

var (
	alone   = size{width: 760, height: 440, left: 62, right: 24, top: 34, low: 48, ticks: 7, first: 70, legend: 130}
	abreast = size{width: 610, height: 420, left: 54, right: 18, top: 34, low: 48, ticks: 6, first: 62, legend: 130} // two of them
	narrow  = size{width: 366, height: 350, left: 42, right: 12, top: 34, low: 48, ticks: 4, first: 18, legend: 116} // on a telephone
)

// paretoChart is what the template "pareto" draws: price against waiting.
type paretoChart struct {
	ID            string
	Title, YLabel string
	Describe      string
	Width, Height float64
	Left, Right   float64 // of the plot
	Top, Bottom   float64
	X, Y          []tickMark
	Opt           float64 // where OPT0 is; below Left: not drawn
	Curves        []curve
	Points        []mark
	Legend        []legend
	first, legend float64 // see size
}

type legend struct {
	Class, Text string
	X, Y        float64 // of the middle of its sign's left end
}

type curve struct {
	Class string
	Line  string // points of a polyline
	Marks []mark
}

type mark struct {
	Class         string
	X, Y          float64
	Label, Title  string
	LabelX        float64
	LabelY        float64
	Anchor        string
	label, strong bool
}

// newPareto draws results by GPU-hours and a wait in seconds: the sweep as one
// curve for each headroom, everything else as points.
func newPareto(id, what string, rep *Report, wait func(*Result) float64, of size) paretoChart {
	c := paretoChart{
		ID: id, Title: what + " against GPU-hours", YLabel: what + ", s (square-root scale)",
		Width: of.width, Height: of.height, Left: of.left, Right: of.width - of.right,
		Top: of.top, Bottom: of.height - of.low, Opt: -1, first: of.first, legend: of.legend,
	}
	opt := rep.LowerBound.GPUSeconds / 3600
	xs, ys := []float64{opt}, []float64{0}
	for i := range rep.Results {
		xs, ys = append(xs, rep.Results[i].GPUSeconds/3600), append(ys, wait(&rep.Results[i]))
	}
	lo, hi := extent(xs)
	_, top := extent(ys)
	pad := max((hi-lo)*0.06, hi*0.01, 1e-6)
	x := axis{lo: max(0, lo-pad), hi: hi + pad, from: c.Left, to: c.Right}
	y := axis{hi: max(top*1.12, 0.01), from: c.Bottom, to: c.Top, root: true}
	c.X, c.Y = x.ticks(of.ticks), y.ticks(6)
	c.Opt = x.at(opt)
	c.Describe = fmt.Sprintf("%s of %d ways to scale. OPT0, the least for nobody to wait, is %s GPU-hours.", c.Title, len(rep.Results), shortNumber(opt))
	place := func(r *Result) mark {
		gpu, w := r.GPUSeconds/3600, wait(r)
		m := mark{X: x.at(gpu), Y: y.at(w), Title: fmt.Sprintf("%s: %s GPU-hours, %s s", r.Name, shortNumber(gpu), shortNumber(w))}
		if gpu > x.hi {
			m.Label = " → " + shortNumber(gpu) + " h"
		}
		if gpu < x.lo {
			m.Label = " ← " + shortNumber(gpu) + " h"
		}
		if w > y.hi {
			m.Label += " ↑ " + shortNumber(w) + " s"
		}
		return m
	}
	c.draw(rep.Results, place)
	c.spread()
	return c
}

// draw sorts the results into curves and points.
func (c *paretoChart) draw(results []Result, place func(*Result) mark) {
	byHeadroom := map[float64]int{}
	for i := range results {
		r := &results[i]
		m := place(r)
		if r.Patience == nil {
			m.Class, m.Label, m.label = "other", r.Name+m.Label, true
			switch r.Name {
			case PolicyName, DraftName:
				m.Class, m.strong = "policy", true
			case LiveName:
				m.Class = "live"
			}
			c.Points = append(c.Points, m)
			continue
		}
		at, drawn := byHeadroom[*r.Headroom]
		if !drawn {
			at = len(c.Curves)
			byHeadroom[*r.Headroom] = at
			c.Curves = append(c.Curves, curve{Class: fmt.Sprintf("curve c%d", at%3)})
			c.Legend = append(c.Legend, legend{c.Curves[at].Class, "headroom " + shortNumber(*r.Headroom), c.first + c.legend*float64(at), 18})
		}
		k := &c.Curves[at]
		m.Class = k.Class
		if p := *r.Patience; at == 0 && (p == Patiences[0] || p == 2 || p == Patiences[len(Patiences)-1]) {
			m.Label, m.label = "patience "+shortNumber(p), true
		}
		k.Marks = append(k.Marks, m)
		k.Line += fmt.Sprintf("%.1f,%.1f ", m.X, m.Y)
	}
	for i := range c.Curves {
		c.Curves[i].Line = strings.TrimSpace(c.Curves[i].Line)
	}
}

type box struct{ x0, y0, x1, y1 float64 }

func (b box) overlap(o box) float64 {
	w, h := min(b.x1, o.x1)-max(b.x0, o.x0), min(b.y1, o.y1)-max(b.y0, o.y0)
	if w <= 0 || h <= 0 {
		return 0
	}
	return w * h
}

// spread puts every label where it covers the least of marks, curves and other
// labels.
func (c *paretoChart) spread() {
	var taken []box
	var named []*mark
	if c.Opt >= c.Left {
		taken = append(taken, box{c.Opt + 5, c.Bottom - 17, c.Opt + 38, c.Bottom - 3}, box{c.Opt - 1, c.Top, c.Opt + 1, c.Bottom})
	}
	for i := range c.Curves {
		taken = append(taken, along(c.Curves[i].Marks)...)
	}
	note := func(m *mark) {
		taken = append(taken, box{m.X - 5, m.Y - 5, m.X + 5, m.Y + 5})
		if m.label {
			named = append(named, m)
		}
	}
	for i := range c.Points {
		note(&c.Points[i])
	}
	for i := range c.Curves {
		for j := range c.Curves[i].Marks {
			note(&c.Curves[i].Marks[j])
		}
	}
	for _, m := range named {
		width := 6.4*float64(len([]rune(m.Label))) + 4
		least, best := math.Inf(1), box{}
		for _, off := range [...]struct {
			x, y   float64
			anchor string
		}{
			{9, 4, "start"}, {-9, 4, "end"}, {0, -10, "middle"}, {0, 19, "middle"},
			{9, -8, "start"}, {9, 16, "start"}, {-9, -8, "end"}, {-9, 16, "end"},
			{14, -22, "start"}, {14, 30, "start"}, {-14, -22, "end"}, {-14, 30, "end"}, {0, -36, "middle"}, {0, 44, "middle"},
			{14, 44, "start"}, {-14, 44, "end"}, {14, -36, "start"}, {-14, -36, "end"}, {0, -50, "middle"}, {14, -50, "start"}, {-14, -50, "end"},
		} {
			x, y := m.X+off.x, m.Y+off.y
			b := box{x, y - 11, x + width, y + 3}
			switch off.anchor {
			case "end":
				b.x0, b.x1 = x-width, x
			case "middle":
				b.x0, b.x1 = x-width/2, x+width/2
			}
			cost := 0.0
			for _, t := range taken {
				cost += b.overlap(t)
			}
			if b.x0 < c.Left || b.x1 > c.Width || b.y0 < c.Top-9 || b.y1 > c.Bottom+2 {
				cost += 1e5
			}
			if cost < least {
				least, best = cost, b
				m.LabelX, m.LabelY, m.Anchor = x, y, off.anchor
			}
		}
		taken = append(taken, best)
	}
}

// along covers the line through marks with small boxes.
func along(marks []mark) []box {
	const step = 6.0
	var boxes []box
	for i := 1; i < len(marks); i++ {
		from, to := marks[i-1], marks[i]
		n := math.Ceil(math.Hypot(to.X-from.X, to.Y-from.Y) / step)
		for k := 0.0; k < n; k++ {
			x, y := from.X+(to.X-from.X)*k/n, from.Y+(to.Y-from.Y)*k/n
			boxes = append(boxes, box{x - 2, y - 2, x + 2, y + 2})
		}
	}
	return boxes
}

func p99Wait(r *Result) float64  { return r.AddedWait.P99 }
func meanWait(r *Result) float64 { return r.AddedWait.Mean }

// WritePareto writes the chart of the 99th percentile of the added wait, or of
// its mean, against GPU-hours, as an SVG image by itself.
func (rep *Report) WritePareto(w io.Writer, mean bool) error {
	what, wait := "p99 added wait", p99Wait
	if mean {
		what, wait = "mean added wait", meanWait
	}
	return pages.ExecuteTemplate(w, "image", newPareto("chart", what, rep, wait, alone))
}
