package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/internal/redisdb"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler"
	"github.com/pilotlight/pilotlight/scaler/history"
	"github.com/pilotlight/pilotlight/scaler/lease"
)

// PartScaler is the process of the scaler benchmark.
const PartScaler = "scaler"

// What it is asked, a line each, and with which word it answers.
const (
	askUsage  = "usage"
	askWakes  = "wakes"
	askMemory = "memory"
)

// idleUsage is what the process has used so far.
type idleUsage struct {
	At    time.Time     `json:"at"`
	CPU   time.Duration `json:"cpu_ns"` // user and system
	Redis int64         `json:"redis"`  // commands
	Fleet int64         `json:"fleet"`  // calls other than Observe, which is from memory
}

// woken are milliseconds from the moment at which a request was held.
type woken struct {
	Decided []float64 `json:"decided"`
	Called  []float64 `json:"called"`
	Redis   []float64 `json:"redis"` // a PING and its answer, just before
}

// RunScaler is the part of the scaler benchmark: it leads over services at rest,
// says how many milliseconds it took to take them over, and answers each line of
// in, until in or ctx ends.
func RunScaler(ctx context.Context, services int, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "pilotlight-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	server, err := redisdb.NewServer(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	var failed error // of the server, if it ended by itself
	redisCtx, stopRedis := context.WithCancel(context.WithoutCancel(ctx))
	ran := make(chan struct{})
	clients := make(chan redis.UniversalClient, 1)
	go func() {
		defer close(ran)
		defer close(clients)
		failed = server.Run(redisCtx, func(c redis.UniversalClient) { clients <- c })
	}()
	defer func() { stopRedis(); <-ran }()
	client, ok := <-clients
	if !ok {
		return failed
	}
	r := &resting{fleet: &restingFleet{scaled: make(chan string, services)}, client: client, hist: history.New(client)}
	client.AddHook(r)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	shelf := &shelf{}
	for i := range services {
		p := policies.New(restingName(i))
		p.Job, p.Route.PathPrefixes = p.Name, []string{"/" + p.Name}
		shelf.list = append(shelf.list, policies.Version{Name: p.Name, Version: 1, Policy: p})
	}
	began := time.Now()
	s, err := scaler.New(scaler.Config{
		Fleet: r.fleet, Ledger: queue.NewLedger(client, nil), Policies: shelf, Specs: anySpec, History: r.hist,
		Lease: lease.New(client, "scaler", log), Logger: log,
	})
	if err != nil {
		return err
	}
	q, err := queue.New(queue.Config{Redis: client})
	if err != nil {
		return err
	}
	var loops sync.WaitGroup
	defer loops.Wait()
	defer cancel()
	loops.Go(func() { _ = s.Run(ctx) })
	loops.Go(func() { _ = q.Run(ctx) })
	if err := r.untilAtZero(ctx, services, out); err != nil {
		return err
	}
	if err := tell(out, "leading", float64(time.Since(began).Microseconds())/1000); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		switch lines.Text() {
		case askUsage:
			u, err := r.usage()
			if err != nil {
				return err
			}
			err = tell(out, askUsage, u)
			if err != nil {
				return err
			}
		case askMemory:
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if err := tell(out, askMemory, m.HeapAlloc+m.StackInuse); err != nil {
				return err
			}
		case askWakes:
			w, err := r.wake(ctx, q, min(wakesEach, services))
			if err != nil {
				return err
			}
			if err := tell(out, askWakes, w); err != nil {
				return err
			}
		}
	}
	return nil
}

func tell(out io.Writer, word string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s %s\n", word, text)
	return err
}

func restingName(i int) string { return fmt.Sprintf("s-%05d", i) }

// resting is a scaler's surroundings. It counts the commands to Redis.
type resting struct {
	fleet    *restingFleet
	client   redis.UniversalClient
	hist     *history.History
	commands atomic.Int64
}

func (r *resting) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return next(ctx, network, address)
	}
}

func (r *resting) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		r.commands.Add(1)
		return next(ctx, cmd)
	}
}

func (r *resting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		r.commands.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

// processCPU is what this process has used so far, user and system.
func processCPU() (time.Duration, error) {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0, fmt.Errorf("read the usage of CPU: %w", err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), nil
}

func (r *resting) usage() (idleUsage, error) {
	cpu, err := processCPU()
	if err != nil {
		return idleUsage{}, err
	}
	return idleUsage{
		At: time.Now(), CPU: cpu,
		Redis: r.commands.Load(), Fleet: r.fleet.calls.Load(),
	}, nil
}

// untilAtZero waits until the scaler has said of every service that it is at zero.
// It says how far it is, for whoever waits with a limit.
func (r *resting) untilAtZero(ctx context.Context, services int, out io.Writer) error {
	for said := time.Now(); ; {
		n, err := r.client.HLen(ctx, "pl:statuses").Result()
		if err != nil {
			return err
		}
		if n > int64(services) { // and the scaler's beat
			return nil
		}
		if time.Since(said) > 5*time.Second {
			said = time.Now()
			if err := tell(out, "taken", n); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// wake wakes that many services one after another.
func (r *resting) wake(ctx context.Context, q *queue.Queue, n int) (w woken, err error) {
	for i := range n {
		name := restingName(i)
		asked := time.Now()
		if err := r.client.Ping(ctx).Err(); err != nil {
			return w, err
		}
		w.Redis = append(w.Redis, float64(time.Since(asked).Microseconds())/1000)
		hold, withdraw := context.WithCancel(ctx)
		gone := make(chan struct{})
		held := time.Now()
		go func() {
			defer close(gone)
			_, _, _ = q.Hold(hold, &queue.Ticket{ // nothing answers it
				ID: "t-" + name, Service: name, Method: http.MethodPost, Path: "/" + name, Deadline: held.Add(time.Minute),
			}, queue.Limits{Requests: 10, Bytes: 1 << 20})
		}()
		select {
		case <-ctx.Done():
			withdraw()
			return w, ctx.Err()
		case <-time.After(10 * time.Second):
			withdraw()
			return w, fmt.Errorf("%s was not woken within 10 s", name)
		case <-r.fleet.scaled:
		}
		w.Called = append(w.Called, float64(time.Since(held).Microseconds())/1000)
		decided, err := r.decided(ctx, name)
		if err != nil {
			withdraw()
			return w, err
		}
		w.Decided = append(w.Decided, float64(decided.Sub(held).Microseconds())/1000)
		withdraw()
		<-gone
	}
	return w, nil
}

// decided is when the scaler decided to wake a service.
func (r *resting) decided(ctx context.Context, name string) (time.Time, error) {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		list, err := r.hist.Decisions(ctx, name, 10)
		if err != nil {
			return time.Time{}, err
		}
		for _, d := range list {
			if d.From == 0 && d.To > 0 {
				return d.At, nil
			}
		}
		select {
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return time.Time{}, fmt.Errorf("no decision to wake %s", name)
}

func anySpec(job string) (*jobs.Spec, bool) {
	return &jobs.Spec{ID: job, Type: "service", Groups: []jobs.Group{{Name: "server", Tasks: []jobs.Task{{Name: "model"}}}}}, true
}

// shelf is a policy store that is only read.
type shelf struct {
	policies.Store
	list []policies.Version
}

func (s *shelf) List(context.Context) ([]policies.Version, error) { return s.list, nil }

func (s *shelf) Watch(ctx context.Context, changed func()) error {
	changed()
	<-ctx.Done()
	return nil
}

// restingFleet places nothing and counts its calls.
type restingFleet struct {
	calls  atomic.Int64
	scaled chan string
}

var errNoGPUs = errors.New("nothing runs here")

func (f *restingFleet) Ensure(context.Context, *jobs.Spec, jobs.Ref, bool) error {
	f.calls.Add(1)
	return nil
}

func (f *restingFleet) Revive(context.Context, *jobs.Spec, jobs.Ref, string) error { return nil }

func (f *restingFleet) Scale(_ context.Context, ref jobs.Ref, count int, _ string, _ map[string]string) error {
	f.calls.Add(1)
	if count > 0 {
		f.scaled <- ref.Job
	}
	return nil
}

func (f *restingFleet) Note(context.Context, jobs.Ref, string, map[string]string) error {
	f.calls.Add(1)
	return nil
}

func (f *restingFleet) GPUs(context.Context, jobs.Ref) (map[string]jobs.GPU, error) {
	f.calls.Add(1)
	return nil, errNoGPUs
}

func (f *restingFleet) Observe(context.Context, jobs.Ref) (jobs.Observation, error) {
	return jobs.Observation{At: time.Now()}, nil
}

func (f *restingFleet) Watch(ctx context.Context, _ func(jobs.Ref)) error {
	<-ctx.Done()
	return nil
}
