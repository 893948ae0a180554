package simulate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/policies"
)

// trial is one trace at one median cold start.
type trial struct {
	trace string
	cold  time.Duration
}

func (t trial) title() string {
	return fmt.Sprintf("%s, cold starts of %.0f s", t.trace, t.cold.Seconds())
}

// seeds is how many draws of cold starts a trial is the median of; RESULTS.md says
// in each section how many that were.
func (t trial) seeds() int {
	switch t.trace {
	case "servegen-day-night", "servegen-office", "servegen-sparse":
		return *daysSeeds
	}
	return manySeeds
}

func (t trial) chart(what string) string {
	return fmt.Sprintf("%s/%s-%.0f-%s.svg", chartsFolder, t.trace, t.cold.Seconds(), what)
}

func (t trial) open(tb testing.TB) *Trace {
	tb.Helper()
	path := filepath.Join("traces", t.trace+".csv.gz")
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Close() })
	trace, err := NewTrace(f, path, DefaultDurations(), 1)
	if err != nil {
		tb.Fatal(err)
	}
	return trace
}

// judged is the policy of all results: everything at its default, but for slots,
// a price, and a hold that refuses nobody, so that waiting cannot hide.
func judged() *policies.Policy {
	p := policies.New("judged")
	p.Job, p.Route.Models = "judged", []string{"judged"}
	p.Replicas = policies.Replicas{Min: 0, Max: 1000, Concurrency: 8}
	p.Hold.MaxRequests, p.Hold.MaxWait = 1_000_000_000, 365*24*time.Hour
	usd := 2.5
	p.Cost = &policies.Cost{USDPerHour: &usd}
	return p
}

// arena is a pair of bounds, and the baselines that run within them.
type arena struct {
	name      string
	least     int  // replicas
	one       bool // at most one replica; else the service's own peak
	baselines []string
	rows      []row // of the sweep; what follows the first `whole` ones is only for baselines still undominated
	whole     int
}

// row is a part of the sweep: one headroom, some patiences.
type row struct {
	beta   float64
	thetas []float64
}

var finer = []float64{0.01, 0.03, 0.06, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64}

var arenas = []arena{
	{name: "free", baselines: []string{"fixed-5m", "fixed-10m", "fixed-15m", "kpa", "hpa-keda"}, whole: 3, rows: []row{
		{0.5, Patiences}, {1, Patiences}, {2, Patiences},
		{0.5, []float64{0.01, 0.03, 0.06}}, {0.5, []float64{1.4, 2.8}}, {1.5, finer}, {0, finer}, {1.25, finer}, {1.75, finer}, {0.25, finer}, {0.75, finer}, {3, finer}, {2.5, finer}, {2.25, finer}, {2.75, finer},
	}},
	{name: "at-least-one", least: 1, baselines: []string{NomadAS}, whole: 1, rows: []row{
		{0.5, []float64{defaultTheta}}, {0.5, []float64{0.03, 0.1, 0.5, 8}}, {1, []float64{0.1, 0.5, 2, 8}},
		{0, []float64{0.03, 0.1, 0.5, 2}}, {2, []float64{0.1, 0.5, 2, 8}}, {0.25, []float64{0.1, 0.5, 2}}, {1.5, []float64{0.1, 0.5, 2, 8}},
		{1.2, []float64{0.5, 2, 8}}, {0, []float64{0.01}},
	}},
	{name: "at-most-one", one: true, baselines: []string{Single}, whole: 1, rows: []row{
		{0.5, []float64{defaultTheta}}, {0.5, []float64{0.01, 0.03, 0.06, 0.1, 0.25, 0.5, 1, 4, 8}},
		{0.5, []float64{2.3, 2.6, 3}},
	}},
}

// candidates are the points of a row of an arena, each service up to its peak.
func (a arena) candidates(r row, peaks map[string]int) []Candidate {
	var list []Candidate
	for _, theta := range r.thetas {
		p := judged()
		p.Replicas.Min, p.Sizing.Patience, p.Sizing.Headroom = a.least, theta, r.beta
		if a.one {
			p.Replicas.Max = 1
		}
		c := Policy(fmt.Sprintf("patience=%g headroom=%g", theta, r.beta), p)
		c.Patience, c.Headroom = &theta, &r.beta
		list = append(list, c)
	}
	if a.one {
		return list
	}
	return UpTo(peaks, list)
}

// lab replays, and keeps what it has replayed in a folder: a run that was broken
// off is not lost, and one of the same sources does nothing twice.
type lab struct {
	tb     testing.TB
	folder string                    // "": nothing is kept
	peaks  map[string]map[string]int // by trace
}

func newLab(tb testing.TB, cache string) *lab {
	l := &lab{tb: tb, peaks: map[string]map[string]int{}}
	if cache != "" {
		l.folder = filepath.Join(cache, sources(tb))
		if err := os.MkdirAll(l.folder, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	return l
}

// sources is a hash of all that a replay depends on.
func sources(tb testing.TB) string {
	h := sha256.New()
	for _, folder := range []string{"../../jobs", "../../policies", "../decide", ".", "traces"} {
		files, err := os.ReadDir(folder)
		if err != nil {
			tb.Fatal(err)
		}
		for _, f := range files {
			name := f.Name()
			if strings.HasSuffix(name, "_test.go") || !strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, ".gz") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				tb.Fatal(err)
			}
			_, _ = fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// replay runs candidates at one seed, or reads what they did before.
func (l *lab) replay(t trial, what string, seed int, make func(peaks map[string]int) []Candidate) *Report {
	file := filepath.Join(l.folder, fmt.Sprintf("%s-%.0f-%s-%d.json", t.trace, t.cold.Seconds(), what, seed))
	if l.folder != "" {
		text, err := os.ReadFile(file)
		if err == nil {
			var rep Report
			if err := json.Unmarshal(text, &rep); err != nil {
				l.tb.Fatalf("%s: %v", file, err)
			}
			return &rep
		}
		if !errors.Is(err, fs.ErrNotExist) {
			l.tb.Fatal(err)
		}
	}
	peaks, known := l.peaks[t.trace]
	if !known {
		var err error
		if peaks, err = Peaks(context.Background(), t.open(l.tb), judged().Replicas.Concurrency); err != nil {
			l.tb.Fatal(err)
		}
		l.peaks[t.trace] = peaks
	}
	setup := DefaultSetup()
	setup.ColdStart, setup.Seed = t.cold, uint64(seed)
	rep, err := Replay(context.Background(), t.open(l.tb), setup, make(peaks), nil)
	if err != nil {
		l.tb.Fatal(err)
	}
	if l.folder == "" {
		return rep
	}
	text, err := json.Marshal(rep)
	if err != nil {
		l.tb.Fatal(err)
	}
	if err := os.WriteFile(file+".new", text, 0o644); err != nil { // never half a file under its name
		l.tb.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		l.tb.Fatal(err)
	}
	return rep
}

// each is replay at every seed: figures are medians.
func (l *lab) each(t trial, what string, make func(peaks map[string]int) []Candidate) *Report {
	reps := []*Report{}
	for seed := 1; seed <= t.seeds(); seed++ {
		reps = append(reps, l.replay(t, what, seed, make))
	}
	rep := *reps[0]
	rep.Seeds, rep.Trace, rep.Results = t.seeds(), t.trace, slices.Clone(rep.Results)
	for i := range rep.Results {
		var of []Result
		for _, r := range reps {
			of = append(of, r.Results[i])
		}
		rep.Results[i] = medians(of)
	}
	return &rep
}

// verdict is all that a trial has given.
type verdict struct {
	trial
	rep   *Report             // the baselines, always-on last
	swept map[string][]Result // by the name of the arena
}

// run replays all of a trial: the baselines, the whole rows of the sweep, and as
// many of the finer ones as it takes until no baseline is left that no point
// dominates or ties.
func (l *lab) run(t trial, progress io.Writer) verdict {
	v := verdict{trial: t, swept: map[string][]Result{}}
	v.rep = l.each(t, "baselines", func(peaks map[string]int) []Candidate { return UpTo(peaks, Baselines(judged())) })
	for _, a := range arenas {
		for i, r := range a.rows {
			if i >= a.whole && !slices.ContainsFunc(a.baselines, func(name string) bool { return !v.settled(a.name, name) }) {
				break
			}
			begun := time.Now()
			rep := l.each(t, fmt.Sprintf("%s-%g-%d", a.name, r.beta, i), func(peaks map[string]int) []Candidate { return a.candidates(r, peaks) })
			v.swept[a.name] = append(v.swept[a.name], rep.Results[:len(r.thetas)]...)
			if took := time.Since(begun); took > time.Second {
				_, _ = fmt.Fprintf(progress, "%s, %s, headroom %g: %v\n", t.title(), a.name, r.beta, took.Round(time.Second))
			}
		}
	}
	return v
}

// settled reports whether a point of an arena dominates or ties a baseline.
func (v verdict) settled(arena, baseline string) bool {
	base := v.baseline(baseline)
	return slices.ContainsFunc(v.swept[arena], func(r Result) bool { return r.Dominates(base) || r.Ties(base) })
}

func (v verdict) baseline(name string) Result {
	i := slices.IndexFunc(v.rep.Results, func(r Result) bool { return r.Name == name })
	return v.rep.Results[i]
}
