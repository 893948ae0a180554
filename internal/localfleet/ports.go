package localfleet

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"

	"github.com/pilotlight/pilotlight/jobs"
)

// host is where every allocation listens.
const host = "127.0.0.1"

// ports hands out loopback ports. It goes round the whole range before it gives
// a port a second time, so that a late caller of a dead replica's address meets
// a closed port and not another service.
type ports struct {
	low, high int

	mu    sync.Mutex
	next  int
	taken map[int]bool
}

func newPorts(low, high int) *ports {
	// A random start keeps two fleets on one machine out of each other's way.
	return &ports{low: low, high: high, next: low + rand.IntN(high-low+1), taken: map[int]bool{}}
}

// take reserves one port for each label of wanted, or none and says why not, in
// a sentence.
func (p *ports) take(wanted []jobs.Port) (byLabel map[string]int, why string) {
	byLabel = make(map[string]int, len(wanted))
	for _, w := range wanted {
		port, why := w.Static, fmt.Sprintf("port %d (%s) is in use", w.Static, w.Label)
		if w.Static == 0 {
			port, why = p.dynamic(), fmt.Sprintf("no free port between %d and %d", p.low, p.high)
		} else if !p.reserve(port) {
			port = 0
		}
		if port == 0 {
			p.release(byLabel)
			return nil, why
		}
		byLabel[w.Label] = port
	}
	return byLabel, ""
}

// release gives ports back.
func (p *ports) release(byLabel map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, port := range byLabel {
		delete(p.taken, port)
	}
}

// dynamic reserves the next free port, or returns 0.
func (p *ports) dynamic() int {
	for range p.high - p.low + 1 {
		p.mu.Lock()
		port := p.next
		p.next++
		if p.next > p.high {
			p.next = p.low
		}
		p.mu.Unlock()
		if p.reserve(port) {
			return port
		}
	}
	return 0
}

// reserve takes that port unless it is taken, here or by another program.
func (p *ports) reserve(port int) bool {
	p.mu.Lock()
	taken := p.taken[port]
	p.taken[port] = true
	p.mu.Unlock()
	if taken {
		return false
	}
	if !bindable(port) {
		p.release(map[string]int{"": port})
		return false
	}
	return true
}

func bindable(port int) bool {
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func address(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
