package localfleet

import (
	"context"
	"sync"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// allocation is one instance of a group, from its placement until its process is
// gone for good. Its goroutine (live) alone changes its client state.
type allocation struct {
	*home
	ref   jobs.Ref
	index int
	group *jobs.Group // read only
	ports map[string]int
	// attempt counts the replacements in a row of which it is the last; 0 is one
	// that a count asked for.
	attempt int

	// stop ends it; stopped is then done. Called when it is no longer wanted.
	stop    context.CancelFunc
	stopped context.Context

	// The rest is guarded by Fleet.mu.
	facts     jobs.Allocation
	replaceAt time.Time // when a failed one is replaced; zero: never, or not failed
}

func newAllocation(ref jobs.Ref, g *jobs.Group, index, attempt int, byLabel map[string]int, h *home, node string) *allocation {
	a := &allocation{
		home: h, ref: ref, index: index, group: g, ports: byLabel, attempt: attempt,
		facts: jobs.Allocation{
			ID: h.id, Ref: ref, Index: index, Node: node,
			Desired: jobs.DesiredRun, Client: jobs.ClientPending, Created: time.Now(),
		},
	}
	a.stopped, a.stop = context.WithCancel(context.Background())
	if port, ok := byLabel["http"]; ok {
		a.facts.Address = address(port)
	}
	return a
}

// live runs the tasks of a until they have ended for good or a is stopped, and
// returns why it failed; "" if it was stopped.
func (f *Fleet) live(a *allocation) (failure string) {
	f.update(a, func(facts *jobs.Allocation) { facts.Received = time.Now() })
	if err := a.makeDirs(a.group); err != nil {
		return err.Error()
	}
	var mains []*taskRun
	for i := range a.group.Tasks {
		t := f.newTaskRun(a, &a.group.Tasks[i])
		if !t.prestart() {
			mains = append(mains, t)
			continue
		}
		if failure := t.run(a.stopped); failure != "" {
			return failure
		}
	}
	return runTogether(a.stopped, mains)
}

// runTogether runs tasks until ctx ends or one of them fails, which ends the
// others; it returns the first failure.
func runTogether(ctx context.Context, tasks []*taskRun) (failure string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failures := make(chan string, len(tasks))
	var all sync.WaitGroup
	for _, t := range tasks {
		all.Go(func() {
			if failure := t.run(ctx); failure != "" {
				failures <- failure
				cancel()
			}
		})
	}
	all.Wait()
	select {
	case failure = <-failures:
	default:
	}
	return failure
}
