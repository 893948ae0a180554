package activator

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// startPatience is how long a request waits for the policies of an activator that
	// has just started: reading them is quick, or Redis is away.
	startPatience = 5 * time.Second
	// rereadAfter a time at which the policies could not be read.
	rereadAfter = time.Second
)

// followPolicies reads the policies after each change, and again while that fails.
func (a *Activator) followPolicies(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return a.cfg.Policies.Watch(ctx, func() {
			select {
			case changed <- struct{}{}:
			default: // it is going to be read anyway
			}
		})
	})
	g.Go(func() error {
		var again <-chan time.Time
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-changed:
			case <-again:
			}
			again = nil
			if !a.loadRoutes(ctx) {
				again = time.After(rereadAfter)
			}
		}
	})
	return g.Wait()
}

// routesSoon returns the routes; just after the start it waits a moment for them.
// Nothing of a request has been read by then. Error: ErrNotReady.
func (a *Activator) routesSoon(ctx context.Context) (*routes, error) {
	if rt := a.routes.Load(); rt != nil {
		return rt, nil
	}
	late := time.NewTimer(startPatience)
	defer late.Stop()
	select {
	case <-a.known:
		return a.routes.Load(), nil
	case <-late.C:
		return nil, ErrNotReady
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
