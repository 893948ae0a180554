package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/internal/localfleet"
	"github.com/pilotlight/pilotlight/internal/redisdb"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/policies/examples"
)

type devCommand struct {
	Policies string `help:"Folder or file of policies, applied where the store has none of that name." type:"path" placeholder:"DIR"`
	Jobs     string `help:"Folder of job specs (*.nomad.hcl), besides the shipped ones." type:"path" placeholder:"DIR"`
	Redis    string `help:"Redis to use instead of one of its own." placeholder:"URL"`
	Engine   string `default:"apertium" enum:"apertium,stub" help:"Engine of the shipped example: apertium translates for real, stub pretends."`
	Fresh    bool   `help:"Forget everything that an earlier run has left."`
	State    string `help:"Folder for state; default below the user's own." type:"path" placeholder:"DIR"`
	Verbose  bool   `help:"Log details."`
	addresses
	bounds
	prometheusFlag
}

// Help is an example.
func (devCommand) Help() string { return "Example:\n  pilotlight dev --engine stub" }

// Run runs everything in one process until told to stop.
func (d devCommand) Run(ctx context.Context, std streams) error {
	if d.Fresh && d.Redis != "" {
		return usageError{errors.New("--fresh empties only a Redis of dev's own, not the one of --redis")}
	}
	prometheus, err := d.server()
	if err != nil {
		return err
	}
	log := newLogger(std, false, d.Verbose)
	redis.SetLogger(redisLog{log})
	specs, err := loadSpecs(d.Jobs)
	if err != nil {
		return err
	}
	texts, err := d.texts()
	if err != nil {
		return err
	}
	if d.Policies == "" && d.Engine == "apertium" {
		if err := ensureApertium(ctx, std.err); err != nil {
			return err
		}
	}
	dir, err := d.dir()
	if err != nil {
		return err
	}
	lock, err := localfleet.LockDir(dir)
	if err != nil {
		return inUse(err)
	}
	defer func() { _ = lock.Close() }()
	if d.Fresh {
		if err := os.RemoveAll(filepath.Join(dir, "redis")); err != nil {
			return fmt.Errorf("--fresh: %w", err)
		}
	}
	fl, err := localFleet(filepath.Join(dir, "fleet"), false, log)
	if err != nil {
		return err
	}
	return d.withRedis(ctx, std, dir, log, func(ctx context.Context, client redis.UniversalClient, forgets string) error {
		from := "the shipped example"
		if d.Policies != "" {
			from = "read from " + filepath.Base(d.Policies)
			sayUnread(d.Policies, log)
		}
		if err := seedTexts(ctx, client, texts, from, log); err != nil {
			return err
		}
		n := &node{roles: allRoles, redis: client, fleet: fl, specs: specs, log: log, addrs: d.addresses, bounds: d.bounds, dev: true,
			grace: 10 * time.Second, prometheus: prometheus}
		if forgets != "" {
			n.warnings = func() []string { return []string{forgets} }
		}
		n.started = func(a addresses) { d.greet(std.out, a, forgets, dir) }
		return n.run(ctx)
	})
}

// texts of the policies to begin with.
func (d devCommand) texts() (map[string]string, error) {
	out := map[string]string{}
	if d.Policies != "" {
		files, err := policies.LoadDir(d.Policies)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			for name, text := range textsOf(f) {
				out[name] = text
			}
		}
		return out, nil
	}
	file := "translate.hcl"
	if d.Engine == "stub" {
		file = "translate-stub.hcl"
	}
	text, err := examples.FS.ReadFile(file)
	if err != nil {
		return nil, err
	}
	out["translate"] = string(text)
	return out, nil
}

// dir for state: one per set of policies, so that trying the stub does not
// leave its policy behind for Apertium.
func (d devCommand) dir() (string, error) {
	dir := d.State
	if dir == "" {
		base, err := stateDir()
		if err != nil {
			return "", err
		}
		name := "dev-" + d.Engine
		if d.Policies != "" {
			name = "dev-policies"
		}
		dir = filepath.Join(base, name)
	}
	return dir, os.MkdirAll(dir, 0o700)
}

// inUse adds to a *localfleet.LockedError what to do about it.
func inUse(err error) error {
	if locked := (*localfleet.LockedError)(nil); errors.As(err, &locked) {
		return fmt.Errorf("%w: another pilotlight dev is running there; stop it, or choose another folder with --state", err)
	}
	return err
}

// withRedis calls run with a client: of the given Redis, of a redis-server child
// that keeps its data in dir, or of the embedded one; forgets says what is lost
// at the end, "" if nothing.
func (d devCommand) withRedis(ctx context.Context, std streams, dir string, log *slog.Logger,
	run func(ctx context.Context, client redis.UniversalClient, forgets string) error) error {
	if d.Redis != "" {
		client, err := redisdb.Open(d.Redis)
		if err != nil {
			return usageError{err}
		}
		defer func() { _ = client.Close() }()
		return run(ctx, client, "")
	}
	server, err := redisdb.NewServer(filepath.Join(dir, "redis"), log)
	if errors.Is(err, redisdb.ErrNoServer) {
		e := redisdb.NewEmbedded()
		defer e.Close()
		client := e.Client()
		defer func() { _ = client.Close() }()
		return run(ctx, client, "Policies and history are forgotten at exit: no redis-server is installed (Debian: apt-get install redis-server keeps them).")
	}
	if err != nil {
		return err
	}
	// The server outlives everything that uses it.
	serverCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	work, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	clients := make(chan redis.UniversalClient, 1)
	ended := make(chan error, 1)
	go func() { ended <- server.Run(serverCtx, func(c redis.UniversalClient) { clients <- c }) }()
	select {
	case err := <-ended:
		return err
	case client := <-clients:
		done := make(chan error, 1)
		go func() { done <- run(work, client, "") }()
		select {
		case err := <-done:
			stop()
			return errors.Join(err, <-ended)
		case err := <-ended:
			fail(err)
			return errors.Join(err, <-done)
		}
	}
}

// greet says where everything is and what to type.
func (d devCommand) greet(w io.Writer, a addresses, forgets, dir string) {
	var b strings.Builder
	fmt.Fprintf(&b, "\nPilotlight %s is running, with zero replicas.\n\n", version)
	fmt.Fprintf(&b, "  requests  http://%s\n  web UI    http://%s/\n  metrics   http://%s/metrics\n\n", a.Data, a.Control, a.Metrics)
	if d.Policies == "" {
		fmt.Fprintf(&b, "Wake the model from another terminal:\n\n  %s\n\n", curlLine(a.Data))
	}
	if forgets != "" {
		fmt.Fprintf(&b, "%s\n", forgets)
	} else if d.Redis == "" {
		fmt.Fprintf(&b, "State is kept in %s; --fresh starts empty.\n", dir)
	}
	fmt.Fprintf(&b, "Ctrl-C stops.\n\n")
	_, _ = io.WriteString(w, b.String())
}

func curlLine(data string) string {
	return `curl -i http://` + data + `/translate -H 'Content-Type: application/json' -d '{"text":"Hello, how are you today?","source_lang":"en","target_lang":"es"}'`
}
