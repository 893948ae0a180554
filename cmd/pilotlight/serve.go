package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/internal/localfleet"
	"github.com/pilotlight/pilotlight/internal/redisdb"
	"github.com/pilotlight/pilotlight/nomad"
	"github.com/pilotlight/pilotlight/policies"
)

// waitFlag is how many replicas of Redis must have what is promised to a caller.
type waitFlag struct {
	RedisWaitReplicas int `default:"0" help:"How many replicas of Redis must have a request with a key or without a connection before it is accepted; else it is refused with 503. 0: a failover may lose it." placeholder:"N"`
}

// Validate is called by kong.
func (w waitFlag) Validate() error {
	if w.RedisWaitReplicas < 0 {
		return fmt.Errorf("--redis-wait-replicas %d: allowed: 0 and above", w.RedisWaitReplicas)
	}
	return nil
}

type serveCommand struct {
	Role  []string `default:"activator,scaler,web" help:"Which roles this process has: activator, scaler, web." placeholder:"ROLE,…"`
	Redis string   `required:"" help:"Redis: ${redis_forms}." placeholder:"URL"`
	waitFlag
	Fleet    string        `default:"nomad" enum:"nomad,local" help:"What runs replicas: nomad, or local child processes of the scaler."`
	Nomad    string        `help:"Nomad's address; default NOMAD_ADDR, else http://127.0.0.1:4646." placeholder:"URL"`
	Jobs     string        `help:"Folder of job specs (*.nomad.hcl), besides the shipped ones." type:"path" placeholder:"DIR"`
	Policies string        `help:"Folder or file of policies, applied at start where the store has none of that name." type:"path" placeholder:"DIR"`
	State    string        `help:"Folder for the state of --fleet local." type:"path" placeholder:"DIR"`
	Grace    time.Duration `default:"25s" help:"How long requests in flight may go on after a signal to stop."`
	LogJSON  bool          `name:"log-json" help:"Log as JSON."`
	Verbose  bool          `help:"Log details."`
	addresses
	bounds
	prometheusFlag
}

// Validate says what is wrong with the flags. Of several parts that have one kong
// calls none.
func (s serveCommand) Validate() error {
	return errors.Join(s.waitFlag.Validate(), s.bounds.Validate())
}

// Help is an example.
func (serveCommand) Help() string {
	return "Example:\n  pilotlight serve --redis redis://127.0.0.1:6379 --nomad http://127.0.0.1:4646 --policies policies/"
}

// Run serves until told to stop.
func (s serveCommand) Run(ctx context.Context, std streams) error {
	for _, r := range s.Role {
		if !slices.Contains(allRoles, r) {
			return usageError{fmt.Errorf("--role %q: allowed: %s", r, strings.Join(allRoles, ", "))}
		}
	}
	prometheus, err := s.server()
	if err != nil {
		return err
	}
	log := newLogger(std, s.LogJSON, s.Verbose)
	redis.SetLogger(redisLog{log})
	client, err := redisdb.Open(s.Redis)
	if err != nil {
		return usageError{err}
	}
	defer func() { _ = client.Close() }()
	if err := client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("Redis does not answer: %w; check --redis", err)
	}
	logDurability(ctx, client, s.RedisWaitReplicas, log)
	specs, err := loadSpecs(s.Jobs)
	if err != nil {
		return err
	}
	n := &node{roles: s.Role, redis: client, specs: specs, log: log, addrs: s.addresses, bounds: s.bounds, grace: s.Grace, prometheus: prometheus,
		waitReplicas: s.RedisWaitReplicas}
	if slices.Contains(s.Role, roleScaler) {
		if n.fleet, err = s.fleet(log); err != nil {
			return err
		}
	}
	if slices.Contains(s.Role, roleWeb) && s.knowsNomad() {
		if n.inventory, err = nomad.NewInventory(s.nomad()); err != nil {
			return err
		}
		defer n.inventory.Close()
	}
	if s.Policies != "" {
		if err := seed(ctx, client, s.Policies, log); err != nil {
			return err
		}
	}
	n.started = func(a addresses) {
		log.Info("serving", "roles", strings.Join(s.Role, ","), "data", a.Data, "control", a.Control, "metrics", a.Metrics, "version", version)
	}
	return n.run(ctx)
}

// nomad is how the flags and the environment say to reach Nomad.
func (s serveCommand) nomad() nomad.Config {
	cfg := nomad.FromEnvironment(os.Getenv)
	if s.Nomad != "" {
		cfg.Address = s.Nomad
	}
	return cfg
}

// knowsNomad reports whether this process was told to use Nomad. One of the web
// role alone needs nothing but Redis, and does not miss a Nomad that nobody named.
func (s serveCommand) knowsNomad() bool {
	return s.Fleet == "nomad" && (slices.Contains(s.Role, roleScaler) || s.Nomad != "" || os.Getenv("NOMAD_ADDR") != "")
}

// fleet of the scaler role.
func (s serveCommand) fleet(log *slog.Logger) (fleet, error) {
	if s.Fleet == "local" {
		dir := s.State
		if dir == "" {
			base, err := stateDir()
			if err != nil {
				return fleet{}, err
			}
			dir = filepath.Join(base, "serve")
		}
		return localFleet(dir, true, log)
	}
	cfg := s.nomad()
	cfg.Logger = log
	metrics := newNomadMetrics()
	cfg.OnCall = metrics.called
	f, err := nomad.New(cfg)
	if err != nil {
		return fleet{}, err
	}
	metrics.heard = f.Heard
	return fleet{Fleet: f, metrics: metrics}, nil
}

// localFleet runs child processes of this one; waiting lets it stand by while
// another scaler's process owns the folder.
func localFleet(dir string, waiting bool, log *slog.Logger) (fleet, error) {
	f, err := localfleet.New(localfleet.Config{Dir: dir, WaitForOwner: waiting, Logger: log, Env: localfleet.BaseEnv(os.Environ())})
	if err != nil {
		return fleet{}, err
	}
	return fleet{Fleet: f, run: f.Run}, nil
}

// seed saves the policies of a folder or file that the store does not have yet.
func seed(ctx context.Context, client redis.UniversalClient, path string, log *slog.Logger) error {
	files, err := policies.LoadDir(path)
	if err != nil {
		return err
	}
	texts := map[string]string{}
	for _, f := range files {
		for name, text := range textsOf(f) {
			texts[name] = text
		}
	}
	sayUnread(path, log)
	return seedTexts(ctx, client, texts, "read from "+filepath.Base(path), log)
}

// redisLog is what the Redis client has to say beside the errors that it returns:
// every connection that fails, every new master.
type redisLog struct{ *slog.Logger }

// Printf logs it as a detail.
func (r redisLog) Printf(_ context.Context, format string, args ...any) {
	r.Debug("Redis client", "reason", strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func newLogger(std streams, asJSON, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	o := &slog.HandlerOptions{Level: level}
	if asJSON {
		return slog.New(slog.NewJSONHandler(std.err, o))
	}
	return slog.New(slog.NewTextHandler(std.err, o))
}

// stateDir is where this user's programs keep state.
func stateDir() (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("no folder for state: %w; give --state", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "pilotlight"), nil
}
