package front

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of connections in memory, so that tests run in a bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	due   time.Time
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	var late <-chan time.Time
	if !p.due.IsZero() {
		late = time.After(time.Until(p.due))
	}
	select {
	case <-late:
		return nil, os.ErrDeadlineExceeded
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) SetDeadline(t time.Time) error { p.due = t; return nil }

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// house is a server behind Connections.
type house struct {
	t     *testing.T
	pipes *pipes
	conns *Connections
}

func newHouse(t *testing.T, cfg Config, h http.HandlerFunc) *house {
	t.Helper()
	x := &house{t: t, pipes: newPipes(), conns: NewConnections(cfg)}
	srv := &http.Server{Handler: Patience(DefaultPace.Grace, h), ConnState: x.conns.State}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(x.conns.Listen(x.pipes)) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return x
}

// client is the other end of a connection.
type client struct {
	net.Conn
	r *bufio.Reader
}

func (x *house) dial() *client {
	x.t.Helper()
	mine, theirs := net.Pipe()
	x.t.Cleanup(func() { _ = mine.Close() })
	x.pipes.conns <- theirs
	synctest.Wait()
	return &client{mine, bufio.NewReader(mine)}
}

// get sends one request over the connection and reads its answer.
func (c *client) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	go func() { _, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n") }()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return resp.StatusCode, string(b)
}

// closed reports whether the other end has closed the connection.
func (c *client) closed() bool {
	_, err := c.r.ReadByte()
	return errors.Is(err, io.EOF)
}
