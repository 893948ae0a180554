package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/activator"
	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/internal/redisdb"
	"github.com/pilotlight/pilotlight/policies"
)

// PartHold is an activator as a node has it, over a Redis that it shares with
// others, and the connections that it holds.
const PartHold = "hold"

// The one service of the hold benchmark.
const (
	heldService = "held"
	heldPath    = "/held"
	heldBody    = 200 // bytes
	heldPolicy  = `policy "held" {
  job = "held"
  route { path_prefixes = ["/held"] }
  hold {
    max_requests = 100000
    max_bytes    = "1GiB"
    max_wait     = "1h"
  }
}`
)

// heldState is what the part says of itself after each command.
type heldState struct {
	Held     int   `json:"held"`     // connections that wait
	Answered int   `json:"answered"` // since the start
	Wrong    int   `json:"wrong"`    // of Answered, those that were not 200
	Commands int   `json:"commands"` // sent to Redis since the start
	Resident int64 `json:"resident"` // bytes of the process in memory
	Stacks   int64 `json:"stacks"`   // of them, goroutines' stacks
	Heap     int64 `json:"heap"`     // and objects

	CPU time.Duration `json:"cpu_ns"` // user and system, since the start
}

// holdPart is the process.
type holdPart struct {
	queue    *queue.Queue
	listener *heldListener
	commands commandCounter
	answered atomic.Int64
	wrong    atomic.Int64
}

// RunHoldPart says on out where it listens, then answers each line of in with its
// state: "state", "settle" (after a collection of garbage), or "hold FIRST N",
// which connects N more clients.
func RunHoldPart(ctx context.Context, redisURL string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &holdPart{listener: newHeldListener()}
	client, err := redisdb.Open(redisURL)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	client.AddHook(&p.commands)
	store := policies.NewMemory()
	if _, err := store.Put(ctx, heldService, heldPolicy, 0, "bench", ""); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var act *activator.Activator // made before the queue runs anything
	p.queue, err = queue.New(queue.Config{Redis: client, Address: l.Addr().String(), Ask: activator.AskPeer,
		Execute: func(ctx context.Context, e *queue.Execution) error { return act.Execute(ctx, e) }})
	if err != nil {
		return err
	}
	act, err = activator.New(activator.Config{Policies: store, Queue: p.queue, Statuses: noStatuses{},
		Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	var loops sync.WaitGroup
	defer loops.Wait()
	defer cancel()
	loops.Go(func() { _ = p.queue.Run(ctx) })
	loops.Go(func() { _ = act.Run(ctx) })
	if err := untilReady(ctx, act); err != nil {
		return err
	}
	srv := &http.Server{Handler: act, ReadHeaderTimeout: 10 * time.Second}
	loops.Go(func() { _ = srv.Serve(l) })
	loops.Go(func() { _ = srv.Serve(p.listener) })
	defer func() { _ = srv.Close() }()
	if _, err := fmt.Fprintf(out, "listening %s\n", l.Addr()); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if err := p.obey(lines.Text()); err != nil {
			return err
		}
		if err := json.NewEncoder(out).Encode(p.state()); err != nil {
			return err
		}
	}
	return nil
}

func (p *holdPart) obey(line string) error {
	var first, n int
	switch {
	case line == "state":
	case line == "settle":
		debug.FreeOSMemory()
	default:
		if _, err := fmt.Sscanf(line, "hold %d %d", &first, &n); err != nil {
			return fmt.Errorf("command %q: %w", line, err)
		}
		p.hold(first, n)
	}
	return nil
}

// asksAtOnce is how many requests are on their way to Redis at a time.
const asksAtOnce = 64

// hold connects n clients, as fast as their requests are held.
func (p *holdPart) hold(first, n int) {
	before := p.commands.scripts.Load()
	for i := range n {
		for int64(i)-(p.commands.scripts.Load()-before) >= asksAtOnce {
			time.Sleep(100 * time.Microsecond)
		}
		c := &heldConn{answered: p.take}
		c.request = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: held\r\nX-Request-Id: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			heldPath, heldID(first+i), heldBody, translation(heldBody))
		p.listener.conns <- c
	}
}

func heldID(i int) string { return "held-" + strconv.Itoa(i) }

func (p *holdPart) take(answer []byte) {
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
		p.wrong.Add(1)
	}
	p.answered.Add(1)
}

func (p *holdPart) state() heldState {
	s := heldState{Answered: int(p.answered.Load()), Wrong: int(p.wrong.Load()), Commands: int(p.commands.all.Load())}
	for _, st := range p.queue.Standings() {
		s.Held += st.Held
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.Stacks, s.Heap = int64(m.StackInuse), int64(m.HeapInuse)
	s.Resident = resident()
	if used, err := cpu(); err == nil {
		s.CPU = used
	}
	return s
}

// resident is what the process has in memory, in bytes; 0 where that is not told.
func resident() int64 {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(raw), &size, &pages); err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// commandCounter counts what is sent to Redis, and the scripts among it.
type commandCounter struct{ all, scripts atomic.Int64 }

func (c *commandCounter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *commandCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		c.all.Add(1)
		if cmd.Name() == "evalsha" {
			c.scripts.Add(1)
		}
		return err
	}
}

func (c *commandCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.all.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}
