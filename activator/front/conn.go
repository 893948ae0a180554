package front

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conn is one connection of a client. A client that does not read what is written
// to it is cut off when it falls behind its pace, whoever writes: an answer in a
// slot, a stored one, or an error.
type conn struct {
	net.Conn
	of     *Connections
	atWork atomic.Bool  // something of a request has come, or it is upgraded
	since  atomic.Int64 // Unix ns at which it was opened or fell idle
	once   sync.Once

	mu     sync.Mutex
	credit Credit
	asked  time.Time // the deadline that our own side has set; zero: none
	due    time.Time // the deadline in force; zero: not ours
}

// idle reports whether it has been without a request for so long.
func (c *conn) idle(now time.Time, least time.Duration) bool {
	return !c.atWork.Load() && now.Sub(time.Unix(0, c.since.Load())) >= least
}

// Write fails with os.ErrDeadlineExceeded when the client is too slow.
func (c *conn) Write(p []byte) (int, error) {
	begun := time.Now()
	c.arm(begun, len(p))
	n, err := c.Conn.Write(p)
	c.mu.Lock()
	c.credit.Moved(n, time.Since(begun))
	c.mu.Unlock()
	return n, err
}

// arm sets the deadline of one write. One that is set already and neither much too
// soon nor too late is kept: a client that reads costs two readings of the clock.
func (c *conn) arm(now time.Time, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	allowed := max(0, c.credit.Left()) + c.credit.pace.takes(n)
	until := now.Add(allowed)
	if !c.asked.IsZero() && c.asked.Before(until) {
		until = c.asked
	} else if early := until.Sub(c.due); !c.due.IsZero() && early >= 0 && early < allowed/2 {
		return
	}
	if until.Equal(c.due) {
		return
	}
	c.due = until
	_ = c.Conn.SetWriteDeadline(until)
}

// SetWriteDeadline sets one that holds beside the pace's.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = t
	if t.IsZero() {
		c.due = time.Time{} // the next write sets its own
		return nil
	}
	c.due = t
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline sets both.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.SetReadDeadline(t)
}

// CloseWrite ends what is sent; the client may send on. Servers do that before
// they close, so that the last answer is not lost with a reset.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// Close frees its place.
func (c *conn) Close() error {
	c.once.Do(func() { c.of.leave(c) })
	return c.Conn.Close()
}
