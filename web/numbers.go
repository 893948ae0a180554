package web

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Figure is a number as it is shown: unknown is "–" with the reason, never 0.
type Figure struct {
	Text  string
	Unit  string
	Title string // the reason if unknown, else what it means exactly
}

// Unknown reports whether there is no number.
func (f Figure) Unknown() bool { return f.Text == "–" }

func unknown(why string) Figure { return Figure{Text: "–", Title: why} }

// count is a number that is always known once the scaler has reported.
func (svc service) count(n int) Figure {
	if !svc.Known {
		return unknown("the scaler has not reported on this service yet")
	}
	return Figure{Text: strconv.Itoa(n)}
}

// figure of a pointer, with digits after the point.
func figure(v *float64, digits int, unit, why string) Figure {
	if v == nil || math.IsNaN(*v) || math.IsInf(*v, 0) {
		return unknown(why)
	}
	return Figure{Text: strconv.FormatFloat(*v, 'f', digits, 64), Unit: unit}
}

// rate has as many digits as tell something.
func rate(v *float64, why string) Figure {
	digits := 0
	if v != nil && *v > 0 && *v < 10 {
		digits = 1
		if *v < 0.1 {
			digits = 2
		}
	}
	return figure(v, digits, "/s", why)
}

// percentage writes a share of 0 to 1.
func percentage(v *float64, why string) Figure {
	if v == nil {
		return unknown(why)
	}
	percent, digits := 100**v, 0
	if percent > 0 && percent < 10 {
		digits = 1
	}
	return figure(&percent, digits, "%", why)
}

func milliseconds(v *float64, why string) Figure {
	if v == nil {
		return unknown(why)
	}
	return duration(time.Duration(*v * float64(time.Millisecond)))
}

func seconds(v *float64, why string) Figure {
	if v == nil {
		return unknown(why)
	}
	return duration(time.Duration(*v * float64(time.Second)))
}

// duration with two or three significant digits and one unit.
func duration(d time.Duration) Figure {
	text, unit := durationParts(d)
	return Figure{Text: text, Unit: unit, Title: d.Round(time.Microsecond).String()}
}

func durationParts(d time.Duration) (text, unit string) {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms < 0:
		text, unit = durationParts(-d)
		return "−" + text, unit
	case ms < 9.95:
		return trimmed(ms), "ms"
	case ms < 999.5:
		return strconv.FormatFloat(ms, 'f', 0, 64), "ms"
	case ms < 9950:
		return strconv.FormatFloat(ms/1000, 'f', 1, 64), "s"
	case ms < 119_500:
		return strconv.FormatFloat(ms/1000, 'f', 0, 64), "s"
	case d < 2*time.Hour:
		return strconv.FormatFloat(d.Minutes(), 'f', 0, 64), "min"
	case d < 48*time.Hour:
		return strconv.FormatFloat(d.Hours(), 'f', 0, 64), "h"
	}
	return strconv.FormatFloat(d.Hours()/24, 'f', 0, 64), "d"
}

// trimmed has one digit after the point, and none for a round number.
func trimmed(v float64) string {
	if v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// span is duration in running text.
func span(d time.Duration) string {
	text, unit := durationParts(d)
	return text + " " + unit
}

// ago is how long before now t was, in words; the page's script counts on.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	if d < time.Second {
		return "now"
	}
	return span(d.Truncate(time.Second)) + " ago"
}

func bytesText(v *float64, why string) Figure {
	if v == nil {
		return unknown(why)
	}
	value, units := *v, []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for value >= 1024 && i < len(units)-1 {
		value /= 1024
		i++
	}
	return Figure{Text: trimmed(math.Round(value*10) / 10), Unit: units[i], Title: fmt.Sprintf("%.0f bytes", *v)}
}

// plural writes "1 replica", "2 replicas".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}
