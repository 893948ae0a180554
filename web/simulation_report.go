package web

import "github.com/pilotlight/pilotlight/scaler/simulate"

// SimulationReport is what a simulation has found.
type SimulationReport struct {
	Results    []SimulationResult `json:"results"` // draft, live if there is one, the other ways to scale
	LowerBound simulate.Bound     `json:"lower_bound"`
	SpanS      float64            `json:"span_s"`
	Services   int                `json:"services"`
	Seed       uint64             `json:"seed"`
	Notes      []string           `json:"notes"` // what has to be known to read the figures

	whole *simulate.Report
}

// SimulationResult is what one way to scale has cost and done.
type SimulationResult struct {
	simulate.Result
	Series []SimulationPoint `json:"series"` // of draft and live: the most in each of at most 720 parts
}

// SimulationPoint is how a service stood in one part of the time: the most of each.
type SimulationPoint struct {
	AtS    float64 `json:"at_s"` // since the beginning, of the part
	Wanted int     `json:"wanted"`
	Ready  int     `json:"ready"`
	Held   int     `json:"held"`
	Demand int     `json:"demand"` // in flight and held
}

func reportOf(rep *simulate.Report) *SimulationReport {
	out := &SimulationReport{LowerBound: rep.LowerBound, SpanS: rep.SpanS, Services: rep.Services, Seed: rep.Seed,
		Notes: orEmpty(rep.Notes()), Results: make([]SimulationResult, len(rep.Results)), whole: rep}
	for i, r := range rep.Results {
		out.Results[i] = SimulationResult{Result: r, Series: make([]SimulationPoint, len(r.Series))}
		for k, p := range r.Series {
			out.Results[i].Series[k] = SimulationPoint(p)
		}
	}
	return out
}
