package simulate

import (
	"math"
	"strings"
)

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
	note := func(marks []mark) {
		shareLabels(marks)
		for i := range marks {
			m := &marks[i]
			taken = append(taken, box{m.X - 5, m.Y - 5, m.X + 5, m.Y + 5})
			if m.label {
				named = append(named, m)
			}
		}
	}
	note(c.Points)
	for i := range c.Curves {
		note(c.Curves[i].Marks)
	}
	for _, m := range named {
		width := 6.4*float64(len([]rune(m.Label))) + 4
		least, best := math.Inf(1), box{}
		for _, off := range places {
			x, y := m.X+off.x, m.Y+off.y
			b := box{x, y - 11, x + width, y + 3}
			switch off.anchor {
			case "end":
				b.x0, b.x1 = x-width, x
			case "middle":
				b.x0, b.x1 = x-width/2, x+width/2
			}
			cost := 0.5 * off.far
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
		m.Lead = leadTo(best, m)
		taken = append(taken, best)
	}
}

// places of a label around its sign: beside it, and then on wider and wider rings.
var places = func() (list []place) {
	list = []place{
		{9, 4, "start", 0}, {-9, 4, "end", 0}, {0, -10, "middle", 0}, {0, 19, "middle", 0},
		{9, -8, "start", 0}, {9, 16, "start", 0}, {-9, -8, "end", 0}, {-9, 16, "end", 0},
	}
	for far := 24.0; far <= 96; far += 18 {
		for n := range 12 {
			x, y := far*math.Cos(float64(n)*math.Pi/6), far*math.Sin(float64(n)*math.Pi/6)
			anchor := "middle"
			switch {
			case x > 1:
				anchor = "start"
			case x < -1:
				anchor = "end"
			}
			list = append(list, place{math.Round(x), math.Round(y) + 4, anchor, far})
		}
	}
	return list
}()

// place is where a label begins, ends or has its middle, from its sign, and how far
// off that is.
type place struct {
	x, y   float64
	anchor string
	far    float64
}

// shareLabels gives signs that lie upon each other one label: "fixed-5m, 10m, 15m".
func shareLabels(marks []mark) {
	for i := range marks {
		m := &marks[i]
		if !m.label || m.aside || m.strong {
			continue
		}
		for j := i + 1; j < len(marks); j++ {
			o := &marks[j]
			if !o.label || o.aside || o.strong || math.Hypot(o.X-m.X, o.Y-m.Y) > 9 {
				continue
			}
			m.Label, o.label, o.Label = m.Label+", "+ownPart(m.Label, o.Label), false, ""
		}
	}
}

// ownPart is what a name has beyond the family that it shares with another one:
// "10m" of fixed-10m beside fixed-5m.
func ownPart(first, name string) string {
	if at := strings.IndexAny(name, "- ") + 1; at > 0 && len(first) > at && first[:at] == name[:at] {
		return name[at:]
	}
	return name
}

// leadTo is nil where a label stands beside its sign.
func leadTo(b box, m *mark) *lead {
	x, y := min(max(m.X, b.x0), b.x1), min(max(m.Y, b.y0+2), b.y1-1)
	far := math.Hypot(x-m.X, y-m.Y)
	if far < 14 {
		return nil
	}
	const sign = 6 // its half width, and a little air
	return &lead{m.X + (x-m.X)*sign/far, m.Y + (y-m.Y)*sign/far, x, y}
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
