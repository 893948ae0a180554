package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	fewServices    = 10
	manyServices   = 200
	manyReplicas   = 500
	restFor        = time.Minute
	settleFor      = 5 * time.Second // for what follows from what was seen, such as restarts
	gatherPatience = 2 * time.Minute
)

const watchMethod = `%d allocations of %d services, and 25 of %d, each in one process of the scaler role over a Nomad double
of its own with %d nodes. At rest: %v in which nothing happens; calls are counted by the double, the event stream as
one. Then every allocation of the many loses its task and restarts it: CPU of the scaler beyond that at rest, over the
events of allocations that its stream told, with everything that follows from them (probes, slots, history). The
yardstick decodes the same lines once, as JSON of no known shape.`

// watchJob takes an id, a port and the number of restarts. Its task is pretended:
// what answers its probe is one server for all.
const watchJob = `job %[1]q {
  type = "service"
  group "server" {
    count = 0
    update { max_parallel = 0 }
    network {
      port "http" { static = %[2]s }
    }
    restart {
      interval = "1h"
      attempts = 100
      delay    = "1s"
      mode     = "delay"
    }
    task "model" {
      driver = "docker"
      config { image = "model" }
      resources {
        cpu    = 1
        memory = 10
      }
    }
  }
}
`

// watchPolicy takes a name and a number of replicas.
const watchPolicy = `policy %[1]q {
  job = %[1]q
  route { path_prefixes = ["/%[1]s"] }
  probe { path = "/health" }
  replicas {
    min         = %[2]d
    max         = %[2]d
    concurrency = 4
  }
}
`

// Watch measures what a scaler costs that watches a large cluster. It is skipped
// without a redis-server, and takes about two minutes.
func Watch(ctx context.Context, cfg Config) (result Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Minute)
	defer cancel()
	const name = "watch"
	dir, err := os.MkdirTemp("", "pilotlight-bench-")
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	redis, stop, err := startRedis(ctx, dir)
	switch {
	case errors.Is(err, errNoRedis):
		return Result{Name: name, Skipped: err.Error()}, nil
	case err != nil:
		return Result{}, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	engine, err := startChild(ctx, cfg.Binary, nil, "bench", "part", PartUpstream)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, engine.stop()) }()
	address, err := engine.field(ctx, "listening")
	if err != nil {
		return Result{}, err
	}
	var watchers [2]*watcher
	for i, services := range []int{fewServices, manyServices} {
		w, err := startWatcher(ctx, cfg, filepath.Join(dir, strconv.Itoa(services)), fmt.Sprintf("redis://%s/%d", redis, i), address, services)
		if err != nil {
			return Result{}, err
		}
		defer func() { err = errors.Join(err, w.stop()) }()
		watchers[i] = w
	}
	few, many := watchers[0], watchers[1]
	for _, w := range watchers {
		cfg.say("%s: waiting for %d allocations of %d services", name, w.replicas, w.services)
		if err := w.gathered(ctx); err != nil {
			return Result{}, err
		}
	}
	cfg.say("%s: at rest for %v", name, restFor)
	rest, err := restOf(ctx, few, many)
	if err != nil {
		return Result{}, err
	}
	cfg.say("%s: %d allocations lose their task", name, many.replicas)
	storm, err := many.storm(ctx)
	if err != nil {
		return Result{}, err
	}
	// What would have been used at rest meanwhile is not the events' price.
	perEvent := max(0, storm.cpu-rest[1].cpu*storm.took.Seconds()/restFor.Seconds()) / float64(storm.events)
	one := func(what, unit string, v float64) Figure { return figureOf(what, unit, []float64{v}) }
	perMinute := float64(time.Minute) / float64(restFor)
	r := Result{
		Name:   name,
		Method: oneLine(fmt.Sprintf(watchMethod, manyReplicas, manyServices, fewServices, benchNodes, restFor)),
		Ratios: []Ratio{
			{What: fmt.Sprintf("calls to Nomad at rest, %d services to %d", manyServices, fewServices), Value: float64(rest[1].calls) / float64(rest[0].calls), N: 1, Aim: 1.2},
			{What: fmt.Sprintf("CPU at rest, %d services to %d", manyServices, fewServices), Value: rest[1].cpu / rest[0].cpu, N: 1},
			{What: "CPU of an event to decoding it once", Value: perEvent / storm.decode, N: storm.events},
		},
	}
	for i, w := range watchers {
		of := fmt.Sprintf(", %d services", w.services)
		r.Figures = append(r.Figures,
			one("calls to Nomad a minute at rest"+of, "calls", float64(rest[i].calls)*perMinute),
			one("CPU at rest"+of, "% of a core", 100*rest[i].cpu/restFor.Seconds()),
			one("memory"+of, "MiB", rest[i].memory/(1<<20)))
	}
	r.Figures = append(r.Figures,
		one("events of allocations told", "events", float64(storm.events)),
		one("size of an event", "KiB", storm.bytes/float64(storm.events)/(1<<10)),
		one("CPU of an event, with all that follows", "µs", 1e6*perEvent),
		one("decoding an event once", "µs", 1e6*storm.decode))
	return r, nil
}

// watcher is a scaler with a Nomad of its own.
type watcher struct {
	*node
	cluster            *cluster
	services, replicas int
}

// startWatcher starts a scaler with so many services, of 2 or 3 replicas each,
// whose replicas all answer at one address.
func startWatcher(ctx context.Context, cfg Config, dir, redis, engine string, services int) (*watcher, error) {
	_, port, _ := strings.Cut(engine, ":")
	w := &watcher{services: services}
	for i := range services {
		id, n := fmt.Sprintf("service-%03d", i), 2+i%2
		w.replicas += n
		if err := errors.Join(write(filepath.Join(dir, "policies", id+".hcl"), fmt.Sprintf(watchPolicy, id, n)),
			write(filepath.Join(dir, "jobs", id+".nomad.hcl"), fmt.Sprintf(watchJob, id, port))); err != nil {
			return nil, err
		}
	}
	var err error
	if w.cluster, err = startDouble(ctx, cfg); err != nil {
		return nil, err
	}
	w.node, err = startServe(ctx, cfg, "", "scaler", "--redis", redis, "--nomad", w.cluster.address,
		"--policies", filepath.Join(dir, "policies"), "--jobs", filepath.Join(dir, "jobs"))
	if err != nil {
		return nil, errors.Join(err, w.cluster.stop())
	}
	return w, nil
}

func (w *watcher) stop() error { return errors.Join(w.node.stop(), w.cluster.stop()) }

// gathered waits until all replicas are ready, and for what follows from that.
func (w *watcher) gathered(ctx context.Context) error {
	if err := w.until(ctx, gatherPatience, fmt.Sprintf("watching %d ready replicas", w.replicas), func() (bool, error) {
		m, err := w.scrape(ctx)
		return m.ready == w.replicas, err
	}); err != nil {
		return err
	}
	return wait(ctx, settleFor)
}

// scraped is what /metrics says.
type scraped struct {
	cpu    float64 // seconds
	memory float64 // bytes, resident
	ready  int     // replicas
}

func (w *watcher) scrape(ctx context.Context) (s scraped, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.metrics+"/metrics", nil)
	if err != nil {
		return s, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return s, err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		series, text, _ := strings.Cut(lines.Text(), " ")
		v, _ := strconv.ParseFloat(text, 64) // a comment has none, and is of no interest
		switch {
		case series == "process_cpu_seconds_total":
			s.cpu = v
		case series == "process_resident_memory_bytes":
			s.memory = v
		case strings.HasPrefix(series, "pilotlight_replicas{") && strings.Contains(series, `state="ready"`):
			s.ready += int(v)
		}
	}
	return s, lines.Err()
}

// rest is what a watcher used while nothing happened.
type rest struct {
	cpu, memory float64 // seconds, bytes
	calls       int
}

// restOf measures watchers in the same minute.
func restOf(ctx context.Context, watchers ...*watcher) ([]rest, error) {
	look := func() (list []rest, err error) {
		for _, w := range watchers {
			m, err := w.scrape(ctx)
			if err != nil {
				return nil, err
			}
			told, err := w.cluster.told(ctx)
			if err != nil {
				return nil, err
			}
			calls := 0
			for _, n := range told.Calls {
				calls += n
			}
			list = append(list, rest{m.cpu, m.memory, calls})
		}
		return list, nil
	}
	before, err := look()
	if err != nil {
		return nil, err
	}
	if err := wait(ctx, restFor); err != nil {
		return nil, err
	}
	after, err := look()
	for i := range after {
		after[i].cpu -= before[i].cpu
		after[i].calls -= before[i].calls
	}
	return after, err
}

// storm is what it took to follow every allocation through a restart.
type storm struct {
	took   time.Duration
	cpu    float64 // seconds
	events int
	bytes  float64
	decode float64 // seconds of CPU to decode one event
}

func (w *watcher) storm(ctx context.Context) (s storm, err error) {
	var list []allocation
	if err := w.cluster.ask(ctx, http.MethodGet, "/v1/allocations", nil, &list); err != nil {
		return s, err
	}
	listening, stop := context.WithCancel(ctx)
	defer stop()
	lines, failed := w.cluster.listen(listening)
	before, err := w.scrape(ctx)
	if err != nil {
		return s, err
	}
	began := time.Now()
	for _, a := range list {
		if err := w.cluster.exit(ctx, a.ID); err != nil {
			return s, err
		}
	}
	if err := errors.Join(wait(ctx, settleFor), w.gathered(ctx)); err != nil {
		return s, err
	}
	s.took = time.Since(began)
	after, err := w.scrape(ctx)
	if err != nil {
		return s, err
	}
	s.cpu = after.cpu - before.cpu
	stop()
	if err := <-failed; err != nil {
		return s, err
	}
	texts := lines()
	for _, text := range texts {
		s.events += bytes.Count(text, []byte(`"Topic":"Allocation"`))
		s.bytes += float64(len(text))
	}
	if s.events < len(list) {
		return s, fmt.Errorf("%d allocations lost their task and only %d events told it", len(list), s.events)
	}
	used := processTime()
	for _, text := range texts {
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			return s, err
		}
	}
	s.decode = (processTime() - used).Seconds() / float64(s.events)
	return s, nil
}

// exit ends the task of an allocation of the double.
func (c *cluster) exit(ctx context.Context, id string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address+"/bench/exit?allocation="+id, nil)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("allocation %s cannot be ended: %s", id, resp.Status)
	}
	return nil
}

// listen keeps the lines of the event stream about allocations until ctx ends,
// and returns when it is heard.
func (c *cluster) listen(ctx context.Context) (lines func() [][]byte, failed <-chan error) {
	var mu sync.Mutex
	var kept [][]byte
	heard, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- func() error {
			first := sync.OnceFunc(func() { close(heard) })
			defer first()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.address+"/v1/event/stream?topic=Allocation", nil)
			if err != nil {
				return err
			}
			resp, err := http.DefaultTransport.RoundTrip(req) // without the client's timeout
			if err != nil {
				return err
			}
			defer func() { _ = resp.Body.Close() }()
			for r := bufio.NewReader(resp.Body); ; {
				line, err := r.ReadBytes('\n')
				first() // a heartbeat comes at once
				if err != nil {
					if ctx.Err() != nil {
						return nil
					}
					return err
				}
				mu.Lock()
				kept = append(kept, line)
				mu.Unlock()
			}
		}()
	}()
	<-heard
	return func() [][]byte {
		mu.Lock()
		defer mu.Unlock()
		return kept
	}, ended
}

// processTime is what this process has used of the CPU.
func processTime() time.Duration {
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &ru) != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
