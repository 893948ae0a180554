package nomad

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/spec"
)

// bubble is a Fleet and a double of Nomad in virtual time.
type bubble struct {
	*Fleet
	t       *testing.T
	double  *nomaddouble.Server
	cfg     Config
	http    *http.Client
	changes chan struct{} // one token: something was reported
}

// inBubble runs test in a synctest bubble with a double of cfg.
func inBubble(t *testing.T, cfg nomaddouble.Config, test func(t *testing.T, b *bubble)) {
	t.Helper()
	inBubbleVia(t, cfg, func(double http.Handler) http.Handler { return double }, test)
}

// inBubbleVia is inBubble with something between the Fleet and the double.
func inBubbleVia(t *testing.T, cfg nomaddouble.Config, via func(double http.Handler) http.Handler, test func(t *testing.T, b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		double := nomaddouble.New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := double.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		b := serveBubble(t, via(double), &wg)
		b.double = double
		test(t, b)
		cancel()
		double.CutStreams()
	})
}

// serveBubble serves h over pipes for as long as the bubble lasts and returns
// a Fleet that talks to it.
func serveBubble(t *testing.T, h http.Handler, wg *sync.WaitGroup) *bubble {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	wg.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	b := &bubble{t: t, cfg: Config{Namespace: "default", Address: "http://nomad.test", Logger: slog.New(slog.DiscardHandler)},
		http: &http.Client{Transport: &http.Transport{DialContext: l.dial, MaxConnsPerHost: maxConns}}, changes: make(chan struct{}, 1)}
	b.Fleet = b.another()
	t.Cleanup(func() {
		b.http.CloseIdleConnections()
		server.Close()
		wg.Wait()
	})
	return b
}

// another returns one more Fleet, as a second process would have it.
func (b *bubble) another() *Fleet {
	b.t.Helper()
	f, err := newFleet(b.cfg, b.http)
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

// watch lets the Fleet watch until the test ends or stop is called.
func (b *bubble) watch() (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := b.Watch(ctx, func(jobs.Ref) { signal(b.changes) }); err != nil {
			b.t.Error(err)
		}
	}()
	stop = func() { cancel(); <-ended }
	b.t.Cleanup(stop)
	return stop
}

// until observes after each report until the picture is as wanted, for at most
// an hour of the bubble's time.
func (b *bubble) until(ref jobs.Ref, what string, wanted func(jobs.Observation) bool) jobs.Observation {
	b.t.Helper()
	deadline := time.NewTimer(time.Hour)
	defer deadline.Stop()
	for {
		o := b.observe(ref)
		if wanted(o) {
			return o
		}
		select {
		case <-b.changes:
		case <-deadline.C:
			b.t.Fatalf("%s: not seen; last picture %+v", what, o)
		}
	}
}

func (b *bubble) observe(ref jobs.Ref) jobs.Observation {
	b.t.Helper()
	o, err := b.Observe(b.t.Context(), ref)
	if err != nil {
		b.t.Fatal(err)
	}
	return o
}

func (b *bubble) ensure(s *jobs.Spec, ref jobs.Ref) {
	b.t.Helper()
	if err := b.Ensure(b.t.Context(), s, ref, false); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bubble) scale(ref jobs.Ref, count int) {
	b.t.Helper()
	if err := b.Scale(b.t.Context(), ref, count, "a test wants it", map[string]string{"decision": "d-1"}); err != nil {
		b.t.Fatal(err)
	}
}

// running counts the allocations whose task runs and is wanted.
func running(o jobs.Observation) int {
	n := 0
	for _, a := range o.Allocations {
		if a.MayServe() && a.Client == jobs.ClientRunning {
			n++
		}
	}
	return n
}

// translate is the job of most tests; its task is pretended.
const translate = `
job "translate" {
  group "server" {
    network {
      port "http" {}
    }
    update {
      max_parallel = 0
    }
    task "engine" {
      driver = "pretended"
      resources {
        device "nvidia/gpu" {
          count = 1
        }
      }
    }
  }
}`

var translateRef = jobs.Ref{Namespace: "default", Job: "translate", Group: "server"}

func parse(t *testing.T, source string) *jobs.Spec {
	t.Helper()
	read, findings := spec.Parse("translate.nomad.hcl", []byte(source))
	if read == nil {
		t.Fatalf("the test's own job does not parse: %+v", findings)
	}
	read.Source = source
	return read
}

// gpus is a double with nodes of n GPUs each.
func gpus(n ...int) nomaddouble.Config {
	var cfg nomaddouble.Config
	for i, count := range n {
		node := nomaddouble.Node{Name: "gpu-node-" + string(rune('1'+i))}
		if count > 0 {
			node.Devices = []nomaddouble.Device{nomaddouble.GPUs(count)}
		}
		cfg.Nodes = append(cfg.Nodes, node)
	}
	return cfg
}

// pipes is a listener whose connections are pipes of this process.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)} }
