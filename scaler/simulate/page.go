package simulate

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

// pages draws reports and charts. What comes from outside (names of traces,
// policies and services) is escaped by the place where it stands.
var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"add":     func(a, b float64) float64 { return a + b },
	"count":   Count,
	"hours":   func(s float64) string { return shortNumber(s / 3600) },
	"percent": func(v float64) string { return strconv.FormatFloat(100*v, 'f', 0, 64) + " %" },
	"short": func(v any) string {
		switch v := v.(type) {
		case float64:
			return shortNumber(v)
		case *float64:
			if v != nil {
				return shortNumber(*v)
			}
		}
		return "–"
	},
	"usd": func(v *float64) string {
		if v == nil {
			return "–"
		}
		return strconv.FormatFloat(*v, 'f', 2, 64)
	},
	"since": func(s float64) string { return shortSpan(time.Duration(s * float64(time.Second))) },
}).Parse(pageText))

// Count writes a number with a comma every three digits.
func Count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// page is what the template "page" shows.
type page struct {
	Report      *Report
	Span        string
	Priced      bool
	Main, Swept []Result // by themselves, and of the sweep
	Charts      []chart
	Timeline    *timeline
	Narrow      *timeline // the same for a narrow window
}

// chart is a Pareto chart, drawn for a wide window and for a narrow one.
type chart struct {
	Title        string
	Wide, Narrow paretoChart
}

func (rep *Report) charts() []chart {
	both := func(id, what string, wait func(*Result) float64) chart {
		wide := newPareto(id, what, rep, wait, abreast)
		return chart{wide.Title, wide, newPareto(id+"-narrow", what, rep, wait, narrow)}
	}
	return []chart{both("p99", "p99 added wait", p99Wait), both("mean", "mean added wait", meanWait)}
}

// WriteHTML writes the report as one page that needs nothing from elsewhere:
// figures, Pareto charts, and the series of the policy if there is one.
func (rep *Report) WriteHTML(w io.Writer) error {
	p := page{Report: rep, Span: shortSpan(time.Duration(rep.SpanS * float64(time.Second)))}
	for _, r := range rep.Results {
		if r.Patience != nil {
			p.Swept = append(p.Swept, r)
			continue
		}
		p.Main = append(p.Main, r)
		p.Priced = p.Priced || r.USD != nil
	}
	if len(p.Main) > 2 || len(p.Swept) > 0 {
		p.Charts = rep.charts()
	}
	if len(rep.Results) > 0 {
		const title = "Replicas and held requests over time"
		p.Timeline = newTimeline("timeline", title, rep.Results[0].Series, Point{}, wideFrame)
		p.Narrow = newTimeline("timeline-narrow", title, rep.Results[0].Series, Point{}, narrowFrame)
	}
	return pages.ExecuteTemplate(w, "page", p)
}

// Notes say in sentences what has to be known to read the figures.
func (rep *Report) Notes() []string {
	var notes []string
	if rep.Target != nil {
		notes = append(notes, rep.Target.note())
	}
	notes = append(notes, rep.Assumed...)
	if rep.Begins.IsZero() && rep.first >= unixTime/1000*time.Millisecond && rep.first < unixEnd/1000*time.Millisecond {
		notes = append(notes, fmt.Sprintf("Nothing is asked in the first %s: if the trace's first column is Unix time, it is in seconds, and t_ms is milliseconds.", shortSpan(rep.first)))
	}
	if peak := rep.LowerBound.PeakOfOne; peak > rep.Max {
		notes = append(notes, fmt.Sprintf("At its worst moment a service would need %d replicas for nobody to wait, and replicas.max is %d: "+
			"some of the waiting is that bound's, for every way to scale alike. OPT0 and %s know no such bound.", peak, rep.Max, AlwaysOn))
	}
	var apart []string
	for _, r := range rep.Results {
		if lost := r.Refused + r.TimedOut; lost > 0 && r.Patience == nil {
			apart = append(apart, fmt.Sprintf("%s %s", r.Name, Count(lost)))
		}
	}
	if len(apart) > 0 {
		notes = append(notes, "Requests without an answer, because the hold was full or they waited for hold.max_wait: "+
			strings.Join(apart, ", ")+". Waits are those of the others.")
	}
	for _, r := range rep.Results {
		switch {
		case r.Name == NomadAS && rep.Min == 0:
			notes = append(notes, NomadAS+" cannot leave zero, so it keeps at least one replica.")
		case r.Name == Single && rep.Max > 1:
			notes = append(notes, Single+" has at most one replica.")
		}
	}
	return notes
}
