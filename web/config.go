package web

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// Config of a Server.
type Config struct {
	// Services is the scaler's published state. Required.
	Services Services
	// Policies is read and changed by pages and API. Required.
	Policies policies.Store
	// Requests are the requests in sight. Optional: without it there are no routes
	// about requests.
	Requests Requests
	// Recordings are what was asked of services. Optional: without it there is no
	// trace to export, and a policy is simulated on named traces only.
	Recordings Recordings
	// Specs are the job ids that this process knows, offered when a policy is
	// written. Optional: none means that nothing is offered, not that nothing runs.
	Specs []string
	// Shadows are drafts that run beside policies. Optional: without it there are
	// none.
	Shadows Shadows
	// GPUs of a replica under a policy. Optional: what the policy says.
	GPUs func(p *policies.Policy) int
	// Room that the cluster has for a policy's replicas, asked when a draft is
	// judged; an error says in words why it is not known. Optional: without it
	// nothing is said about max and the cluster.
	Room func(ctx context.Context, p *policies.Policy) (jobs.Room, error)
	// Version of the binary, shown in the footer and in openapi.json.
	Version string
	// Logger for changes made by people and for failures. Default: discarded.
	Logger *slog.Logger
	// Warnings are said at the top of every page, a sentence each; called for
	// every page, so it must not block. Optional.
	Warnings func() []string
	// Dev says that this is pilotlight dev: the pages say so.
	Dev bool
	// DataURL is the base URL of the data plane ("http://127.0.0.1:8080"), for the
	// curl lines. Optional: without it no curl line is shown.
	DataURL string
	// Hosts are the names, besides IP addresses and localhost, under which a
	// browser may address this server; "*" allows any.
	Hosts []string
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.Warnings == nil {
		c.Warnings = func() []string { return nil }
	}
	if c.GPUs == nil {
		c.GPUs = (*policies.Policy).GPUs
	}
	if c.Version == "" {
		c.Version = "unknown"
	}
	return c
}

// Validate says what is missing.
func (c Config) Validate() error {
	var errs []error
	if c.Services == nil {
		errs = append(errs, errors.New("web: Services is required"))
	}
	if c.Policies == nil {
		errs = append(errs, errors.New("web: Policies is required"))
	}
	return errors.Join(errs...)
}
