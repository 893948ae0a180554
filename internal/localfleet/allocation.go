package localfleet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// allocation is one instance of a group, from its placement until its process is
// gone for good. Its goroutine (live) alone changes its client state.
type allocation struct {
	id    string
	ref   jobs.Ref
	index int
	group *jobs.Group // read only
	ports map[string]int
	dir   string
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

func newAllocation(ref jobs.Ref, g *jobs.Group, index, attempt int, byLabel map[string]int, allocsDir, node string) *allocation {
	id := newAllocationID()
	a := &allocation{
		id: id, ref: ref, index: index, group: g, ports: byLabel, attempt: attempt,
		dir: filepath.Join(allocsDir, id),
		facts: jobs.Allocation{
			ID: id, Ref: ref, Index: index, Node: node,
			Desired: jobs.DesiredRun, Client: jobs.ClientPending, Created: time.Now(),
		},
	}
	a.stopped, a.stop = context.WithCancel(context.Background())
	if port, ok := byLabel["http"]; ok {
		a.facts.Address = address(port)
	}
	return a
}

func (a *allocation) sharedDir() string              { return filepath.Join(a.dir, "alloc") }
func (a *allocation) logsDir() string                { return filepath.Join(a.dir, "alloc", "logs") }
func (a *allocation) taskDir(task *jobs.Task) string { return filepath.Join(a.dir, task.Name) }
func (a *allocation) localDir(task *jobs.Task) string {
	return filepath.Join(a.dir, task.Name, "local")
}
func (a *allocation) logPath(t *jobs.Task, s string) string {
	return filepath.Join(a.logsDir(), t.Name+"."+s)
}

func (a *allocation) makeDirs() error {
	dirs := []string{a.dir, a.sharedDir(), a.logsDir()}
	for i := range a.group.Tasks {
		own := a.taskDir(&a.group.Tasks[i])
		dirs = append(dirs, own, a.localDir(&a.group.Tasks[i]), filepath.Join(own, "secrets"))
	}
	for _, dir := range dirs {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("make allocation directory: %w", err)
		}
	}
	return nil
}

// live runs the tasks of a until they have ended for good or a is stopped, and
// returns why it failed; "" if it was stopped.
func (f *Fleet) live(a *allocation) (failure string) {
	f.update(a, func(facts *jobs.Allocation) { facts.Received = time.Now() })
	if err := a.makeDirs(); err != nil {
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
