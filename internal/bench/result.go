package bench

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
)

// Result of one benchmark.
type Result struct {
	Name    string   `json:"name"`
	Skipped string   `json:"skipped,omitempty"` // why nothing was measured; "" if it was
	Method  string   `json:"method,omitempty"`  // what was measured, and how
	Ratios  []Ratio  `json:"ratios,omitempty"`
	Figures []Figure `json:"figures,omitempty"`
}

// Ratio of what was measured to its yardstick in the same run.
type Ratio struct {
	What    string  `json:"what"`
	Value   float64 `json:"ratio"`            // the median of the rounds, or that of the medians if they were not paired
	Lowest  float64 `json:"lowest,omitzero"`  // of the rounds
	Highest float64 `json:"highest,omitzero"` // of the rounds
	N       int     `json:"n"`                // rounds, or samples on each side
	Aim     float64 `json:"aim,omitzero"`     // at most, by the design; 0: none
}

// Figure is a distribution of samples.
type Figure struct {
	What string  `json:"what"`
	Unit string  `json:"unit"`
	N    int     `json:"n"` // samples
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	Aim  string  `json:"aim,omitempty"` // by the design
}

// figureOf summarises samples.
func figureOf(what, unit string, samples []float64) Figure {
	return Figure{What: what, Unit: unit, N: len(samples), P50: median(samples), P99: quantile(samples, 99)}
}

// pairedRatio is the median of the ratios of paired rounds.
func pairedRatio(what string, values, yardsticks []float64, aim float64) Ratio {
	each := pairwise(values, yardsticks)
	return Ratio{What: what, Value: median(each), Lowest: slices.Min(each), Highest: slices.Max(each), N: len(each), Aim: aim}
}

// ratioOfMedians is for samples too noisy to be compared one by one.
func ratioOfMedians(what string, values, yardsticks []float64, aim float64) Ratio {
	return Ratio{What: what, Value: median(values) / median(yardsticks), N: min(len(values), len(yardsticks)), Aim: aim}
}

// WriteText writes the result for people.
func (r Result) WriteText(w io.Writer) error {
	if r.Skipped != "" {
		_, err := fmt.Fprintf(w, "%s: skipped: %s\n\n", r.Name, r.Skipped)
		return err
	}
	if _, err := fmt.Fprintf(w, "%s: %s\n\n", r.Name, r.Method); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "  ratio\tmedian\tlowest\thighest\tn\taim") // the writer keeps its first error for Flush
	for _, x := range r.Ratios {
		low, high, aim := "", "", ""
		if x.Lowest != 0 {
			low, high = figure(x.Lowest)+"x", figure(x.Highest)+"x"
		}
		if x.Aim != 0 {
			aim = "at most " + figure(x.Aim) + "x"
		}
		_, _ = fmt.Fprintf(t, "  %s\t%sx\t%s\t%s\t%d\t%s\n", x.What, figure(x.Value), low, high, x.N, aim)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(t, "\n  figure\tunit\tp50\tp99\tn\taim")
	for _, x := range r.Figures {
		_, _ = fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%d\t%s\n", x.What, x.Unit, figure(x.P50), figure(x.P99), x.N, x.Aim)
	}
	_, _ = fmt.Fprintln(t)
	return t.Flush()
}

// figure writes a number with about three digits that mean something.
func figure(v float64) string {
	switch {
	case v >= 100 || v <= -100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10 || v <= -10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
