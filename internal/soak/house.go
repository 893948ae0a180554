package soak

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/internal/freeport"
	"github.com/pilotlight/pilotlight/internal/redisdb"
)

// ErrNoServer: there is no redis-server on PATH.
var ErrNoServer = redisdb.ErrNoServer

// member is one process that is restarted on its own addresses.
type member struct {
	name    string // activator 0, scaler 1, redis
	index   int
	program string
	args    []string
	env     []string
	log     string
	ready   func(ctx context.Context) error
	data    string // host:port of an activator
	metrics string // URL

	mu   sync.Mutex
	proc *process
}

func (m *member) process() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.proc
}

// readyWithin is how long a process may take to work.
const readyWithin = 60 * time.Second

// start runs it until it works. One that ends meanwhile, for its port or Redis is
// not there yet, is started again.
func (m *member) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		p := m.process()
		if p == nil || !p.running() {
			var err error
			if p, err = startProcess(m.env, m.log, m.program, m.args...); err != nil {
				return err
			}
			m.mu.Lock()
			m.proc = p
			m.mu.Unlock()
		}
		err := m.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not work after %s: %w; its log: %s", m.name, readyWithin, err, m.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// house is everything that runs.
type house struct {
	cfg        Config
	executions string // log
	redis      *member
	client     *redis.Client
	activators []*member
	scalers    []*member
	http       *http.Client
}

// newHouse prepares; nothing is started.
func newHouse(cfg Config) (*house, error) {
	server, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, ErrNoServer
	}
	ports, err := freePorts(1 + 3*(activators+scalers))
	if err != nil {
		return nil, err
	}
	take := func() string {
		a := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
		ports = ports[1:]
		return a
	}
	h := &house{cfg: cfg, executions: filepath.Join(cfg.Dir, "executions.log"), http: newClient()}
	policies, jobs, err := writeServices(cfg.Dir, h.executions)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(cfg.Dir, "redis")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	address := take()
	_, port, _ := net.SplitHostPort(address)
	client, err := redisdb.Open("redis://" + address)
	if err != nil {
		return nil, err
	}
	h.client = client.(*redis.Client)
	// Every write is on disk before it is answered: then a crash may lose nothing.
	h.redis = &member{name: "redis", program: server, log: filepath.Join(cfg.Dir, "redis.log"),
		args: []string{"--bind", "127.0.0.1", "--port", port, "--dir", data, "--appendonly", "yes",
			"--appendfsync", "always", "--save", "", "--daemonize", "no", "--maxmemory-policy", "noeviction"},
		ready: func(ctx context.Context) error { return h.client.Ping(ctx).Err() }}

	env := append(os.Environ(), "HOME="+cfg.Dir, "PATH="+filepath.Dir(cfg.Binary)+string(os.PathListSeparator)+os.Getenv("PATH"))
	add := func(role string, i int) *member {
		m := &member{name: fmt.Sprintf("%s %d", role, i), index: i, program: cfg.Binary, env: env,
			log: filepath.Join(cfg.Dir, fmt.Sprintf("%s-%d.log", role, i)), data: take()}
		metrics := take()
		m.metrics = "http://" + metrics
		m.args = []string{"serve", "--role", role, "--redis", "redis://" + address, "--fleet", "local",
			"--state", filepath.Join(cfg.Dir, "state"), "--policies", policies, "--jobs", jobs,
			"--data", m.data, "--control", take(), "--metrics", metrics}
		m.ready = func(ctx context.Context) error { return h.get(ctx, m.metrics+"/readyz") }
		return m
	}
	for i := range scalers {
		h.scalers = append(h.scalers, add("scaler", i))
	}
	for i := range activators {
		h.activators = append(h.activators, add("activator", i))
	}
	return h, nil
}

func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		var err error
		if ports[i], err = freeport.Take(); err != nil {
			return nil, err
		}
	}
	return ports, nil
}

func (h *house) all() []*member {
	return append(append([]*member{h.redis}, h.scalers...), h.activators...)
}

func (h *house) start(ctx context.Context) error {
	for _, m := range h.all() {
		if err := m.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stopWithin is how long a process may take to end in order: a replica's
// kill_timeout and what is in flight.
const stopWithin = 60 * time.Second

// stop ends activators and scalers with SIGTERM and wants each to exit with 0 and
// to leave no child, then Redis.
func (h *house) stop() error {
	var errs []error
	for _, list := range [][]*member{h.activators, h.scalers, {h.redis}} {
		for _, m := range list {
			m.process().signal(syscall.SIGTERM)
		}
		for _, m := range list {
			select {
			case <-m.process().ended:
				if code := m.process().code(); code != 0 {
					errs = append(errs, fmt.Errorf("%s: exit code %d after SIGTERM, want 0; its log: %s", m.name, code, m.log))
				}
			case <-time.After(stopWithin):
				errs = append(errs, fmt.Errorf("%s has not ended %s after SIGTERM; its log: %s", m.name, stopWithin, m.log))
				m.process().kill()
			}
		}
	}
	if left := h.replicas(); len(left) > 0 {
		errs = append(errs, fmt.Errorf("replicas %v outlived the scalers", left))
	}
	return errors.Join(errs...)
}

// kill ends whatever still runs.
func (h *house) kill() {
	for _, m := range h.all() {
		if p := m.process(); p != nil {
			p.kill()
		}
	}
	_ = h.client.Close()
}

// replicas that run, with their processes: whatever has an allocation's id and
// this house's home in its environment.
func (h *house) replicas() map[string][]int {
	out := map[string][]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		raw, err := os.ReadFile(filepath.Join(dir, "environ"))
		env := "\x00" + string(raw)
		if err != nil || !strings.Contains(env, "\x00HOME="+h.cfg.Dir+"\x00") {
			continue
		}
		_, rest, ok := strings.Cut(env, "\x00NOMAD_ALLOC_ID=")
		pid, err := strconv.Atoi(filepath.Base(dir))
		if id, _, _ := strings.Cut(rest, "\x00"); ok && err == nil {
			out[id] = append(out[id], pid)
		}
	}
	return out
}

func (h *house) get(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := h.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

// late requests that an activator has counted: sent by a process that was stopped
// between the check of its lease and the write.
func (h *house) late(ctx context.Context, m *member) int {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.metrics+"/metrics", nil)
	if err != nil {
		return 0
	}
	resp, err := h.http.Do(req)
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "pilotlight_late_requests_total "); ok {
			n, _ := strconv.ParseFloat(v, 64)
			return int(n)
		}
	}
	return 0
}
