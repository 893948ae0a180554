package bench

import (
	"bytes"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// heldConn is a connection of a client that sends one request and waits. It lives
// in the server's process and needs neither a file nor a goroutine of its own, so
// that more can be held than a process may open files, and almost all the memory
// that they cost is the server's.
type heldConn struct {
	answered func(answer []byte) // once, with the whole of it

	mu      sync.Mutex
	request []byte // what the server has not read
	answer  []byte // what it has written
	expired bool   // its deadline for reading has passed
	closed  bool
	wake    chan struct{} // while the server waits for more
}

func (c *heldConn) Read(p []byte) (int, error) {
	for {
		c.mu.Lock()
		switch {
		case c.closed:
			c.mu.Unlock()
			return 0, net.ErrClosed
		case len(c.request) > 0:
			n := copy(p, c.request)
			if c.request = c.request[n:]; len(c.request) == 0 {
				c.request = nil
			}
			c.mu.Unlock()
			return n, nil
		case c.expired:
			c.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		}
		wake := make(chan struct{})
		c.wake = wake
		c.mu.Unlock()
		<-wake
	}
}

func (c *heldConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return 0, net.ErrClosed
	}
	c.answer = append(c.answer, p...)
	answer := c.answer
	c.mu.Unlock()
	if whole(answer) {
		c.answered(answer)
		_ = c.Close()
	}
	return len(p), nil
}

// whole reports whether an answer with a Content-Length has come to its end.
func whole(answer []byte) bool {
	head, body, ok := bytes.Cut(answer, []byte("\r\n\r\n"))
	if !ok {
		return false
	}
	_, rest, ok := bytes.Cut(head, []byte("\r\nContent-Length: "))
	if !ok {
		return true
	}
	digits, _, _ := bytes.Cut(rest, []byte("\r"))
	n, err := strconv.Atoi(string(digits))
	return err != nil || len(body) >= n
}

func (c *heldConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.wakeLocked()
	return nil
}

func (c *heldConn) wakeLocked() {
	if c.wake != nil {
		close(c.wake)
		c.wake = nil
	}
}

// SetReadDeadline knows the past, by which a server ends a read, and never: the
// request is there when it is read, and nothing comes after it.
func (c *heldConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expired = !t.IsZero() && !t.After(time.Now())
	if c.expired {
		c.wakeLocked()
	}
	return nil
}

func (c *heldConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *heldConn) SetWriteDeadline(time.Time) error { return nil }
func (c *heldConn) LocalAddr() net.Addr              { return heldAddr{} }
func (c *heldConn) RemoteAddr() net.Addr             { return heldAddr{} }

type heldAddr struct{}

func (heldAddr) Network() string { return "tcp" }
func (heldAddr) String() string  { return "127.0.0.1:1" }

// heldListener takes heldConns in.
type heldListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHeldListener() *heldListener {
	return &heldListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *heldListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *heldListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *heldListener) Addr() net.Addr { return heldAddr{} }
