package simulate

import (
	"bytes"
	"fmt"
	"html/template"
	"time"
)

// Drawing is a chart as a part of a page: SVG without style of its own, whose
// class is replay.
type Drawing struct {
	ID, Title, Describe string
	SVG                 template.HTML
	Rows                []Point // of a timeline: the table behind it
	Step                string  // of a row
}

// Paretos draws price against waiting: the 99th percentile, and the mean.
func (rep *Report) Paretos() ([]Drawing, error) {
	var list []Drawing
	for _, c := range []paretoChart{newPareto("p99", "p99 added wait", rep, p99Wait), newPareto("mean", "mean added wait", rep, meanWait)} {
		svg, err := draw("drawn", c)
		if err != nil {
			return nil, err
		}
		list = append(list, Drawing{ID: c.ID, Title: c.Title, Describe: c.Describe, SVG: svg})
	}
	return list, nil
}

// Timeline draws the series of a result; false if it has none.
func (r *Result) Timeline() (Drawing, bool, error) {
	t := newTimeline(r.Name+"-timeline", "Replicas and held requests over time: "+r.Name, r.Series)
	if t == nil {
		return Drawing{}, false, nil
	}
	svg, err := draw("timeline", t)
	return Drawing{ID: t.ID, Title: t.Title, Describe: t.Describe, SVG: svg, Rows: t.Rows, Step: t.Step}, true, err
}

func draw(name string, of any) (template.HTML, error) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, of); err != nil {
		return "", fmt.Errorf("draw a chart: %w", err)
	}
	return template.HTML(b.String()), nil // escaped by its own template
}

// Span writes a time in its two greatest units: 14d, 3h10m, 90s.
func Span(d time.Duration) string { return shortSpan(d) }
