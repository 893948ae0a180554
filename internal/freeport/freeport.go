// Package freeport finds ports for child processes that are told where to listen, in
// tests and trials. What listens itself should listen on port 0 instead.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports that are given out. Those for which a system takes local ports of outgoing
// connections begin at 32768 (Linux) or 49152: there a client may be given the port
// before the child listens, or while it is restarted, and keeps it for a minute after
// it has closed its connection. Allocations get theirs from 20000 to 32000, and the
// tests of how they do from 18000.
const first, last = 10000, 17999

var (
	mu   sync.Mutex
	next = first + rand.IntN(last-first+1) // not where another process that does the same begins
)

// Take returns a loopback port that nobody listens on and that no earlier call in this
// process has returned, as long as there are others.
func Take() (int, error) {
	mu.Lock()
	defer mu.Unlock()
	for range last - first + 1 {
		port := next
		if next++; next > last {
			next = first
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("no free port on 127.0.0.1 between " + strconv.Itoa(first) + " and " + strconv.Itoa(last))
}
