package main

import (
	"context"
	"os"

	"github.com/pilotlight/pilotlight/internal/stub"
)

type stubCommand struct {
	stub.Config
}

// Help is an example.
func (stubCommand) Help() string {
	return "Example:\n  pilotlight stub --listen 127.0.0.1:9000 --load 3s --latency 50ms --concurrency 8"
}

// Run serves until the process is told to stop.
func (s stubCommand) Run(ctx context.Context, std streams) error {
	cfg := s.Config
	if cfg.Listen == "" {
		port := os.Getenv("NOMAD_PORT_http")
		if port == "" {
			return usageError{errNeedListen}
		}
		cfg.Listen = "127.0.0.1:" + port
	}
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	cfg.Replica = os.Getenv("NOMAD_ALLOC_ID")
	cfg.Stderr, cfg.Log = std.err, std.out
	return stub.New(cfg).Run(ctx)
}
