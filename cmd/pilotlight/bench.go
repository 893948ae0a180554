package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/pilotlight/pilotlight/internal/bench"
)

type benchCommand struct {
	Output   string        `short:"o" default:"text" enum:"text,json" help:"Form of the results: text or json."`
	All      benchAll      `cmd:"" default:"1" help:"Every benchmark, one after another (about 10 minutes)."`
	Warm     benchWarm     `cmd:"" help:"A request to a ready replica, against a bare httputil.ReverseProxy."`
	Wake     benchWake     `cmd:"" help:"50 wakes of the stub, against the stub started by hand."`
	Apertium benchApertium `cmd:"" help:"10 wakes of Apertium, against the engine started by hand."`
	Nomad    benchNomad    `cmd:"" help:"Wakes over Nomad, against the same job scaled by hand: the double, and the agent at NOMAD_ADDR if that is set."`
	Watch    benchWatch    `cmd:"" help:"500 allocations of 200 services in one scaler: CPU, memory, calls to Nomad."`
	Hold     benchHold     `cmd:"" help:"50,000 requests held at once, their release, and the death of an activator; needs redis-server."`
	Simulate benchSimulate `cmd:"" help:"Replays on virtual time: 14 days, a year, 10 million requests."`
	Scaler   benchScaler   `cmd:"" help:"100, 1,000 and 10,000 services at rest in one scaler: CPU, calls to Redis, memory, wakes among them; decisions a second."`
	ETA      benchETA      `cmd:"" name:"eta" help:"How wrong the time is that held callers are told, over 200 wakes on virtual time, against the median less what has passed."`
	Part     benchPart     `cmd:"" hidden:"" help:"A process of a benchmark."`
}

// Help is an example.
func (benchCommand) Help() string {
	return "Prints ratios to yardsticks measured in the same run, beside what the design aims at; nothing passes or fails.\n\nExample:\n  pilotlight bench warm"
}

type (
	benchAll      struct{}
	benchWarm     struct{}
	benchWake     struct{}
	benchApertium struct{}
	benchNomad    struct{}
	benchWatch    struct{}
	benchScaler   struct{}
	benchETA      struct{}
	benchHold     struct{}
)

// Help is an example.
func (benchAll) Help() string { return "Example:\n  pilotlight bench all -o json" }

// Help is an example.
func (benchWarm) Help() string { return "Example:\n  pilotlight bench warm" }

// Help is an example.
func (benchWake) Help() string { return "Example:\n  pilotlight bench wake" }

// Help is an example.
func (benchScaler) Help() string { return "Example:\n  pilotlight bench scaler" }

// Help is an example.
func (benchETA) Help() string { return "Example:\n  pilotlight bench eta" }

// Help is an example.
func (benchApertium) Help() string {
	return "It is skipped where the engine is not installed; pilotlight dev installs it on Debian, as root.\n\nExample:\n  pilotlight bench apertium"
}

// benchmark measures one thing.
type benchmark func(context.Context, bench.Config) (bench.Result, error)

// Run measures everything.
func (benchAll) Run(ctx context.Context, std streams, b *benchCommand) error {
	return b.measure(ctx, std, bench.Warm, bench.Wake, bench.Apertium, bench.NomadWake, bench.AgentWake, bench.Watch, bench.Hold, bench.Scaler, bench.ETA, measureSimulate)
}

// Run measures the warm path.
func (benchWarm) Run(ctx context.Context, std streams, b *benchCommand) error {
	return b.measure(ctx, std, bench.Warm)
}

// Run measures wakes of the stub.
func (benchWake) Run(ctx context.Context, std streams, b *benchCommand) error {
	return b.measure(ctx, std, bench.Wake)
}

// Run measures what held callers are told.
func (benchETA) Run(ctx context.Context, std streams, b *benchCommand) error {
	return b.measure(ctx, std, bench.ETA)
}

// Run measures services at rest.
func (benchScaler) Run(ctx context.Context, std streams, b *benchCommand) error {
	return b.measure(ctx, std, bench.Scaler)
}

// Run measures wakes of Apertium.
func (benchApertium) Run(ctx context.Context, std streams, b *benchCommand) error {
	return b.measure(ctx, std, bench.Apertium)
}

// Help is an example.
func (benchNomad) Help() string {
	return "The agent must run on this machine with the raw_exec driver.\n\nExample:\n  pilotlight bench nomad"
}

// Run measures wakes over Nomad.
func (benchNomad) Run(ctx context.Context, std streams, b *benchCommand) error {
	return b.measure(ctx, std, bench.NomadWake, bench.AgentWake)
}

// Help is an example.
func (benchWatch) Help() string { return "Example:\n  pilotlight bench watch -o json" }

// Run measures what a large cluster costs.
func (benchWatch) Run(ctx context.Context, std streams, b *benchCommand) error {
	return b.measure(ctx, std, bench.Watch)
}

// Help is an example.
func (benchHold) Help() string { return "Example:\n  pilotlight bench hold" }

// Run measures held requests.
func (benchHold) Run(ctx context.Context, std streams, b *benchCommand) error {
	return b.measure(ctx, std, bench.Hold)
}

// benchReport is what -o json prints.
type benchReport struct {
	Version string         `json:"version"`
	Go      string         `json:"go"`
	CPUs    int            `json:"cpus"`
	At      time.Time      `json:"at"`
	Results []bench.Result `json:"results"`
}

// measure runs benchmarks one after another, and prints each when it is done or
// all at the end.
func (b *benchCommand) measure(ctx context.Context, std streams, list ...benchmark) error {
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("where is this binary? %w", err)
	}
	report := benchReport{Version: version, Go: runtime.Version(), CPUs: runtime.NumCPU(), At: time.Now().UTC()}
	for _, measure := range list {
		r, err := measure(ctx, bench.Config{Binary: binary, Progress: std.err,
			Nomad: os.Getenv("NOMAD_ADDR"), NomadToken: os.Getenv("NOMAD_TOKEN")})
		if err != nil {
			return err
		}
		report.Results = append(report.Results, r)
		if b.Output == "text" {
			if err := r.WriteText(std.out); err != nil {
				return err
			}
		}
	}
	if b.Output == "text" {
		return nil
	}
	enc := json.NewEncoder(std.out)
	enc.SetIndent("", "  ")
	return enc.Encode(report)
}

// benchPart is started by benchmarks only.
type benchPart struct {
	Name     string `arg:"" enum:"upstream,bare,pooled,activator,nomad,scaler,evaluate,hold" help:"Which part."`
	Upstream string `help:"Address to forward to." placeholder:"ADDR"`
	Services int    `default:"1" help:"How many services there are."`
	Resting  bool   `help:"They are at rest."`
	Redis    string `help:"URL of the Redis that it shares." placeholder:"URL"`
}

// Run serves until the input ends.
func (p benchPart) Run(ctx context.Context, std streams) error {
	switch p.Name {
	case bench.PartScaler:
		return bench.RunScaler(ctx, p.Services, std.in, std.out)
	case bench.PartEvaluate:
		return bench.RunEvaluate(ctx, p.Services, p.Resting, std.out)
	case bench.PartHold:
		return bench.RunHoldPart(ctx, p.Redis, std.in, std.out)
	}
	return bench.RunPart(ctx, p.Name, p.Upstream, std.in, std.out)
}
