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
	SVG, Narrow         template.HTML // for a wide window, and for one of a telephone
	Rows                []Point       // of a timeline: the table behind it
	Step                string        // of a row
}

// Paretos draws price against waiting: the 99th percentile, and the mean.
func (rep *Report) Paretos() ([]Drawing, error) {
	var list []Drawing
	for _, c := range rep.charts() {
		wide, err := draw("drawn", c.Wide)
		if err != nil {
			return nil, err
		}
		narrow, err := draw("drawn", c.Narrow)
		if err != nil {
			return nil, err
		}
		list = append(list, Drawing{ID: c.Wide.ID, Title: c.Title, Describe: c.Wide.Describe, SVG: wide, Narrow: narrow})
	}
	return list, nil
}

// Timelines draws the series of every result that has one, on the same scales, so
// that they can be compared by eye.
func (rep *Report) Timelines() ([]Drawing, error) {
	var most Point
	for i := range rep.Results {
		for _, p := range rep.Results[i].Series {
			most.most(p)
		}
	}
	var list []Drawing
	for i := range rep.Results {
		r := &rep.Results[i]
		id, title := r.Name+"-timeline", "Replicas and held requests over time: "+r.Name
		t := newTimeline(id, title, r.Series, most, wideFrame)
		if t == nil {
			continue
		}
		wide, err := draw("timeline", t)
		if err != nil {
			return nil, err
		}
		narrow, err := draw("timeline", newTimeline(id+"-narrow", title, r.Series, most, narrowFrame))
		if err != nil {
			return nil, err
		}
		list = append(list, Drawing{ID: t.ID, Title: t.Title, Describe: t.Describe, SVG: wide, Narrow: narrow, Rows: t.Rows, Step: t.Step})
	}
	return list, nil
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
