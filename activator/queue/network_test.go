package queue

import (
	"context"
	"errors"
	"sync"
	"time"
)

// network is how activators of a test reach each other.
type network struct {
	mu     sync.Mutex
	queues map[string]*Queue
	dead   map[string]bool
	cut    map[string]bool // reaches no peer, and none reaches it
	mute   map[string]bool // stopped: takes connections and answers nothing
	delay  time.Duration
}

var errUnreachable = errors.New("no route to host")

// join is for world.activator: the address is the activator's name.
func (n *network) join(c *Config) {
	me := c.Activator
	c.Address = me
	c.Ask = func(ctx context.Context, address string, mine View) (View, error) {
		n.mu.Lock()
		q, dead, cut, mute, delay := n.queues[address], n.dead[address], n.cut[address] || n.cut[me], n.mute[address], n.delay
		n.mu.Unlock()
		if delay > 0 {
			select {
			case <-time.After(delay):
			case <-ctx.Done():
				return View{}, ctx.Err()
			}
		}
		switch {
		case cut || q == nil && !dead:
			return View{}, errUnreachable
		case dead:
			return View{}, ErrGone
		case mute:
			<-ctx.Done()
			return View{}, ctx.Err()
		}
		return q.Meet(ctx, mine), nil
	}
}

func (n *network) add(q *Queue) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.queues == nil {
		n.queues = map[string]*Queue{}
	}
	n.queues[q.cfg.Address] = q
}

func (n *network) set(m *map[string]bool, name string, v bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if *m == nil {
		*m = map[string]bool{}
	}
	(*m)[name] = v
}

func (n *network) kill(name string) { n.set(&n.dead, name, true) }
