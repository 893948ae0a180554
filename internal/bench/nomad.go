package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

const (
	nomadWakes = 30
	nomadAim   = 1.1
)

const nomadMethod = `%d wakes of the stub, which loads nothing, through pilotlight serve (activator, scaler and web in one
process, a redis-server) over a %s, each followed by sleep and by a scale of the same job by hand: its port is
static, so that nobody has to learn its address, and it is probed every 0.2 ms from the scale call on. Both count to
the first byte of the answer: by hand from just before the scale call is sent, through Pilotlight from when the client
sends. Held is counted from when Redis has accepted the ticket, to the millisecond below; forwarded until the stub
begins to execute it, by its own log.%s`

// nomadJob takes an id, the body of a port, the binary and the stub's log file.
const nomadJob = `job %q {
  type = "service"
  group "server" {
    count = 0
    update { max_parallel = 0 }
    network {
      port "http" {%s}
    }
    restart {
      attempts = 0
      mode     = "fail"
    }
    task "stub" {
      driver = "raw_exec"
      config {
        command = %q
        args    = ["stub", "--listen", "${NOMAD_ADDR_http}", "--load", "0s", "--log-file", %q]
      }
      kill_signal = "SIGTERM"
    }
  }
}
`

// NomadWake measures a wake over the Nomad double against the same job scaled by
// hand. It is skipped without a redis-server, and takes about a minute.
func NomadWake(ctx context.Context, cfg Config) (result Result, err error) {
	c, err := startDouble(ctx, cfg)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	return c.wakes(ctx, cfg)
}

// AgentWake is NomadWake over the agent at cfg.Nomad, which must run on this
// machine with the raw_exec driver. It is skipped where none is given.
func AgentWake(ctx context.Context, cfg Config) (Result, error) {
	c := &cluster{name: "nomad agent", address: cfg.Nomad, token: cfg.NomadToken, client: &http.Client{Timeout: time.Minute}}
	if cfg.Nomad == "" {
		return Result{Name: c.name, Skipped: "NOMAD_ADDR is not set"}, nil
	}
	return c.wakes(ctx, cfg)
}

func (c *cluster) wakes(ctx context.Context, cfg Config) (result Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "pilotlight-bench-")
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	redis, stop, err := startRedis(ctx, dir)
	switch {
	case errors.Is(err, errNoRedis):
		return Result{Name: c.name, Skipped: err.Error()}, nil
	case err != nil:
		return Result{}, err
	}
	defer func() { err = errors.Join(err, stop()) }()

	id := "bench-" + strings.ToLower(rand.Text()[:8])
	logFile := filepath.Join(dir, "executions.log")
	hand := &handScaled{cluster: c, job: id + "-by-hand"}
	if hand.address, err = freeAddress(); err != nil {
		return Result{}, err
	}
	_, port, _ := net.SplitHostPort(hand.address) // it comes from a listener
	handJob := fmt.Sprintf(nomadJob, hand.job, " static = "+port+" ", cfg.Binary, filepath.Join(dir, "by-hand.log"))
	for name, text := range map[string]string{
		"policies/bench.hcl":   strings.Replace(wakePolicy, `job = "bench"`, fmt.Sprintf("job = %q", id), 1),
		"jobs/bench.nomad.hcl": fmt.Sprintf(nomadJob, id, "", cfg.Binary, logFile),
	} {
		if err := write(filepath.Join(dir, name), text); err != nil {
			return Result{}, err
		}
	}
	for _, job := range []string{id, hand.job} {
		defer func() { // also when ctx has ended
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
			defer cancel()
			err = errors.Join(err, c.purge(last, job))
		}()
	}
	if err := c.register(ctx, handJob); err != nil {
		return Result{}, err
	}
	n, err := startServe(ctx, cfg, stubService, "activator,scaler,web", "--redis", "redis://"+redis, "--nomad", c.address,
		"--policies", filepath.Join(dir, "policies"), "--jobs", filepath.Join(dir, "jobs"))
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	var seen []time.Time // when the double had the scale call of each wake
	if c.double != nil {
		n.woken = func(ctx context.Context) error {
			t, err := c.told(ctx)
			seen = append(seen, t.LastScale)
			return err
		}
	}
	woken, starts, err := alternate(ctx, cfg, c.name, nomadWakes, n, hand)
	if err != nil {
		return Result{}, err
	}
	begun, err := firstExecutions(logFile)
	if err != nil {
		return Result{}, err
	}
	return c.wakeResult(woken, starts, seen, begun)
}

func (c *cluster) wakeResult(woken []wake, starts []handStart, seen []time.Time, begun map[string]time.Time) (Result, error) {
	var sent, arrived, toStub, answers, ready, answersByHand, untilReady []float64
	var stories []jobs.ColdStart
	seen = seen[max(0, len(seen)-len(woken)):] // without the first turn
	for i, w := range woken {
		asked, err := endOf(w.story, jobs.PhaseDecide)
		if err != nil {
			return Result{}, err
		}
		probed, err := endOf(w.story, jobs.PhaseLoad)
		if err != nil {
			return Result{}, err
		}
		executed, ok := begun[w.replica]
		if !ok {
			return Result{}, fmt.Errorf("the stub has not logged what replica %s executed", w.replica)
		}
		sent = append(sent, milliseconds(asked.Sub(w.story.StartedAt)))
		if len(seen) > i {
			arrived = append(arrived, milliseconds(seen[i].Sub(w.story.StartedAt)))
		}
		untilReady = append(untilReady, milliseconds(probed.Sub(asked)))
		toStub = append(toStub, milliseconds(executed.Sub(probed)))
		answers = append(answers, milliseconds(w.answer))
		stories = append(stories, w.story)
	}
	for _, h := range starts {
		ready = append(ready, milliseconds(h.ready))
		answersByHand = append(answersByHand, milliseconds(h.answer))
	}
	with := func(f Figure, aim string) Figure { f.Aim = aim; return f }
	r := Result{
		Name: c.name,
		Ratios: []Ratio{
			ratioOfMedians("whole wake to the same job scaled by hand", answers, answersByHand, nomadAim),
			ratioOfMedians("scale call to probe answered, to the same by hand", untilReady, ready, 0),
		},
		Figures: []Figure{with(figureOf("first hold to scale call sent", "ms", sent), "p99 < 5")},
	}
	note := ""
	if len(arrived) > 0 {
		note = " The double says when it had the scale call."
		r.Figures = append(r.Figures, figureOf("first hold to scale call received", "ms", arrived))
	}
	r.Method = oneLine(fmt.Sprintf(nomadMethod, len(woken), c.name, note))
	r.Figures = append(r.Figures,
		figureOf("scale call sent to probe answered", "ms", untilReady),
		with(figureOf("probe answered to request forwarded", "ms", toStub), "p99 < 15"),
		figureOf("client to first byte", "ms", answers),
		figureOf("by hand: scale call to probe answered", "ms", ready),
		figureOf("by hand: scale call to first byte", "ms", answersByHand),
	)
	r.Figures = append(r.Figures, phaseFigures(stories)...)
	return r, nil
}

// handScaled is a job that is scaled without Pilotlight.
type handScaled struct {
	*cluster
	job     string
	address string // of its static port
}

// run scales the job to one, asks its replica once, and scales it to zero.
func (h *handScaled) run(ctx context.Context) (s handStart, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	scaled := make(chan error, 1)
	begun := time.Now()
	go func() { scaled <- h.scale(ctx, h.job, 1) }()
	for !good(ctx, client, "http://"+h.address+"/health") {
		select {
		case <-ctx.Done():
			return s, fmt.Errorf("%s scaled by hand did not answer: %w", h.job, ctx.Err())
		case <-time.After(probePause):
		}
	}
	s.ready = time.Since(begun)
	req, err := asking(http.MethodPost, "/translate", http.Header{"Content-Type": {"application/json"}},
		translation(warmBody))(ctx, "http://"+h.address)
	if err != nil {
		return s, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return s, fmt.Errorf("ask %s: %w", h.job, err)
	}
	s.answer = time.Since(begun)
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return s, err
	}
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("%s answered %s: %s", h.job, resp.Status, body)
	}
	if err := <-scaled; err != nil {
		return s, err
	}
	if err := h.scale(ctx, h.job, 0); err != nil {
		return s, err
	}
	return s, h.untilGone(ctx, h.job)
}
