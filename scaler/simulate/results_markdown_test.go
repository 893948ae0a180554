package simulate

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// notesFile is what people say about the figures; it is copied into RESULTS.md.
const notesFile = "results_notes.md"

// comparedWith are the baselines of the acceptance rule, in the order of columns.
var comparedWith = []string{"fixed-5m", "fixed-10m", "fixed-15m", "kpa", "hpa-keda", NomadAS, Single}

// canReachZero are those whose J the defaults have to undercut.
var canReachZero = []string{"fixed-5m", "fixed-10m", "fixed-15m", "kpa", "hpa-keda", Single}

// arenaOf is the name of the arena that a baseline is compared in.
func arenaOf(baseline string) string {
	for _, a := range arenas {
		if slices.Contains(a.baselines, baseline) {
			return a.name
		}
	}
	return arenas[0].name
}

// sweep is Pilotlight within the same bounds as a baseline.
func (v verdict) sweep(baseline string) []Result { return v.swept[arenaOf(baseline)] }

// grid is the part of the sweep that every trial has.
func (v verdict) grid() []Result {
	n := 0
	for _, r := range arenas[0].rows[:arenas[0].whole] {
		n += len(r.thetas)
	}
	return slices.Clone(v.swept[arenas[0].name][:n])
}

func isDefault(r Result) bool {
	return *r.Patience == defaultTheta && *r.Headroom == defaultBeta
}

// atDefaults is the sweep's point at the default patience and headroom.
func (v verdict) atDefaults(baseline string) Result {
	list := v.sweep(baseline)
	return list[slices.IndexFunc(list, isDefault)]
}

// dominating is the point of the sweep that dominates a baseline: the defaults if
// they do, else the one that saves most. ties says that one is as good within 1 %.
func (v verdict) dominating(name string) (best *Result, ties bool) {
	base := v.baseline(name)
	for _, r := range v.sweep(name) {
		switch {
		case !r.Dominates(base):
			ties = ties || r.Ties(base)
		case isDefault(r):
			return &r, false
		case best == nil || r.GPUSeconds < best.GPUSeconds:
			best = &r
		}
	}
	return best, ties && best == nil
}

// nearest is the point of the sweep that is least above a baseline in its worst
// figure.
func (v verdict) nearest(name string) Result {
	base, list := v.baseline(name), v.sweep(name)
	over := func(r Result) float64 {
		// A tenth of a second of waiting is nothing to anybody.
		return max(r.GPUSeconds/base.GPUSeconds, (r.AddedWait.Mean+0.1)/(base.AddedWait.Mean+0.1), (r.AddedWait.P99+0.1)/(base.AddedWait.P99+0.1))
	}
	return slices.MinFunc(list, func(a, b Result) int {
		switch x, y := over(a), over(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
}

func knob(r Result) string {
	return fmt.Sprintf("θ %s, β %s", num(*r.Patience), num(*r.Headroom))
}

func num(v float64) string {
	digits := 2
	switch size := math.Abs(v); {
	case size >= 100 || v == math.Trunc(v):
		digits = 0
	case size >= 10:
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

func resultName(r *Result) string {
	if r.Patience == nil {
		return r.Name
	}
	return "Pilotlight " + knob(*r)
}

const resultColumns = "| | GPU-hours | USD | mean wait s | p99 s | cold-started | launches | flips | J₂ GPU-s | / OPT0 | / LB | J₂ / OPT0 |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n"

// resultRow is a result as a line of a table; the requests are in the section.
func resultRow(r *Result) string {
	opt := 0.0
	if r.ToLowerBound > 0 {
		opt = r.J(defaultTheta) / (r.GPUSeconds / r.ToLowerBound)
	}
	return fmt.Sprintf("| %s | %.2f | %.2f | %s | %s | %s | %s | %s | %s | %.2f | %.1f | %.2f |",
		resultName(r), r.GPUSeconds/3600, *r.USD, num(r.AddedWait.Mean), num(r.AddedWait.P99), Count(r.ColdStarted),
		Count(r.Launches), Count(r.Flips), Count(uint64(math.Round(r.J(defaultTheta)))), r.ToLowerBound, r.ToAnyWait, opt)
}

func writeMarkdown(tb testing.TB, w io.Writer, all []verdict) {
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) } // a buffer never fails
	line("# How good are the decisions?\n")
	line("Made by `make results` of %s, which replays every trace in `traces/` under Pilotlight's own decisions and under the other ways to scale. Do not edit it: what people say is in `%s`. A test replays some rows and compares them.\n", *resultsOf, notesFile)
	writeAcceptance(line, all)
	writeDrawn(tb, line)
	writeKinds(tb, line)
	if notes, err := os.ReadFile(notesFile); err == nil {
		line("%s\n", strings.TrimSpace(string(notes)))
	}
	line("## How to read the rest\n")
	line("All candidates meet the same requests, the same cold starts (lognormal, σ 0.15, half a second to be placed; each figure is the median over so many draws as its section says) and the same bounds: 0 to the trace's own peak in replicas of 8 slots, service by service. nomad-as keeps at least one replica and single-5m has at most one: Pilotlight is compared with these two within their bounds. Nobody is refused and nobody times out: the hold is without limits here, so that waiting cannot hide. Everything of the policy is at its default but patience θ and headroom β where named; the defaults are θ 2, β 0.5. Every trace has θ from 0.1 to 16 at β 0.5, 1 and 2; where that leaves a baseline neither dominated nor tied, finer points are tried (θ from 0.01 to 64, β from 0 to 3) until it is. A GPU costs 2.50 USD an hour.\n")
	line("**OPT0** is what somebody who knows the future needs for nobody to wait; a policy that lets some wait may be below it. **LB** is below every policy, whatever it lets wait. Both take every start for its median; draws differ, so that a service of one launch may stay below. **J₂** = GPU-seconds + 2 · seconds waited, all requests together: what the default patience minimizes. **Cold-started**: held while no replica was ready. **Flips**: launches within 10 min of a stop.\n")
	for _, v := range all {
		writeTrial(line, v)
	}
}

// writeAcceptance evaluates the acceptance rule: each baseline is dominated by
// some point of the sweep, and the defaults have the lowest J of all that can
// reach zero.
func writeAcceptance(line func(string, ...any), all []verdict) {
	line("## The acceptance rule\n")
	line("A point of the sweep *dominates* a baseline if it needs at least 1 %% fewer GPU-seconds and neither mean nor p99 wait is higher by more than 1 %% (and a millisecond). A cell names the defaults if they dominate, else the point that saves most; *tie*: one is nowhere worse by more than 1 %%, but saves less than 1 %%; **no**: none.\n")
	line("| trace, cold start | %s |", strings.Join(comparedWith, " | "))
	line("|---|%s", strings.Repeat("---|", len(comparedWith)))
	dominated, ties, pairs := 0, 0, 0
	var open []string
	for _, v := range all {
		row := fmt.Sprintf("| %s, %.0f s |", v.trace, v.cold.Seconds())
		for _, name := range comparedWith {
			pairs++
			switch best, tie := v.dominating(name); {
			case best != nil:
				dominated++
				row += " " + knob(*best) + " |"
			case tie:
				ties++
				row += " *tie* |"
			default:
				row += " **no** |"
				open = append(open, v.shortfall(name))
			}
		}
		line("%s", row)
	}
	line("\n%d of %d pairs are dominated, %d are ties, %d are not.\n", dominated, pairs, ties, pairs-dominated-ties)
	line("J₂ at the defaults, and of each baseline that can reach zero (single-5m: within its own bounds, the defaults' in brackets):\n")
	var costs []compared
	for _, v := range all {
		costs = append(costs, compared{
			title: fmt.Sprintf("%s, %.0f s", v.trace, v.cold.Seconds()),
			own:   v.atDefaults(""), one: v.atDefaults(Single), baseline: v.baseline,
		})
	}
	writeCosts(line, costs)
	if len(open) > 0 {
		line("### Not dominated\n")
		line("The point of the sweep whose worst figure is least above the baseline's, as GPU-hours / mean / p99 wait in seconds:\n")
		for _, s := range open {
			line("%s", s)
		}
		line("")
	}
}

// compared are the costs of one trial: of the defaults, of the same with at most
// one replica, and of each baseline.
type compared struct {
	title    string
	own, one Result
	baseline func(name string) Result
}

// writeCosts writes J of the defaults and of each baseline that can reach zero,
// and how often the defaults have the lowest.
func writeCosts(line func(string, ...any), list []compared) {
	line("| trace, cold start | defaults | %s | lowest |", strings.Join(canReachZero, " | "))
	line("|---|---|%s---|", strings.Repeat("---|", len(canReachZero)))
	lowest, even := 0, 0
	for _, c := range list {
		row, verdict := costOf(c.title, c.own), "yes"
		for _, name := range canReachZero {
			j, mine := c.baseline(name).J(defaultTheta), c.own.J(defaultTheta)
			cell := rounded(j)
			if name == Single {
				mine = c.one.J(defaultTheta)
				cell += " (" + rounded(mine) + ")"
			}
			switch {
			case mine > j*(1+tie):
				verdict = "**no**"
				cell = "**" + cell + "**"
			case mine > j && verdict == "yes":
				verdict = "tie"
			}
			row += " " + cell + " |"
		}
		switch verdict {
		case "yes":
			lowest++
		case "tie":
			even++
		}
		line("%s %s |", row, verdict)
	}
	line("\nThe defaults have the lowest J₂ in %d of %d, and are within 1 %% of it in %d.\n", lowest, len(list), even)
}

// costOf begins a row of costs.
func costOf(title string, own Result) string {
	return fmt.Sprintf("| %s | %s |", title, rounded(own.J(defaultTheta)))
}

func rounded(v float64) string { return Count(uint64(math.Round(v))) }

func (v verdict) shortfall(name string) string {
	figures := func(r Result) string {
		return fmt.Sprintf("%.2f / %s / %s", r.GPUSeconds/3600, num(r.AddedWait.Mean), num(r.AddedWait.P99))
	}
	near := v.nearest(name)
	return fmt.Sprintf("- %s, %.0f s, %s: %s; %s: %s", v.trace, v.cold.Seconds(), name, figures(v.baseline(name)), knob(near), figures(near))
}

func writeTrial(line func(string, ...any), v verdict) {
	b := v.rep.LowerBound
	line("## %s\n", v.title())
	line("%s requests of %d service(s) over %.1f h; medians over %d draw(s) of cold starts; OPT0 %.2f GPU-hours, LB %.2f; peak of one service %d replicas.\n",
		Count(v.rep.Requests), v.rep.Services, v.rep.SpanS/3600, v.rep.Seeds, b.GPUSeconds/3600, b.AnyWaitGPUSeconds/3600, b.PeakOfOne)
	line("![p99 added wait against GPU-hours](%s) ![mean added wait against GPU-hours](%s)\n", v.chart("p99"), v.chart("mean"))
	line("%s", strings.TrimSpace(resultColumns))
	shown := v.grid()
	for _, name := range arenas[0].baselines {
		if best, _ := v.dominating(name); best != nil && !slices.ContainsFunc(shown, func(r Result) bool { return r.Name == best.Name }) {
			shown = append(shown, *best)
		}
	}
	for _, r := range append(shown, v.rep.Results...) {
		line("%s", resultRow(&r))
	}
	line("\nWithin the bounds of a baseline that has its own:\n")
	line("%s", strings.TrimSpace(resultColumns))
	for _, name := range []string{NomadAS, Single} {
		r := v.atDefaults(name)
		line("%s", strings.Replace(resultRow(&r), "| Pilotlight", "| as "+name+": Pilotlight", 1))
		if best, _ := v.dominating(name); best != nil && !isDefault(*best) {
			line("%s", strings.Replace(resultRow(best), "| Pilotlight", "| as "+name+": Pilotlight", 1))
		}
	}
	line("")
}
