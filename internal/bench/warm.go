package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/internal/loadgen"
)

// The load of the warm benchmark.
const (
	warmConnections = 32
	warmRounds      = 5
	warmRound       = 1500 * time.Millisecond
	halfRound       = time.Second
	warmUp          = 500 * time.Millisecond
	warmBody        = 200 // bytes
	warmAim         = 1.2
	addedAim        = "p50 < 0.2, p99 < 2"
)

const warmMethod = `CPU (user and system, getrusage of the proxy's own process) and latency of a POST with a
200-byte body over 32 kept connections, closed loop, through Pilotlight's activator on the warm path, through a bare
httputil.ReverseProxy and through one with a BufferPool, same upstream, 5 rounds of 1.5 s each in turn. Then all of
them and the upstream itself at half of the activator's saturation, open loop, 5 rounds of 1 s each in turn: added is
the latency beyond the upstream's own. Latencies are medians of the rounds' quantiles.`

// Warm measures what a request costs that finds a ready replica with a free
// slot, against the standard reverse proxy. It takes about a minute.
func Warm(ctx context.Context, cfg Config) (result Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	w := &warm{cfg: cfg}
	defer func() { err = errors.Join(err, w.stop()) }()
	if err := w.start(ctx); err != nil {
		return Result{}, err
	}
	result = Result{Name: "warm", Method: oneLine(warmMethod)}
	saturation := 0.0
	for _, route := range []struct{ name, path string }{{"proxied", plainPath}, {"translate", translatePath}} {
		if err := w.closedLoop(ctx, route.name, route.path); err != nil {
			return Result{}, err
		}
		act := w.proxies[0]
		for _, yardstick := range w.proxies[1:] {
			to := func(what string) string { return route.name + ", " + what + " to " + yardstick.name }
			result.Ratios = append(result.Ratios,
				pairedRatio(to("CPU per request"), act.cpuUS, yardstick.cpuUS, warmAim),
				pairedRatio(to("p50 latency"), act.p50, yardstick.p50, 0),
				pairedRatio(to("p99 latency"), act.p99, yardstick.p99, 0))
		}
		for _, p := range w.proxies {
			result.Figures = append(result.Figures,
				figureOf(route.name+", CPU per request (rounds), "+p.name, "us", p.cpuUS),
				p.latency(route.name+", latency, "+p.name),
				figureOf(route.name+", requests per second (rounds), "+p.name, "1/s", p.perSecond))
		}
		if saturation == 0 {
			saturation = median(act.perSecond)
		}
	}
	half, err := w.halfSaturation(ctx, saturation/2)
	if err != nil {
		return Result{}, err
	}
	result.Figures = append(result.Figures, half...)
	return result, nil
}

// warm is the processes under load.
type warm struct {
	cfg      Config
	upstream *proxy
	proxies  []*proxy // the activator first, then the yardsticks
}

// proxy is one of them, and what its rounds gave.
type proxy struct {
	*child
	name    string
	address string
	rounds
}

func (w *warm) start(ctx context.Context) (err error) {
	if w.upstream, err = w.part(ctx, PartUpstream); err != nil {
		return err
	}
	for _, name := range []string{PartActivator, PartBare, PartPooled} {
		p, err := w.part(ctx, name, "--upstream", w.upstream.address)
		if err != nil {
			return err
		}
		w.proxies = append(w.proxies, p)
	}
	return nil
}

func (w *warm) part(ctx context.Context, name string, args ...string) (*proxy, error) {
	c, err := startChild(ctx, w.cfg.Binary, nil, append([]string{"bench", "part", name}, args...)...)
	if err != nil {
		return nil, err
	}
	address, err := c.field(ctx, "listening")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("part %s: %w", name, err), c.stop())
	}
	return &proxy{child: c, name: name, address: address}, nil
}

func (w *warm) stop() error {
	var errs []error
	for _, p := range w.proxies {
		errs = append(errs, p.stop())
	}
	if w.upstream != nil {
		errs = append(errs, w.upstream.stop())
	}
	return errors.Join(errs...)
}

// used asks for the CPU time of the process so far.
func (p *proxy) used(ctx context.Context) (time.Duration, error) {
	if _, err := fmt.Fprintln(p.in); err != nil {
		return 0, err
	}
	line, err := p.line(ctx)
	if err != nil {
		return 0, err
	}
	var u usage
	if err := json.Unmarshal([]byte(line), &u); err != nil {
		return 0, fmt.Errorf("usage %q: %w", line, err)
	}
	return u.CPU, nil
}

// rounds is what a server's rounds under one load gave.
type rounds struct {
	cpuUS, p50, p99, perSecond []float64 // one value a round; latencies in milliseconds
	requests                   int
}

func (s *rounds) latency(what string) Figure {
	return Figure{What: what, Unit: "ms", N: s.requests, P50: median(s.p50), P99: median(s.p99)}
}

func (s *rounds) add(r loadgen.Report) {
	s.p50 = append(s.p50, milliseconds(r.Quantile(50)))
	s.p99 = append(s.p99, milliseconds(r.Quantile(99)))
	s.perSecond = append(s.perSecond, r.PerSecond())
	s.requests += r.Sent
}

// closedLoop lets the proxies take turns under as much load as the connections
// make.
func (w *warm) closedLoop(ctx context.Context, name, path string) error {
	for _, p := range w.proxies {
		p.rounds = rounds{}
		// The first requests find no slot leased yet and are held for a moment.
		if _, err := send(ctx, p, loadgen.Config{URL: p.url(path), Concurrency: warmConnections, Duration: warmUp}); err != nil {
			return err
		}
	}
	for round := range warmRounds {
		w.cfg.say("warm: %s, round %d of %d", name, round+1, warmRounds)
		for _, p := range w.proxies {
			before, err := p.used(ctx)
			if err != nil {
				return err
			}
			report, err := load(ctx, p, loadgen.Config{URL: p.url(path), Concurrency: warmConnections, Duration: warmRound})
			if err != nil {
				return err
			}
			after, err := p.used(ctx)
			if err != nil {
				return err
			}
			p.cpuUS = append(p.cpuUS, float64((after-before).Nanoseconds())/1000/float64(report.Sent))
			p.add(report)
		}
	}
	return nil
}

// halfSaturation lets the upstream and the proxies take turns at the same rate,
// in requests per second.
func (w *warm) halfSaturation(ctx context.Context, rate float64) ([]Figure, error) {
	turns := append([]*proxy{w.upstream}, w.proxies...)
	for _, p := range turns {
		p.rounds = rounds{}
	}
	for round := range warmRounds {
		w.cfg.say("warm: half of saturation, round %d of %d", round+1, warmRounds)
		for _, p := range turns {
			report, err := load(ctx, p, loadgen.Config{URL: p.url(plainPath), Concurrency: warmConnections, Rate: rate, Duration: halfRound})
			if err != nil {
				return nil, err
			}
			p.add(report)
		}
	}
	direct := w.upstream
	at := fmt.Sprintf("at %.0f/s, ", rate)
	figures := []Figure{direct.latency(at + "latency, upstream itself")}
	for i, p := range w.proxies {
		f := Figure{What: at + "added latency, " + p.name, Unit: "ms", N: p.requests,
			P50: median(minus(p.p50, direct.p50)), P99: median(minus(p.p99, direct.p99))}
		if i == 0 {
			f.Aim = addedAim
		}
		figures = append(figures, f)
	}
	return figures, nil
}

func minus(values, others []float64) []float64 {
	out := make([]float64, len(values))
	for i := range out {
		out[i] = values[i] - others[i]
	}
	return out
}

func (p *proxy) url(path string) string { return "http://" + p.address + path }

// heldAtMost is the share of requests that may have been held. It is not zero
// because slots change hands when a lease is renewed on a machine that stalls.
const heldAtMost = 0.001

// load sends one round and refuses what is not the warm path.
func load(ctx context.Context, to *proxy, cfg loadgen.Config) (loadgen.Report, error) {
	r, err := send(ctx, to, cfg)
	if err == nil && float64(r.Wrong) > heldAtMost*float64(r.Sent) {
		err = fmt.Errorf("%s: %d of %d requests were held, which is not the warm path: %v", to.name, r.Wrong, r.Sent, r.Samples)
	}
	return r, err
}

// send sends one round; in its report, answers that were held are wrong.
func send(ctx context.Context, to *proxy, cfg loadgen.Config) (loadgen.Report, error) {
	body := translation(warmBody)
	header := http.Header{"Content-Type": {"application/json"}}
	cfg.Body = func(int) ([]byte, http.Header) { return body, header }
	cfg.Timeout = 10 * time.Second
	cfg.Check = func(_ int, resp *http.Response, _ []byte) error { return checkNotHeld(resp.Header) }
	r, err := loadgen.Run(ctx, cfg)
	switch {
	case err != nil:
		return r, err
	case ctx.Err() != nil:
		return r, ctx.Err()
	case r.Sent == 0 || r.Codes[http.StatusOK] != r.Sent:
		return r, fmt.Errorf("%s: not every answer was 200: %s %v", to.name, r, r.Samples)
	}
	return r, nil
}

// checkNotHeld reads what the activator tells of a request's wait; others tell
// nothing.
func checkNotHeld(h http.Header) error {
	if t := h.Get("Server-Timing"); t != "" && !strings.HasPrefix(t, "hold;dur=0, cold;dur=0,") {
		return fmt.Errorf("held: %s", t)
	}
	return nil
}

// translation is a body of so many bytes.
func translation(size int) []byte {
	const before, after = `{"source_lang":"en","target_lang":"es","text":"`, `"}`
	return []byte(before + strings.Repeat("hello ", size)[:size-len(before)-len(after)] + after)
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// say tells of progress.
func (c Config) say(format string, args ...any) {
	if c.Progress != nil {
		_, _ = fmt.Fprintf(c.Progress, format+"\n", args...)
	}
}

// oneLine undoes the line breaks of source code.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
