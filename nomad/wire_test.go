package nomad_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// wire carries connections to an address until it is cut, and again when it is
// mended.
type wire struct {
	address string // to dial instead, with its scheme
	to      string

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
}

func newWire(t *testing.T, address string) *wire {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{address: u.Scheme + "://" + l.Addr().String(), to: u.Host, conns: make(map[net.Conn]bool)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			wg.Go(func() { w.carry(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.cut()
		wg.Wait()
	})
	return w
}

// carry lets two ends talk until one of them, or the wire, is done.
func (w *wire) carry(near net.Conn) {
	defer near.Close()
	if !w.keep(near, true) {
		return
	}
	defer w.keep(near, false)
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer far.Close()
	if !w.keep(far, true) {
		return
	}
	defer w.keep(far, false)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(far, near) // an error ends the connection, as a cut does
		far.Close()
	}()
	_, _ = io.Copy(near, far)
	near.Close()
	<-done
}

// keep counts a connection in or out, and reports false if the wire is cut.
func (w *wire) keep(c net.Conn, in bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !in {
		delete(w.conns, c)
		return false
	}
	if w.down {
		return false
	}
	w.conns[c] = true
	return true
}

// cut ends all connections; new ones end at once, until mend.
func (w *wire) cut() (mend func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for c := range w.conns {
		c.Close()
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.down = false
	}
}
