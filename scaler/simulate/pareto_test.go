package simulate

import (
	"strings"
	"testing"
)

// crowd is a report whose points lie upon and beside each other.
func crowd() *Report {
	rep := &Report{LowerBound: Bound{GPUSeconds: 33 * 3600}}
	add := func(name string, hours, p99 float64, patience ...float64) {
		r := Result{Name: name, GPUSeconds: hours * 3600, AddedWait: Wait{P99: p99}}
		if len(patience) > 0 {
			headroom := 0.5
			r.Patience, r.Headroom = &patience[0], &headroom
		}
		rep.Results = append(rep.Results, r)
	}
	add(DraftName, 26.2, 8.9)
	add(LiveName, 26.2, 9.4)
	add("fixed-5m", 37, 0.1)
	add("fixed-10m", 37, 0.1)
	add("fixed-15m", 37.1, 0.1)
	add("kpa", 35, 8)
	add("nomad-as", 27.8, 7.1)
	add(Single, 24, 9)
	add(AlwaysOn, 72, 0)
	for i, h := range []float64{25.7, 25.7, 25.6, 25.6, 26.2, 26.8, 28.7, 31} {
		add("", h, 9.5-0.1*float64(i*i), Patiences[i])
	}
	return rep
}

func TestLabelsOfAChartCoverNoOtherAndNoneIsLost(t *testing.T) {
	for _, of := range []size{narrow, abreast, alone} {
		c := newPareto("p99", "p99 added wait", crowd(), p99Wait, of)
		boxes, words := map[string]box{}, ""
		note := func(marks []mark) {
			for _, m := range marks {
				if m.Label == "" {
					continue
				}
				words += m.Label + ";"
				width := 6.4 * float64(len([]rune(m.Label)))
				b := box{m.LabelX, m.LabelY - 9, m.LabelX + width, m.LabelY + 2}
				switch m.Anchor {
				case "end":
					b.x0, b.x1 = b.x0-width, b.x0
				case "middle":
					b.x0, b.x1 = b.x0-width/2, b.x1-width/2
				}
				for other, o := range boxes {
					if b.overlap(o) > 1 {
						t.Errorf("%.0f pixels wide: %q lies upon %q", of.width, m.Label, other)
					}
				}
				if b.x0 < 0 || b.x1 > of.width {
					t.Errorf("%.0f pixels wide: %q ends outside", of.width, m.Label)
				}
				boxes[m.Label] = b
			}
		}
		note(c.Points)
		for _, k := range c.Curves {
			note(k.Marks)
		}
		for _, want := range []string{"draft", "live", "fixed-5m, 10m, 15m", "kpa", "nomad-as", "single-5m", "always-on → 72 h", "patience 0.1", "patience 2", "patience 16"} {
			if !strings.Contains(words, want+";") {
				t.Errorf("%.0f pixels wide: no label %q in %s", of.width, want, words)
			}
		}
	}
}

func TestAChartWhereHardlyAnybodyWaitsHasTheScaleOfThoseWhoDo(t *testing.T) {
	rep := &Report{}
	for i, p99 := range []float64{0, 0, 0, 0, 0.003, 19} {
		rep.Results = append(rep.Results, Result{Name: Baselines(basic(0, 3))[i].Name, GPUSeconds: float64(3600 * (i + 1)), AddedWait: Wait{P99: p99}})
	}
	c := newPareto("p99", "p99 added wait", rep, p99Wait, abreast)
	slow, quick := c.Points[5], c.Points[4]
	if slow.aside || strings.Contains(slow.Label, "↑") || quick.Y-slow.Y < 300 {
		t.Errorf("one of 19 s is drawn at %.0f as %q, others of 0 s at %.0f", slow.Y, slow.Label, quick.Y)
	}
}
