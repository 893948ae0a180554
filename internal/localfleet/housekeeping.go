package localfleet

import "os"

// keepHouse does, beside placing, what no placing should wait for: whenever an
// allocation has ended, or a group is new, it makes the group's next directories
// and removes those that are forgotten. When done is closed it removes those that
// were never used, and returns.
func (f *Fleet) keepHouse(done <-chan struct{}) {
	for {
		select {
		case <-f.chores:
		case <-done:
			f.dropSpares()
			f.sweep()
			return
		}
		f.makeSpares()
		f.sweep()
	}
}

// chore makes keepHouse look for something to do.
func (f *Fleet) chore() {
	select {
	case f.chores <- struct{}{}:
	default:
	}
}

// makeSpares makes the home of the next allocation of each group that has none:
// directories take longer than the fork, and whoever waits for a wake would wait
// for them.
func (f *Fleet) makeSpares() {
	f.mu.Lock()
	var without []*group
	for _, g := range f.order {
		if g.spare == nil {
			without = append(without, g)
		}
	}
	f.mu.Unlock()
	for _, g := range without {
		h := newHome(f.allocsDir())
		err := h.makeDirs(g.spec)
		f.mu.Lock()
		if err == nil {
			g.spare = h
		} else {
			f.garbage = append(f.garbage, h.dir) // placing tries again, and says why it fails
		}
		f.mu.Unlock()
	}
}

// takeHome returns the home of the group's next allocation. Fleet.mu is held.
func (f *Fleet) takeHome(g *group) *home {
	h := g.spare
	g.spare = nil
	if h == nil {
		h = newHome(f.allocsDir())
	}
	return h
}

// dropSpares forgets the homes that nobody has moved into.
func (f *Fleet) dropSpares() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.order {
		if g.spare != nil {
			f.garbage = append(f.garbage, g.spare.dir)
			g.spare = nil
		}
	}
}

// sweep removes the directories of forgotten allocations.
func (f *Fleet) sweep() {
	f.mu.Lock()
	garbage := f.garbage
	f.garbage = nil
	f.mu.Unlock()
	for _, dir := range garbage {
		if err := os.RemoveAll(dir); err != nil {
			f.cfg.Logger.Warn("directory of an old allocation not removed", "err", err)
		}
	}
}
