package simulate

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// Size of a Pareto chart in pixels, and the room around its plot.
const (
	paretoWidth, paretoHeight                     = 760.0, 440.0
	paretoLeft, paretoRight, paretoTop, paretoLow = 62.0, 24.0, 34.0, 48.0
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
}

type legend struct {
	Class, Text string
	X           float64
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
func newPareto(id, what string, rep *Report, wait func(*Result) float64) paretoChart {
	c := paretoChart{
		ID: id, Title: what + " against GPU-hours", YLabel: what + ", seconds (square-root scale)",
		Width: paretoWidth, Height: paretoHeight, Left: paretoLeft, Right: paretoWidth - paretoRight,
		Top: paretoTop, Bottom: paretoHeight - paretoLow, Opt: -1,
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
	c.X, c.Y = x.ticks(7), y.ticks(6)
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
			c.Legend = append(c.Legend, legend{c.Curves[at].Class, "headroom " + shortNumber(*r.Headroom), c.Left + 8 + 130*float64(at)})
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

// spread puts every label where it covers the least of marks and other labels.
func (c *paretoChart) spread() {
	var taken []box
	var named []*mark
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
			if b.x0 < c.Left || b.x1 > c.Right+paretoRight || b.y0 < c.Top-4 || b.y1 > c.Bottom+2 {
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

func p99Wait(r *Result) float64  { return r.AddedWait.P99 }
func meanWait(r *Result) float64 { return r.AddedWait.Mean }

// WritePareto writes the chart of the 99th percentile of the added wait, or of
// its mean, against GPU-hours, as an SVG image by itself.
func (rep *Report) WritePareto(w io.Writer, mean bool) error {
	what, wait := "p99 added wait", p99Wait
	if mean {
		what, wait = "mean added wait", meanWait
	}
	return pages.ExecuteTemplate(w, "image", newPareto("chart", what, rep, wait))
}
