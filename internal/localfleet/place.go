package localfleet

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// blockedRetry is how often ports that other programs hold are tried again. Room
// of the fleet's own is noticed at once.
const blockedRetry = time.Second

// look makes Run's goroutine look for something to place.
func (f *Fleet) look() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// placeUntil places what is missing and replaces what has failed, until ctx ends,
// or the directory is somebody else's. The error is why it is.
func (f *Fleet) placeUntil(ctx context.Context, lock *dirLock) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-f.kick:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		if err := lock.held(); err != nil {
			return err
		}
		next := f.placeMissing(time.Now())
		timer.Reset(next)
	}
}

// placeMissing places allocations of every group as long as there is room, and
// returns after how long it is to be called again without being asked.
func (f *Fleet) placeMissing(now time.Time) (next time.Duration) {
	f.mu.Lock()
	groups := slices.Clone(f.order)
	f.mu.Unlock()
	next = time.Hour
	for _, g := range groups {
		for f.placeOne(g) {
		}
		f.mu.Lock()
		if g.blocked != "" {
			next = min(next, blockedRetry)
		}
		for _, a := range g.wanted {
			if !a.replaceAt.IsZero() {
				next = min(next, max(a.replaceAt.Sub(now), 0))
			}
		}
		f.mu.Unlock()
	}
	return next
}

// placeOne places the group's lowest missing allocation and reports whether it
// should be called again.
func (f *Fleet) placeOne(g *group) bool {
	index, why := f.missing(g, time.Now())
	if index < 0 {
		f.block(g, why)
		return false
	}
	byLabel, why := f.ports.take(g.spec.Ports) // system calls: without the lock
	if why != "" {
		f.block(g, why)
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if index >= g.count || g.wanted[index] != nil {
		f.ports.release(byLabel) // scaled down meanwhile
		return true
	}
	a := newAllocation(g.ref, g.spec, index, g.attempts[index], byLabel, f.takeHome(g), f.cfg.Node)
	delete(g.attempts, index)
	g.wanted[index] = a
	g.blocked = ""
	f.running++
	f.report(g.ref)
	f.lives.Go(func() { f.finish(a, f.live(a)) })
	return true
}

// missing returns the lowest index of g without an allocation, or −1: with why,
// if one is missing and there is no room. Failed allocations whose replacement
// is due are given up first.
func (f *Fleet) missing(g *group, now time.Time) (index int, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range g.wanted {
		if !a.replaceAt.IsZero() && !now.Before(a.replaceAt) {
			g.attempts[a.index] = a.attempt + 1
			f.unwant(g, a)
			f.report(g.ref)
		}
	}
	for index := range g.count {
		if g.wanted[index] != nil {
			continue
		}
		if f.running >= f.cfg.MaxAllocations {
			return -1, fmt.Sprintf("no room: the local fleet runs at most %d allocations, and %d have a process", f.cfg.MaxAllocations, f.running)
		}
		return index, ""
	}
	return -1, ""
}

// block states why g is short of allocations; "" if it is not.
func (f *Fleet) block(g *group, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g.blocked == why {
		return
	}
	g.blocked = why
	f.report(g.ref)
	if why != "" {
		f.cfg.Logger.Warn("allocation cannot be placed", "job", g.ref.String(), "reason", why)
	}
}

// finish states that the processes of a are gone, and why if it failed.
func (f *Fleet) finish(a *allocation, failure string) {
	a.stop() // releases its context
	f.ports.release(a.ports)
	now := time.Now()

	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
	a.facts.Finished = now
	a.facts.Client = jobs.ClientComplete
	if failure != "" {
		a.facts.Client = jobs.ClientFailed
		a.facts.Failure = failure
	}
	g := f.groups[a.ref]
	if g.wanted[a.index] == a {
		if now.Sub(a.facts.Created) > maxRescheduleDelay {
			a.attempt = 0
		}
		if delay, again := rescheduleDelay(g.spec.Reschedule, a.attempt); again {
			a.replaceAt = now.Add(delay)
		}
	} else {
		g.stopping = slices.DeleteFunc(g.stopping, func(s *allocation) bool { return s == a })
		f.remember(g, a)
	}
	f.report(a.ref)
	f.look()
	f.chore()
}
