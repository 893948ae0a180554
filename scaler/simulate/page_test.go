package simulate

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pilotlight/pilotlight/policies"
)

// drawnReport is a small report with everything that a page shows.
func drawnReport(t testing.TB) *Report {
	p := basic(0, 3)
	p.Cost = newCost(2.5)
	setup := DefaultSetup()
	setup.Series = time.Minute
	list := append([]Candidate{Policy(PolicyName, p)}, Baselines(p)...)
	rep := replay(t, poisson(5, "chat", 0.05, 30, time.Hour), setup, append(list, Sweep(p)...))
	rep.Trace, rep.Policy = "a trace", "chat"
	return rep
}

func TestAPageNeedsNothingFromElsewhereAndEscapesNames(t *testing.T) {
	rep := drawnReport(t)
	rep.Trace = `</title><script src="http://evil.example/x.js">`
	rep.Policy = `"><img src=x onerror=alert(1)>`
	rep.Results[1].Name = `<b onclick="x">`
	var b bytes.Buffer
	if err := rep.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, not := range []string{"<script", "<img", "<b ", "<link", "@import", "url("} {
		if strings.Contains(text, not) {
			t.Errorf("the page has %q in it", not)
		}
	}
	for _, m := range regexp.MustCompile(`<[^>]*\b(?:src|href|style)=[^>]*>`).FindAllString(text, -1) {
		t.Errorf("the page fetches something: %s", m)
	}
	for _, has := range []string{"light-dark(", `name="viewport"`, "fixed-10m", "OPT0", "patience 16", "headroom 2", "The curves as a table", "replicas wanted"} {
		if !strings.Contains(text, has) {
			t.Errorf("the page lacks %q", has)
		}
	}
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Error("a coordinate is no number")
	}
}

func TestAChartByItselfIsAnImage(t *testing.T) {
	for _, mean := range []bool{false, true} {
		var b bytes.Buffer
		if err := drawnReport(t).WritePareto(&b, mean); err != nil {
			t.Fatal(err)
		}
		for dec := xml.NewDecoder(&b); ; {
			_, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("not well-formed: %v", err)
			}
		}
	}
}

func TestAReportOfNothingIsStillAPage(t *testing.T) {
	rep := replay(t, nil, DefaultSetup(), []Candidate{Policy(PolicyName, basic(0, 3))})
	var b bytes.Buffer
	if err := rep.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "NaN") {
		t.Error("a figure is no number")
	}
}

func TestAnAxisKeepsOrderAndStaysInside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lo := rapid.Float64Range(0, 1e4).Draw(t, "lo")
		a := axis{lo: lo, hi: lo + rapid.Float64Range(0.001, 1e5).Draw(t, "length"), from: 400, to: 40, root: rapid.Bool().Draw(t, "root")}
		v := rapid.SliceOfN(rapid.Float64Range(-10, 1e6), 2, 2).Draw(t, "values")
		x, y := a.at(min(v[0], v[1])), a.at(max(v[0], v[1]))
		if x < y-1e-9 || x > 400+1e-9 || y < 40-1e-9 {
			t.Fatalf("%v at %v and %v of %+v", v, x, y, a)
		}
		marks := a.ticks(6)
		if len(marks) == 0 || len(marks) > 24 {
			t.Fatalf("%d ticks of %+v", len(marks), a)
		}
		for _, m := range marks {
			if math.IsNaN(m.At) || m.Label == "-0" {
				t.Fatalf("tick %+v of %+v", m, a)
			}
		}
	})
}

func TestValuesFarOffDoNotPressTheOthersTogether(t *testing.T) {
	for _, c := range []struct {
		values []float64
		lo, hi float64
	}{
		{[]float64{6, 7, 8, 6.5, 7.5, 1, 2313}, 6, 8},
		{[]float64{1, 2, 4, 8}, 1, 8},
		{[]float64{3}, 3, 3},
	} {
		if lo, hi := extent(c.values); lo != c.lo || hi != c.hi {
			t.Errorf("%v: got %v to %v, want %v to %v", c.values, lo, hi, c.lo, c.hi)
		}
	}
}

func TestNumbersAreShortAndSpansReadable(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1234.5: "1235", 12.345: "12.3", 1.2345: "1.23", 0.04567: "0.0457", 0.5: "0.5"} {
		if got := shortNumber(v); got != want {
			t.Errorf("%v: got %q, want %q", v, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		14 * 24 * time.Hour: "14d", 90 * time.Second: "90s", 3*time.Hour + 10*time.Minute: "3h10m", 57*time.Minute + 16*time.Second: "57m16s", 2 * time.Hour: "2h",
	} {
		if got := shortSpan(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
	if got := Count(1234567); got != "1,234,567" {
		t.Errorf("got %q", got)
	}
}

func newCost(usd float64) *policies.Cost { return &policies.Cost{USDPerHour: &usd} }

func TestATraceThatSeemsToBeInUnixSecondsIsToldOf(t *testing.T) {
	told := func(first, begins string) bool {
		setup := DefaultSetup()
		if begins != "" {
			setup.Begins, _ = time.Parse(time.RFC3339, begins)
		}
		trace, err := NewTrace(strings.NewReader(timedColumns+"\n"+first+",chat,1\n"), "t.csv", DefaultDurations(), 1)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := Replay(t.Context(), trace, setup, []Candidate{Policy(PolicyName, basic(0, 1))}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(rep.Notes(), func(note string) bool { return strings.HasPrefix(note, "Nothing is asked in the first 20d9h: ") })
	}
	if !told("1763622181", "") {
		t.Error("no note on a trace whose times are Unix seconds")
	}
	for _, c := range [][2]string{{"0", ""}, {"864000000", ""}, {"1763622181000", ""}, {"1763622181", "2026-11-01T00:00:00Z"}} {
		if told(c[0], c[1]) {
			t.Errorf("a note on a trace that begins at %s, and %q", c[0], c[1])
		}
	}
}
