package web

import (
	"math"
	"slices"
	"strings"

	"github.com/pilotlight/pilotlight/jobs"
)

// phaseNames in order, with what a reader is told.
var phaseNames = []struct{ Name, Label, About string }{
	{jobs.PhaseDecide, "decide", "first held request → scale call sent"},
	{jobs.PhasePlace, "place", "→ allocation placed"},
	{jobs.PhasePull, "pull", "artifacts and image"},
	{jobs.PhaseStart, "start", "→ task process started"},
	{jobs.PhaseLoad, "load", "→ probe answers"},
	{jobs.PhaseReady, "ready", "→ request released to it"},
	{jobs.PhaseFirstByte, "first byte", "→ first byte of its answer"},
}

func phaseLabel(name string) string {
	for _, p := range phaseNames {
		if p.Name == name {
			return p.Label
		}
	}
	return name
}

// waterfall is a cold start as it is drawn.
type waterfall struct {
	jobs.ColdStart
	Bars []waterfallBar
}

// waterfallBar is one phase; X and Width are thousandths of the widest cold
// start shown, so that lengths can be compared.
type waterfallBar struct {
	Class, Label string
	X, Width     float64
	Length       Figure
}

// Total is how long it took.
func (w waterfall) Total() Figure { return milliseconds(&w.DurMS, "") }

// InWords is what the picture says, for those who cannot see it.
func (w waterfall) InWords() string {
	parts := make([]string, 0, len(w.Bars))
	for _, b := range w.Bars {
		parts = append(parts, b.Label+" "+b.Length.Text+" "+b.Length.Unit)
	}
	return strings.Join(parts, ", ")
}

// Phase is the length of one phase, unknown if it is not recorded.
func (w waterfall) Phase(name string) Figure {
	for _, p := range w.Phases {
		if p.Name == name {
			return milliseconds(&p.DurMS, "")
		}
	}
	return unknown("this phase was not recorded for this cold start")
}

func drawWaterfalls(list []jobs.ColdStart) []waterfall {
	widest := 1.0
	for _, c := range list {
		widest = max(widest, c.DurMS)
	}
	out := make([]waterfall, 0, len(list))
	for _, c := range list {
		w := waterfall{ColdStart: c}
		for _, p := range c.Phases {
			const leastVisible = 2
			x := 1000 * p.StartMS / widest
			width := max(1000*p.DurMS/widest, leastVisible)
			w.Bars = append(w.Bars, waterfallBar{Class: "ph-" + p.Name, Label: phaseLabel(p.Name),
				X: math.Round(x*10) / 10, Width: math.Round(min(width, 1000-min(x, 998))*10) / 10, Length: milliseconds(&p.DurMS, "")})
		}
		out = append(out, w)
	}
	return out
}

// phaseStats are the quantiles of one phase over the cold starts shown.
type phaseStats struct {
	Class, Label, About string
	P50, P90, P99       Figure
	Count               int
}

func statsOf(list []jobs.ColdStart) []phaseStats {
	var out []phaseStats
	for _, name := range phaseNames {
		var ms []float64
		for _, c := range list {
			for _, p := range c.Phases {
				if p.Name == name.Name {
					ms = append(ms, p.DurMS)
				}
			}
		}
		out = append(out, quantiles(phaseStats{Class: "ph-" + name.Name, Label: name.Label, About: name.About}, ms))
	}
	total := make([]float64, 0, len(list))
	for _, c := range list {
		if c.Outcome != jobs.OutcomeFailed {
			total = append(total, c.DurMS)
		}
	}
	return append(out, quantiles(phaseStats{Label: "whole", About: "the whole cold start, failed ones left out"}, total))
}

func quantiles(row phaseStats, ms []float64) phaseStats {
	row.Count = len(ms)
	slices.Sort(ms)
	at := func(q float64) Figure {
		if len(ms) == 0 {
			return unknown("no cold start shown here has it")
		}
		return milliseconds(&ms[int(math.Ceil(q*float64(len(ms))))-1], "") // nearest rank
	}
	row.P50, row.P90, row.P99 = at(0.50), at(0.90), at(0.99)
	return row
}
