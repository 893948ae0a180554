package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/pilotlight/pilotlight/internal/stub"
	"github.com/pilotlight/pilotlight/jobs"
)

const (
	wakes       = 50
	stubService = "bench"
)

const wakeMethod = `50 wakes of the stub, which loads nothing, through pilotlight dev (every role in one process,
embedded Redis, local child processes), each followed by sleep and a start of the same stub by hand, probed every
0.2 ms. Held is counted from when Redis has accepted the ticket, to the millisecond below; client from when the
request was sent; forwarded until the stub begins to execute it, by its own log.`

const wakePolicy = `policy "bench" {
  job = "bench"
  route { path_prefixes = ["/translate"] }
  translate { backend = "passthrough" }
  replicas { concurrency = 4 }
  to_zero { after = "1m" }
}
`

// wakeJob takes the stub's log file.
const wakeJob = `job "bench" {
  type = "service"
  group "server" {
    count = 0
    update { max_parallel = 0 }
    network {
      port "http" {}
    }
    restart {
      attempts = 0
      mode     = "fail"
    }
    task "stub" {
      driver = "raw_exec"
      config {
        command = "pilotlight"
        args    = ["stub", "--listen", "${NOMAD_ADDR_http}", "--load", "0s", "--log-file", %q]
      }
    }
  }
}
`

// Wake measures what Pilotlight adds to the start of a model that takes no time
// to load. It takes about a minute.
func Wake(ctx context.Context, cfg Config) (result Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "pilotlight-bench-")
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	logFile := filepath.Join(dir, "executions.log")
	for name, text := range map[string]string{
		"policies/bench.hcl":   wakePolicy,
		"jobs/bench.nomad.hcl": fmt.Sprintf(wakeJob, logFile),
	} {
		if err := write(filepath.Join(dir, name), text); err != nil {
			return Result{}, err
		}
	}
	// Without a PATH it finds no redis-server: figures must not depend on what
	// else is installed.
	n, err := startNode(ctx, cfg, stubService, filepath.Join(dir, "state"), []string{"PATH="},
		"--policies", filepath.Join(dir, "policies"), "--jobs", filepath.Join(dir, "jobs"))
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, n.stop()) }()

	hand := byHand{
		command: func(address string) (string, []string) {
			return cfg.Binary, []string{"stub", "--listen", address, "--load", "0s"}
		},
		probePath: "/health",
		request: asking(http.MethodPost, "/translate", http.Header{"Content-Type": {"application/json"}},
			translation(warmBody)),
	}
	woken, starts, err := alternate(ctx, cfg, "wake", wakes, n, hand)
	if err != nil {
		return Result{}, err
	}
	begun, err := firstExecutions(logFile)
	if err != nil {
		return Result{}, err
	}
	return wakeResult(woken, starts, begun)
}

// yardstick starts the same thing without Pilotlight, and ends it again.
type yardstick interface {
	run(ctx context.Context) (handStart, error)
}

// alternate lets the node wake and the engine start by hand, in turn, each n
// times; the first turn only warms caches.
func alternate(ctx context.Context, cfg Config, name string, times int, n *node, hand yardstick) (woken []wake, starts []handStart, err error) {
	if err := n.untilZero(ctx); err != nil {
		return nil, nil, err
	}
	for i := range times + 1 {
		if i%10 == 1 {
			cfg.say("%s: %d of %d", name, i, times)
		}
		w, err := n.wake(ctx)
		if err != nil {
			return nil, nil, err
		}
		if n.woken != nil {
			if err := n.woken(ctx); err != nil {
				return nil, nil, err
			}
		}
		if err := n.sleep(ctx); err != nil {
			return nil, nil, err
		}
		h, err := hand.run(ctx)
		if err != nil {
			return nil, nil, err
		}
		if i > 0 {
			woken, starts = append(woken, w), append(starts, h)
		}
	}
	return woken, starts, nil
}

func wakeResult(woken []wake, starts []handStart, begun map[string]time.Time) (Result, error) {
	var fromHold, fromClient, toSlot, toStub, loads, answers, forked, ready, answersByHand []float64
	var stories []jobs.ColdStart
	for _, w := range woken {
		started, err := endOf(w.story, jobs.PhaseStart)
		if err != nil {
			return Result{}, err
		}
		probed, err := endOf(w.story, jobs.PhaseLoad)
		if err != nil {
			return Result{}, err
		}
		released, err := endOf(w.story, jobs.PhaseReady)
		if err != nil {
			return Result{}, err
		}
		arrived, ok := begun[w.replica]
		if !ok {
			return Result{}, fmt.Errorf("the stub has not logged what replica %s executed", w.replica)
		}
		fromHold = append(fromHold, milliseconds(started.Sub(w.story.StartedAt)))
		fromClient = append(fromClient, milliseconds(started.Sub(w.sent)))
		toSlot = append(toSlot, milliseconds(released.Sub(probed)))
		toStub = append(toStub, milliseconds(arrived.Sub(probed)))
		loads = append(loads, milliseconds(probed.Sub(started)))
		answers = append(answers, milliseconds(w.answer))
		stories = append(stories, w.story)
	}
	for _, h := range starts {
		forked = append(forked, milliseconds(h.process))
		ready = append(ready, milliseconds(h.ready))
		answersByHand = append(answersByHand, milliseconds(h.answer))
	}
	with := func(f Figure, aim string) Figure { f.Aim = aim; return f }
	return Result{
		Name:   "wake",
		Method: oneLine(wakeMethod),
		Ratios: []Ratio{
			ratioOfMedians("whole wake to start by hand", answers, answersByHand, 0),
			ratioOfMedians("process started to probe answered, to the same by hand", loads, ready, 0),
		},
		Figures: append([]Figure{
			with(figureOf("first hold to replica process started", "ms", fromHold), "p99 < 5"),
			figureOf("client to replica process started", "ms", fromClient),
			figureOf("probe answered to slot given", "ms", toSlot),
			with(figureOf("probe answered to request forwarded", "ms", toStub), "p99 < 15"),
			figureOf("client to first byte", "ms", answers),
			figureOf("by hand: fork and exec", "ms", forked),
			figureOf("by hand: process start to probe answered", "ms", ready),
			figureOf("by hand: process start to first byte", "ms", answersByHand),
		}, phaseFigures(stories)...),
	}, nil
}

// firstExecutions reads when each replica began its first execution.
func firstExecutions(file string) (map[string]time.Time, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	begun := map[string]time.Time{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e stub.Execution
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("log of executions: %w", err)
		}
		if e.Event == stub.EventStarted && e.N == 1 {
			begun[e.Replica] = e.Time
		}
	}
	return begun, lines.Err()
}

func write(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o600)
}
