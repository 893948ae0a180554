package simulate

import (
	"fmt"
	"strings"
	"time"
)

const mostColumns, mostRows = 900, 168

// frame of a timeline in pixels: of the upper plot from top to split, of the lower
// from lower to bottom.
type frame struct {
	width, height             float64
	left, right               float64
	top, split, lower, bottom float64
	ticks                     int // of time
	legend                    []legend
}

var (
	wideFrame = frame{
		width: 1000, height: 340, left: 52, right: 26, top: 30, split: 214, lower: 240, bottom: 306, ticks: 10,
		legend: []legend{{"wanted", "replicas wanted", 60, 16}, {"ready", "replicas ready", 210, 16}, {"held", "requests held (lower plot, square-root scale)", 350, 16}},
	}
	narrowFrame = frame{ // on a telephone
		width: 366, height: 330, left: 34, right: 25, top: 48, split: 206, lower: 232, bottom: 300, ticks: 5,
		legend: []legend{{"wanted", "replicas wanted", 34, 14}, {"ready", "replicas ready", 170, 14}, {"held", "requests held (below, square-root scale)", 34, 34}},
	}
)

// timeline is what the template "timeline" draws: replicas wanted and ready, and
// requests held, over time.
type timeline struct {
	ID, Title           string
	Describe            string
	Width, Height       float64
	Left, Right         float64
	Top, Split          float64 // the upper plot
	Lower, Bottom       float64 // the lower plot
	X, Y, HeldY         []tickMark
	Legend              []legend
	Wanted, Ready, Held string  // points of polylines, and of a polygon
	Rows                []Point // the table behind it
	Step                string  // of a row
}

// newTimeline draws a series; nil if it is too short to draw. id tells it from
// others of the page, whose most is on its scales, too.
func newTimeline(id, title string, points []Point, most Point, in frame) *timeline {
	if len(points) < 2 {
		return nil
	}
	t := &timeline{
		ID: id, Title: title, Width: in.width, Height: in.height, Left: in.left, Right: in.width - in.right,
		Top: in.top, Split: in.split, Lower: in.lower, Bottom: in.bottom, Legend: in.legend,
	}
	step := time.Duration((points[1].AtS - points[0].AtS) * float64(time.Second))
	var every int
	t.Rows, every = Thin(points, mostRows)
	t.Step = shortSpan(time.Duration(every) * step)
	columns, _ := Thin(points, mostColumns)
	replicas, held := 1, 1
	for _, p := range columns {
		replicas, held = max(replicas, p.Wanted, p.Ready), max(held, p.Held)
	}
	last := points[len(points)-1].AtS + step.Seconds()
	unit, name := timeUnit(last)
	x := axis{hi: last / unit, from: t.Left, to: t.Right}
	y := axis{hi: float64(max(replicas, most.Wanted, most.Ready)) * 1.08, from: t.Split, to: t.Top}
	h := axis{hi: float64(max(held, most.Held)) * 1.08, from: t.Bottom, to: t.Lower, root: true}
	t.X, t.Y, t.HeldY = x.ticks(in.ticks), whole(y.ticks(5)), whole(h.ticks(3))
	for i := range t.X {
		t.X[i].Label += name
	}
	var wanted, ready, waits strings.Builder
	fmt.Fprintf(&waits, "%.1f,%.1f ", t.Left, t.Bottom)
	for i, p := range columns {
		from, to := x.at(p.AtS/unit), t.Right
		if i+1 < len(columns) {
			to = x.at(columns[i+1].AtS / unit)
		}
		stairs(&wanted, from, to, y.at(float64(p.Wanted)))
		stairs(&ready, from, to, y.at(float64(p.Ready)))
		stairs(&waits, from, to, h.at(float64(p.Held)))
	}
	fmt.Fprintf(&waits, "%.1f,%.1f", t.Right, t.Bottom)
	t.Wanted, t.Ready, t.Held = wanted.String(), ready.String(), waits.String()
	t.Describe = fmt.Sprintf("Replicas wanted and ready, at most %d, and requests held, at most %d, over %s.", replicas, held, shortSpan(time.Duration(last*float64(time.Second))))
	return t
}

func stairs(w *strings.Builder, from, to, y float64) {
	fmt.Fprintf(w, "%.1f,%.1f %.1f,%.1f ", from, y, to, y)
}

// Thin joins neighbours until at most n points are left, and says how many each
// stands for: with the most that was wanted, ready, held and asked for in them.
func Thin(points []Point, n int) ([]Point, int) {
	every := (len(points) + n - 1) / n
	var list []Point
	for i, p := range points {
		if i%every == 0 {
			list = append(list, p)
			continue
		}
		list[len(list)-1].most(p)
	}
	return list, every
}

// whole keeps the ticks of whole numbers.
func whole(list []tickMark) []tickMark {
	var out []tickMark
	for _, t := range list {
		if !strings.Contains(t.Label, ".") {
			out = append(out, t)
		}
	}
	return out
}

func timeUnit(seconds float64) (unit float64, name string) {
	switch {
	case seconds > 3*86400:
		return 86400, " d"
	case seconds > 3*3600:
		return 3600, " h"
	default:
		return 60, " min"
	}
}

// shortSpan writes a time in its two greatest units: 14d, 3h10m, 90s.
func shortSpan(d time.Duration) string {
	d = d.Round(time.Second)
	days, rest := d/(24*time.Hour), d%(24*time.Hour)
	switch {
	case days > 0 && rest < time.Hour:
		return fmt.Sprintf("%dd", days)
	case days > 0:
		return fmt.Sprintf("%dd%dh", days, rest/time.Hour)
	case d >= time.Hour && d%time.Hour < time.Minute:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= 3*time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d >= 3*time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		return fmt.Sprintf("%ds", d/time.Second)
	}
}
