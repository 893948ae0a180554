package stub

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// memory is a listener without a network, so that a server and its clients can
// live in one bubble of virtual time.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemory() *memory {
	return &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// buffer collects what a server writes.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// running is a stub that serves, inside a bubble.
type running struct {
	*Server
	t      *testing.T
	log    *buffer
	stderr *buffer
	client *http.Client
	stop   context.CancelFunc // as SIGTERM does
	result chan error         // of Run
}

// start serves cfg until the test ends.
func start(t *testing.T, cfg Config) *running {
	t.Helper()
	r := &running{t: t, log: &buffer{}, stderr: &buffer{}, result: make(chan error, 1)}
	cfg.Log, cfg.Stderr = r.log, r.stderr
	r.Server = New(cfg)
	l := newMemory()
	transport := &http.Transport{DialContext: l.dial}
	r.client = &http.Client{Transport: transport}
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.result <- r.Serve(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		transport.CloseIdleConnections()
		<-done
	})
	return r
}

// answer is one whole response.
type answer struct {
	status int
	body   string
	err    error
}

func (r *running) get(path string) answer {
	return r.send(r.t.Context(), http.MethodGet, path, "", "")
}

// translate asks for the translation of text into Spanish.
func (r *running) translate(ctx context.Context, text string) answer {
	body, _ := json.Marshal(map[string]string{"text": text, "source_lang": "en", "target_lang": "es"})
	return r.send(ctx, http.MethodPost, "/translate", "application/json", string(body))
}

func (r *running) send(ctx context.Context, method, path, contentType, body string) answer {
	req, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1"+path, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("X-Request-Id", "req-"+path)
	resp, err := r.client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(content), err}
}

// executions reads the log.
func (r *running) executions() []Execution {
	r.t.Helper()
	var all []Execution
	dec := json.NewDecoder(strings.NewReader(r.log.String()))
	for dec.More() {
		var e Execution
		if err := dec.Decode(&e); err != nil {
			r.t.Fatalf("log of executions: %v", err)
		}
		all = append(all, e)
	}
	return all
}
