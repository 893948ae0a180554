package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/activator/front"
)

const testGrace = 25 * time.Second

// pipes is a listener without a socket, for bubbles.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.done) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// get asks on a connection of its own; false if nobody listens.
func (p *pipes) get(path string) (net.Conn, *http.Response, bool) {
	conn, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
	case <-p.done:
		return nil, nil, false
	}
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	return conn, resp, err == nil
}

// processUnderTest is a lifecycle with one part of each kind, in a bubble.
type processUnderTest struct {
	data, control *pipes
	stop          func()
	ended         chan error // what run returned
	mu            sync.Mutex
	order         []string // what has ended
	said          bytes.Buffer
}

func startLifecycle(t *testing.T, data http.HandlerFunc) *processUnderTest {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	p := &processUnderTest{data: newPipes(), control: newPipes(), stop: stop, ended: make(chan error, 1)}
	ready := &health{ready: func(context.Context) error { return nil }}
	life := &lifecycle{log: slog.New(slog.NewTextHandler(&p.said, nil))}
	life.last(func(ctx context.Context) error { <-ctx.Done(); p.note("last"); return nil })
	life.loop(func(ctx context.Context) error {
		<-ctx.Done()
		if _, _, ok := p.control.get("/livez"); ok {
			p.note("loop before the control plane")
		}
		p.note("loop")
		return ctx.Err()
	})
	life.serve(p.control, ready.around(http.NotFoundHandler()))
	life.first(p.data, ready.around(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data(w, r)
		p.note("request")
	})), front.NewConnections(front.Config{Max: 100}), func() { p.note("holding") })
	go func() { p.ended <- life.run(ctx, &ready.stopping, testGrace) }()
	return p
}

func (p *processUnderTest) note(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.order = append(p.order, what)
}

func (p *processUnderTest) wantOrder(t *testing.T, want ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if diff := cmp.Diff(want, p.order); diff != "" {
		t.Errorf("what ended, in order (-want +got):\n%s", diff)
	}
}

// wantDraining: it takes no requests, and says that it lives and is not ready.
func (p *processUnderTest) wantDraining(t *testing.T) {
	t.Helper()
	select {
	case err := <-p.ended:
		t.Fatalf("the process has ended (%v) with a request in flight", err)
	default:
	}
	if _, _, ok := p.data.get("/livez"); ok {
		t.Error("the data plane still takes requests")
	}
	for path, want := range map[string]string{"/livez": "200 alive", "/readyz": "503 shutting down"} {
		conn, resp, ok := p.control.get(path)
		if !ok {
			t.Errorf("%s of the control plane is not answered", path)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		if got := fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(body))); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
		_ = conn.Close()
	}
}

// upgraded takes the connection over, as the proxy of a WebSocket does, and
// carries it until one of the two ends goes.
func upgraded(w http.ResponseWriter, r *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	defer context.AfterFunc(r.Context(), func() { _ = conn.Close() })()
	_, _ = io.Copy(conn, conn)
}

func TestAnUpgradedRequestFinishesWithinTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startLifecycle(t, upgraded)
		conn, _, ok := p.data.get("/stream")
		if !ok {
			t.Fatal("no answer")
		}
		p.stop()
		stopped := time.Now()
		time.Sleep(testGrace - time.Second)
		p.wantDraining(t)
		echo := make([]byte, 4)
		if _, err := io.WriteString(conn, "ping"); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(conn, echo); err != nil || string(echo) != "ping" {
			t.Errorf("it carries %q, %v", echo, err)
		}
		p.wantOrder(t, "holding")
		_ = conn.Close()
		if err := <-p.ended; err != nil {
			t.Error(err)
		}
		// http.Server looks every few milliseconds whether its connections are idle.
		if took := time.Since(stopped); took < testGrace-time.Second || took >= testGrace {
			t.Errorf("it ended after %s, not with its last request", took)
		}
		p.wantOrder(t, "holding", "request", "loop", "last")
		if p.said.Len() > 0 {
			t.Errorf("logged %q", &p.said)
		}
	})
}

func TestAnOrdinaryRequestFinishesWithinTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startLifecycle(t, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(testGrace - 5*time.Second):
				plainText(w, http.StatusOK, "done")
			case <-r.Context().Done():
			}
		})
		answered := make(chan bool, 1)
		go func() { _, _, ok := p.data.get("/slow"); answered <- ok }()
		synctest.Wait()
		p.stop()
		time.Sleep(testGrace - 10*time.Second)
		p.wantDraining(t)
		if !<-answered {
			t.Error("the request was cut")
		}
		if err := <-p.ended; err != nil {
			t.Error(err)
		}
		p.wantOrder(t, "holding", "request", "loop", "last")
		if p.said.Len() > 0 {
			t.Errorf("logged %q", &p.said)
		}
	})
}

func TestWhatOutlastsTheGraceIsCutBeforeLoopsEnd(t *testing.T) {
	for name, request := range map[string]http.HandlerFunc{
		"upgraded": upgraded,
		"ordinary": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := startLifecycle(t, request)
				conn, _, ok := p.data.get("/stream")
				if !ok {
					t.Fatal("no answer")
				}
				p.stop()
				stopped := time.Now()
				time.Sleep(testGrace - time.Second)
				p.wantDraining(t)
				if err := <-p.ended; err != nil {
					t.Error(err)
				}
				if took := time.Since(stopped); took != testGrace {
					t.Errorf("it ended after %s, not with the grace", took)
				}
				if n, err := conn.Read(make([]byte, 1)); err == nil {
					t.Errorf("%d bytes more", n)
				}
				p.wantOrder(t, "holding", "request", "loop", "last")
				if want := `msg="requests were cut" count=1`; !strings.Contains(p.said.String(), want) {
					t.Errorf("logged %q, want %q", &p.said, want)
				}
			})
		})
	}
}

func TestARequestThatHeedsNothingDoesNotKeepTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := startLifecycle(t, func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			<-release
		})
		if _, _, ok := p.data.get("/stuck"); !ok {
			t.Fatal("no answer")
		}
		p.stop()
		if err := <-p.ended; err != nil {
			t.Error(err)
		}
		p.wantOrder(t, "holding", "loop", "last")
		close(release)
	})
}
