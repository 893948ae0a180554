package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/simulate"
)

type replayCommand struct {
	Trace  string `arg:"" help:"Trace file, plain or gzipped; - for standard input."`
	Policy string `required:"" help:"Policy file (or folder of them)." placeholder:"FILE"`
	Name   string `help:"Name of the policy, if the file has several." placeholder:"NAME"`
	replayFlags
}

// replayFlags are what a replay can be told beside its trace and policy.
type replayFlags struct {
	Baselines bool          `help:"Compare with the other ways to scale: always on, idle timeouts, KPA, HPA with KEDA, the Nomad Autoscaler, 0-1."`
	Sweep     bool          `help:"Also replay the policy with every patience and headroom of the Pareto chart."`
	TargetP99 time.Duration `name:"target-p99" help:"Say which patience and headroom of the sweep is the cheapest with added waits of at most so much at the 99th percentile." placeholder:"5s"`
	Compare   []string      `sep:"none" help:"Another policy file to replay beside it; may be repeated." placeholder:"FILE"`
	USD       *float64      `name:"usd-per-hour" help:"Price of a replica, in place of what a policy says in cost.usd_per_hour." placeholder:"2.50"`
	ColdStart time.Duration `default:"120s" help:"Median time from a placed launch until the replica is ready." placeholder:"120s"`
	PrefillMS float64       `name:"prefill-ms" default:"0.3" help:"Milliseconds in a slot per input token." placeholder:"0.3"`
	DecodeMS  float64       `name:"decode-ms" default:"25" help:"Milliseconds in a slot per output token." placeholder:"25"`
	Begins    string        `help:"When the trace began: schedules and times of day go by it. Default: what the trace says in Unix time, else a Monday at midnight UTC." placeholder:"2026-11-14T09:00:00Z"`
	Seed      uint64        `default:"1" help:"Seed of every draw: the same seed gives the same bytes." placeholder:"1"`
	Seeds     int           `default:"1" help:"Draw the cold starts so many times and print medians." placeholder:"N"`
	Output    string        `short:"o" default:"table" enum:"table,json,html" help:"Format: table, json or html (a report with charts)." placeholder:"FORMAT"`
}

// Run replays and prints.
func (r replayCommand) Run(ctx context.Context, std streams) error {
	if err := r.check(); err != nil {
		return err
	}
	p, err := onePolicy(r.Policy, r.Name, std.err)
	if err != nil {
		return err
	}
	return r.replay(ctx, std, r.Trace, p)
}

// check refuses values that mean nothing.
func (f replayFlags) check() error {
	wrong := func(flag string, value any, allowed string) error {
		return usageError{fmt.Errorf("--%s is %v; allowed: %s", flag, value, allowed)}
	}
	perToken := func(v float64) bool { return v >= 0 && v <= 60_000 }
	switch {
	case f.ColdStart < 0 || f.ColdStart > 24*time.Hour:
		return wrong("cold-start", f.ColdStart, "0s to 24h")
	case !perToken(f.PrefillMS):
		return wrong("prefill-ms", f.PrefillMS, "0 to 60000")
	case !perToken(f.DecodeMS):
		return wrong("decode-ms", f.DecodeMS, "0 to 60000")
	case f.TargetP99 < 0 || f.TargetP99 > 24*time.Hour:
		return wrong("target-p99", f.TargetP99, "more than 0s, up to 24h")
	case f.USD != nil && !(*f.USD >= 0 && *f.USD <= 1e6):
		return wrong("usd-per-hour", *f.USD, "0 to 1000000")
	case f.Begins != "" && f.begins().IsZero():
		return wrong("begins", strconv.Quote(f.Begins), "a moment such as 2026-11-14T09:00:00Z")
	case f.Seeds < 1 || f.Seeds > 101:
		return wrong("seeds", f.Seeds, "1 to 101")
	}
	return nil
}

// begins is zero if nothing, or nothing sensible, is said.
func (f replayFlags) begins() time.Time {
	t, err := time.Parse(time.RFC3339, f.Begins)
	if err != nil {
		return time.Time{}
	}
	return t
}

// onePolicy reads a file and picks a policy; what is wrong with the file, or to
// be warned of, goes to w.
func onePolicy(path, name string, w io.Writer) (*policies.Policy, error) {
	p, _, err := onePolicyText(path, name, w)
	return p, err
}

// onePolicyText also returns the policy as it is written.
func onePolicyText(path, name string, w io.Writer) (*policies.Policy, string, error) {
	set, err := readPolicySet([]string{path})
	if err != nil {
		return nil, "", err
	}
	if err := set.check(w); err != nil {
		return nil, "", err
	}
	var (
		names []string
		text  string
	)
	for _, f := range set.files {
		for i, p := range f.Policies {
			text = tidy(f.Sources[i])
			if p.Name == name {
				return p, text, nil
			}
			names = append(names, p.Name)
		}
	}
	switch {
	case name != "":
		return nil, "", usageError{fmt.Errorf("--name is %q; allowed: what %s has: %s", name, path, strings.Join(names, ", "))}
	case len(names) > 1:
		return nil, "", usageError{fmt.Errorf("%s has several policies: say which with --name; allowed: %s", path, strings.Join(names, ", "))}
	case len(names) == 0:
		return nil, "", usageError{fmt.Errorf("%s has no policy", path)}
	}
	return set.policies()[0], text, nil
}

// replay replays and prints.
func (f replayFlags) replay(ctx context.Context, std streams, path string, p *policies.Policy) error {
	list, err := f.candidates(p, std.err)
	if err != nil {
		return err
	}
	// Standard input and named pipes may stay silent for ever.
	rep, err := readUnless(ctx, func() (*simulate.Report, error) { return f.read(ctx, std, path, list) })
	if err != nil {
		return err
	}
	rep.Policy = p.Name
	if f.TargetP99 > 0 {
		rep.Aim(f.TargetP99)
		if !f.Sweep && f.Output != "html" {
			rep.Results = slices.DeleteFunc(rep.Results, func(r simulate.Result) bool { return r.Patience != nil })
		}
	}
	if !f.Baselines && f.Output != "html" {
		rep.Results = slices.DeleteFunc(rep.Results, func(r simulate.Result) bool { return r.Name == simulate.AlwaysOn })
	}
	out := bufio.NewWriter(std.out)
	if err := f.write(out, rep); err != nil {
		return err
	}
	return out.Flush()
}

// read reads the trace once, whatever is compared.
func (f replayFlags) read(ctx context.Context, std streams, path string, list []simulate.Candidate) (*simulate.Report, error) {
	in, name, size, err := openTrace(path, std.in)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	read := &counting{r: in}
	trace, err := simulate.NewTrace(read, name, f.durations(), f.Seed)
	if err != nil {
		return nil, err
	}
	setup := simulate.DefaultSetup()
	setup.Seed, setup.Seeds, setup.ColdStart = f.Seed, f.Seeds, f.ColdStart
	if setup.Begins = f.begins(); setup.Begins.IsZero() {
		setup.Begins = trace.Begins()
	}
	if f.Output == "html" {
		setup.Series, setup.Drawn = time.Minute, 1 // the page draws the policy's
	}
	// A replay makes much garbage and keeps little.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	source := &met{Source: trace}
	line := newProgress(std.err, read, size, source)
	defer line.clear()
	rep, err := simulate.Replay(ctx, source, setup, list, line.show)
	var fault *simulate.FaultError
	if errors.As(err, &fault) {
		_, _ = std.err.Write(fault.Stack) // for whoever is told of it
	}
	if err != nil {
		return nil, err
	}
	rep.Trace = name
	return rep, nil
}

func (f replayFlags) durations() simulate.Durations {
	d := simulate.DefaultDurations()
	d.Input = time.Duration(math.Round(f.PrefillMS * float64(time.Millisecond)))
	d.Output = time.Duration(math.Round(f.DecodeMS * float64(time.Millisecond)))
	return d
}

// openTrace opens the file, or what comes on standard input; size is 0 where it
// is not known.
func openTrace(path string, in io.Reader) (r io.ReadCloser, name string, size int64, err error) {
	if path == "-" {
		return io.NopCloser(in), "standard input", 0, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", 0, usageError{err}
	}
	if err != nil {
		return nil, "", 0, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = usageError{fmt.Errorf("%s is a folder; allowed: a file, or -", path)}
	}
	if err != nil {
		_ = f.Close()
		return nil, "", 0, err
	}
	return f, path, info.Size(), nil
}

func (f replayFlags) write(w io.Writer, rep *simulate.Report) error {
	switch f.Output {
	case "html":
		return rep.WriteHTML(w)
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(rep)
	default:
		return writeReplayTable(w, rep)
	}
}
