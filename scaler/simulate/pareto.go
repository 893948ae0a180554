package simulate

import (
	"fmt"
	"io"
	"slices"
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
	Lead          *lead // nil: the label stands beside its sign
	label, strong bool
	aside         bool // drawn at the edge, because it is beyond
}

// lead is a thin line from a sign to a label that found no room beside it.
type lead struct{ X1, Y1, X2, Y2 float64 }

// nothing is a wait in seconds that nobody minds.
const nothing = 0.1

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
	if top < nothing { // nearly all wait for nothing: then those who do not are what the chart is about
		top = slices.Max(ys)
	}
	pad := max((hi-lo)*0.06, hi*0.01, 1e-6)
	x := axis{lo: max(0, lo-pad), hi: hi + pad, from: c.Left, to: c.Right}
	y := axis{hi: max(top*1.12, 0.01), from: c.Bottom, to: c.Top, root: true}
	c.X, c.Y = x.ticks(of.ticks), y.ticks(6)
	c.Opt = x.at(opt)
	c.Describe = fmt.Sprintf("%s of %d ways to scale. OPT0, the least for nobody to wait, is %s GPU-hours.", c.Title, len(rep.Results), shortNumber(opt))
	sign := func(r *Result) mark {
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
		m.aside = m.Label != ""
		return m
	}
	c.draw(rep.Results, sign)
	c.spread()
	return c
}

// draw sorts the results into curves and points.
func (c *paretoChart) draw(results []Result, sign func(*Result) mark) {
	byHeadroom := map[float64]int{}
	for i := range results {
		r := &results[i]
		m := sign(r)
		if r.Patience == nil {
			m.Class, m.Label, m.label = "other", r.Name+m.Label, true
			switch r.Name {
			case PolicyName, DraftName:
				m.Class, m.strong = "policy", true
			case LiveName:
				m.Class, m.strong = "live", true
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
