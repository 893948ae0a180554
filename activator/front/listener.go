package front

import (
	"errors"
	"net"
	"os"
	"time"
)

// Listen returns a listener whose connections are counted and paced.
func (cs *Connections) Listen(l net.Listener) net.Listener {
	limit, _ := l.(interface{ SetDeadline(time.Time) error })
	return &listener{Listener: l, of: cs, limit: limit}
}

const (
	// lookEvery is how often it is looked for room while somebody waits for it.
	lookEvery = 20 * time.Millisecond
	// mostWaiting is how many new connections wait for room; further ones are refused.
	mostWaiting = 512
)

// listener accepts connections as long as there is room. One for which there is
// none waits for a moment, in order: it may be that others have but opened theirs
// and are about to be idle for long enough to go. Then it is refused.
type listener struct {
	net.Listener
	of      *Connections
	limit   interface{ SetDeadline(time.Time) error } // nil: nobody waits
	waiting []newcomer
}

type newcomer struct {
	net.Conn
	at time.Time
}

// Accept returns the next connection for which there is room. Like that of every
// http.Server's listener it is called by one goroutine.
func (l *listener) Accept() (net.Conn, error) {
	for {
		if c := l.next(time.Now()); c != nil {
			return c, nil
		}
		if l.limit != nil {
			look := time.Time{}
			if len(l.waiting) > 0 {
				look = time.Now().Add(lookEvery)
			}
			_ = l.limit.SetDeadline(look)
		}
		nc, err := l.Listener.Accept()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			for _, w := range l.waiting {
				_ = w.Close()
			}
			l.waiting = nil
			return nil, err
		}
		l.waiting = append(l.waiting, newcomer{nc, time.Now()})
	}
}

// next admits who has waited for longest, if there is room, and refuses those who
// have waited for too long.
func (l *listener) next(now time.Time) net.Conn {
	for len(l.waiting) > 0 {
		first := l.waiting[0]
		if c := l.of.admit(first.Conn, now); c != nil {
			l.waiting = l.waiting[1:]
			return c
		}
		if l.limit != nil && len(l.waiting) <= mostWaiting && now.Sub(first.at) < l.of.cfg.Wait {
			return nil
		}
		l.waiting = l.waiting[1:]
		l.of.refuse(first.Conn)
	}
	return nil
}
