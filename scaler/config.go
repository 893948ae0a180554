package scaler

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/history"
)

// Config of a Scaler. Fields without "default" are required.
type Config struct {
	Fleet    Fleet
	Ledger   Ledger
	Policies policies.Store
	// Specs returns the job spec with that job id, false if there is none.
	Specs   func(job string) (*jobs.Spec, bool)
	History History
	// Lease elects the one active scaler. Default: this one always leads.
	Lease  Lease
	Logger *slog.Logger
	// Registry takes the metrics. Default: a private one.
	Registry prometheus.Registerer
	// Client sends probes and scrapes. Default: one that follows no redirect,
	// uses no proxy and keeps few idle connections.
	Client *http.Client
	// Prometheus is asked the queries of policies with gpu.source "prometheus";
	// ParsePrometheus reads it. Default: none, and their utilization is unknown.
	Prometheus *url.URL
	// Region is the region of every replica, as shown. Default "".
	Region string
	// Tick is how often a service with anything going on is looked at when
	// nothing happens. Default 1s.
	Tick time.Duration
	// IdleTick is the same for a service at rest, beside what its decision asks
	// for: it repairs what was missed. It is longer the more services there are, so
	// that their number costs no calls (at most repairs a tick). Default 10s.
	IdleTick time.Duration
	Probe    ProbeTiming
}

// ProbeTiming says how often a replica is probed. Zero fields are defaults.
type ProbeTiming struct {
	// First is the pause after the first probe; it grows by 2.5 % each time, so
	// that probing finds a replica ready at most 2.5 % (or First) late.
	First time.Duration // default 2ms
	// Cap ends the growth.
	Cap time.Duration // default 1s
	// Ready is the pause between probes of a ready replica.
	Ready time.Duration // default 2s
}

// History is what the scaler keeps in Redis; package history implements it.
type History interface {
	Write(ctx context.Context, e history.Entry) error
	Claim(ctx context.Context, service string, epoch int64) (history.Claimed, error)
	Intend(ctx context.Context, service string, i history.Intent) error
	Setting(ctx context.Context, service string) (history.Setting, error)
	ShadowDraft(ctx context.Context, service string) (*jobs.Shadow, error)
	Operated(ctx context.Context, fn func(service string)) error
	Statuses(ctx context.Context) ([]jobs.Status, error)
	Forget(ctx context.Context, service string) error
	Announce(ctx context.Context, topic, service string) error
	Beat(ctx context.Context, since, now time.Time) error
	MarkRecorded(ctx context.Context, at time.Time) error
}

// Lease elects the one active scaler; package lease implements it. Run calls
// lead whenever this process is elected, with a context that ends before any
// other process can be, and a number that grows with every term. lead returns a
// *lease.OutrankedError to be elected again above another number, if at all. Run
// calls other, between two calls of lead, when another process is found to lead.
type Lease interface {
	Run(ctx context.Context, lead func(ctx context.Context, epoch int64) error, other func()) error
}

// alone is the Lease of a scaler without rivals.
type alone struct{}

func (alone) Run(ctx context.Context, lead func(context.Context, int64) error, _ func()) error {
	return lead(ctx, 1)
}

// withDefaults fills in the defaults.
func (c Config) withDefaults() Config {
	if c.Lease == nil {
		c.Lease = alone{}
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	if c.Client == nil {
		c.Client = probeClient()
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Tick, time.Second},
		{&c.IdleTick, 10 * time.Second},
		{&c.Probe.First, 2 * time.Millisecond},
		{&c.Probe.Cap, time.Second},
		{&c.Probe.Ready, 2 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return c
}

// Validate reports every required field that is missing.
func (c Config) Validate() error {
	var errs []error
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"Fleet", c.Fleet == nil},
		{"Ledger", c.Ledger == nil},
		{"Policies", c.Policies == nil},
		{"Specs", c.Specs == nil},
		{"History", c.History == nil},
		{"Logger", c.Logger == nil},
	} {
		if f.missing {
			errs = append(errs, errors.New("scaler config: "+f.name+" is required"))
		}
	}
	return errors.Join(errs...)
}

// probeClient asks replicas directly: a proxy from the environment, or a
// redirect to a healthy neighbour, must not answer for them.
func probeClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 1,
			MaxIdleConns:        1000,
			IdleConnTimeout:     10 * time.Second,
			DisableCompression:  true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
