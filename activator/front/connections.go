package front

import (
	"cmp"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config of Connections.
type Config struct {
	// Max is how many connections there may be at once; required.
	Max int
	// Pace is how fast a client has to read; default DefaultPace with a grace of 30 s:
	// what is written to it may have to pass buffers on the way first.
	Pace Pace
	// Idle is how long a connection must have been without a request before it may be
	// closed in favour of a new one; default 1 s. A client that sends one request
	// after the other is never the one that has to go.
	Idle time.Duration
	// Wait is how long a new connection may wait for room; default 2 s.
	Wait time.Duration
}

// Connections bounds those of one listener. Give its Listen to http.Server.Serve
// and its State to http.Server.ConnState.
type Connections struct {
	cfg Config

	mu     sync.Mutex
	open   map[*conn]struct{}
	barren time.Time // until then it is known that no connection is idle

	refusing chan struct{} // one per refusal under way
	refused  atomic.Uint64
	evicted  atomic.Uint64
}

// maxRefusing is how many clients are told at once that there are too many
// connections; further ones are just closed.
const maxRefusing = 16

// NewConnections returns Connections without any.
func NewConnections(cfg Config) *Connections {
	if cfg.Pace == (Pace{}) {
		cfg.Pace = Pace{Grace: 2 * DefaultPace.Grace, Rate: DefaultPace.Rate}
	}
	if cfg.Idle == 0 {
		cfg.Idle = time.Second
	}
	if cfg.Wait == 0 {
		cfg.Wait = 2 * time.Second
	}
	return &Connections{cfg: cfg, open: map[*conn]struct{}{}, refusing: make(chan struct{}, maxRefusing)}
}

// admit returns nil if there is no room, and none can be made.
func (cs *Connections) admit(nc net.Conn, now time.Time) *conn {
	c := &conn{Conn: nc, of: cs, credit: cs.cfg.Pace.Credit()}
	c.since.Store(now.UnixNano())
	cs.mu.Lock()
	var idle []*conn
	if len(cs.open) >= cs.cfg.Max {
		idle = cs.makeRoomLocked(now)
	}
	room := len(cs.open) < cs.cfg.Max
	if room {
		cs.open[c] = struct{}{}
	}
	cs.mu.Unlock()
	for _, x := range idle {
		cs.evicted.Add(1)
		_ = x.Conn.Close() // its server sees that and calls Close
	}
	if !room {
		return nil
	}
	return c
}

// makeRoomLocked takes out the connections that have been idle for longest: some
// at once, because finding them means to look at all. If there are none it does
// not look again for a moment.
func (cs *Connections) makeRoomLocked(now time.Time) []*conn {
	if now.Before(cs.barren) {
		return nil
	}
	var idle []*conn
	for c := range cs.open {
		if c.idle(now, cs.cfg.Idle) {
			idle = append(idle, c)
		}
	}
	if len(idle) == 0 {
		cs.barren = now.Add(lookEvery)
		return nil
	}
	slices.SortFunc(idle, func(a, b *conn) int { return cmp.Compare(a.since.Load(), b.since.Load()) })
	idle = idle[:min(len(idle), cs.cfg.Max/64+1)]
	for _, c := range idle {
		delete(cs.open, c)
	}
	return idle
}

// State is http.Server.ConnState.
func (cs *Connections) State(nc net.Conn, state http.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	switch state {
	case http.StateIdle:
		c.since.Store(time.Now().UnixNano())
		c.atWork.Store(false)
	case http.StateActive, http.StateHijacked:
		c.atWork.Store(true)
	}
}

// Open is how many connections there are.
func (cs *Connections) Open() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.open)
}

func (cs *Connections) leave(c *conn) {
	cs.mu.Lock()
	delete(cs.open, c)
	cs.mu.Unlock()
}

// Register its metrics.
func (cs *Connections) Register(reg prometheus.Registerer) {
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "pilotlight_connections", Help: "Open connections of clients on the data plane."},
			func() float64 { return float64(cs.Open()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "pilotlight_connections_max", Help: "Connections of clients that there may be at once on the data plane."},
			func() float64 { return float64(cs.cfg.Max) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "pilotlight_connections_refused_total", Help: "Connections refused because every other one was at work."},
			func() float64 { return float64(cs.refused.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "pilotlight_connections_evicted_total", Help: "Idle connections closed to make room for new ones."},
			func() float64 { return float64(cs.evicted.Load()) }))
}
