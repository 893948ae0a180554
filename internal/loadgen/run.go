package loadgen

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// late is how far behind its schedule an open-loop request counts as late.
const late = 10 * time.Millisecond

// Run sends the load and waits for every answer. When ctx ends it begins no more
// requests, aborts those under way and returns what there is. The error is that
// of the configuration; what went wrong with requests is in the Report.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if err := cfg.Validate(); err != nil {
		return Report{}, fmt.Errorf("load generator: %w", err)
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 1
	}
	if cfg.N > 0 {
		cfg.Concurrency = min(cfg.Concurrency, cfg.N)
	}
	if cfg.Method == "" {
		cfg.Method = http.MethodGet
		if cfg.Body != nil {
			cfg.Method = http.MethodPost
		}
	}
	transport := cfg.Transport
	if transport == nil {
		own := loopbackTransport(cfg.Concurrency)
		defer own.CloseIdleConnections()
		transport = own
	}
	g := &generator{
		cfg: cfg,
		client: &http.Client{
			Transport: transport,
			Timeout:   cfg.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
		start:  time.Now(),
		report: newReport(),
	}
	var workers sync.WaitGroup
	for range cfg.Concurrency {
		workers.Go(func() { g.work(ctx) })
	}
	workers.Wait()
	g.report.Elapsed = time.Since(g.start)
	return g.report, nil
}

// generator hands out the requests of one Run to its workers.
type generator struct {
	cfg    Config
	client *http.Client
	start  time.Time
	next   atomic.Int64

	// One report for all workers: a histogram takes 200 KB, and there may be
	// tens of thousands of them.
	mu     sync.Mutex
	report Report
}

// note changes the report.
func (g *generator) note(change func(r *Report)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.report)
}

// work sends requests until there are none left to begin.
func (g *generator) work(ctx context.Context) {
	for {
		i := int(g.next.Add(1)) - 1
		if g.cfg.N > 0 && i >= g.cfg.N {
			return
		}
		from := time.Now()
		if g.cfg.Rate > 0 {
			from = g.start.Add(time.Duration(float64(i) / g.cfg.Rate * float64(time.Second)))
		}
		if g.cfg.Duration > 0 && from.Sub(g.start) >= g.cfg.Duration {
			return
		}
		if !sleepUntil(ctx, from) {
			return
		}
		g.send(ctx, i, from)
	}
}

// sleepUntil reports whether ctx still lives when t has come.
func sleepUntil(ctx context.Context, t time.Time) bool {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// send sends the ith request, due at from, and notes what came of it.
func (g *generator) send(ctx context.Context, i int, from time.Time) {
	behind := time.Since(from) > late
	resp, body, err := g.exchange(ctx, i)
	latency := time.Since(from)
	aborted := err != nil && ctx.Err() != nil

	var wrong error
	if err == nil && g.cfg.Check != nil {
		wrong = g.cfg.Check(i, resp, body)
	}
	g.note(func(r *Report) {
		r.Sent++
		if behind {
			r.Late++
		}
		switch {
		case aborted:
			r.Aborted++
			return
		case err != nil:
			r.Errors++
			r.sample(fmt.Errorf("request %d: %w", i, err))
			return
		}
		r.record(resp.StatusCode, latency, resp.Header.Get("Pilotlight-Cold-Start") == "true")
		if wrong != nil {
			r.Wrong++
			r.sample(fmt.Errorf("answer %d, status %d: %w", i, resp.StatusCode, wrong))
		}
	})
}

// exchange sends the ith request and reads its whole answer.
func (g *generator) exchange(ctx context.Context, i int) (*http.Response, []byte, error) {
	var content io.Reader
	var header http.Header
	if g.cfg.Body != nil {
		var b []byte
		b, header = g.cfg.Body(i)
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, g.cfg.Method, g.cfg.URL, content)
	if err != nil {
		return nil, nil, err
	}
	if header != nil {
		req.Header = header.Clone()
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

// loopbackTransport keeps a connection for every worker and connects to loopback
// addresses only, whatever a name resolves to.
func loopbackTransport(workers int) *http.Transport {
	dialer := &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		addr, err := netip.ParseAddrPort(address)
		if err != nil || !addr.Addr().Unmap().IsLoopback() {
			return fmt.Errorf("%s: %w", address, ErrNotLoopback)
		}
		return nil
	}}
	return &http.Transport{
		Proxy:               nil, // not from the environment either
		DialContext:         dialer.DialContext,
		MaxIdleConnsPerHost: workers,
		DisableCompression:  true,
	}
}
