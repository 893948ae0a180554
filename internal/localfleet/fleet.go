package localfleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// ErrEnded: Run has returned, nothing can be scaled any more.
var ErrEnded = errors.New("the local fleet has ended")

// Fleet runs allocations as child processes of this one. It is safe for
// concurrent use. Nothing is placed before Run or after it.
type Fleet struct {
	cfg        Config
	ports      *ports
	starter    *starter
	supervisor *supervisor
	kick       chan struct{} // holds one mark while there is something to place
	chores     chan struct{} // holds one mark while there is something for keepHouse
	lives      sync.WaitGroup

	mu       sync.Mutex
	ran      bool          // Run was called
	wanted   bool          // somebody commands the fleet
	roused   chan struct{} // holds one mark once wanted is true
	dismiss  func()        // ends the present ownership of Dir; nil: there is none
	ended    bool          // Run's context has ended
	running  int           // allocations whose processes are not gone
	groups   map[jobs.Ref]*group
	order    []*group // as ensured
	watchers map[*watcher]struct{}
	garbage  []string // directories of forgotten allocations
}

// group is one ensured task group. Fleet.mu guards it; spec is read only.
type group struct {
	ref      jobs.Ref
	spec     *jobs.Group
	spare    *home // of the next allocation; nil: none is made ahead
	count    int
	wanted   map[int]*allocation // by index: those with Desired run, also failed ones that wait for replacement
	stopping []*allocation       // Desired stop, process not gone yet
	past     []jobs.Allocation   // terminal ones, oldest first, at most pastAllocations
	attempts map[int]int         // by index: replacements in a row, for the next one placed
	blocked  string
}

// New returns a fleet that knows no jobs; it starts nothing. cfg is completed by
// its Defaults and must then pass Validate.
func New(cfg Config) (*Fleet, error) {
	if len(os.Args) > 0 && os.Args[0] == supervisorName {
		return nil, errors.New("new local fleet: this process was started as a supervisor; its main (or TestMain) must call localfleet.MaybeSupervise first")
	}
	cfg = cfg.Defaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("new local fleet: %w", err)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("new local fleet: %w", err)
	}
	cfg.Dir = dir
	return &Fleet{
		cfg:      cfg,
		ports:    newPorts(cfg.PortMin, cfg.PortMax),
		roused:   make(chan struct{}, 1),
		kick:     make(chan struct{}, 1),
		chores:   make(chan struct{}, 1),
		groups:   map[jobs.Ref]*group{},
		watchers: map[*watcher]struct{}{},
	}, nil
}

// allocsDir holds one directory for each allocation.
func (f *Fleet) allocsDir() string { return filepath.Join(f.cfg.Dir, "allocs") }

// Ensure makes the group known at count 0, whatever count the spec names. A
// group that is known stays as it is. The fleet reads spec from now on; it must
// not be changed. seen means nothing here: a group is known for as long as its
// owner lives, and nobody else can purge it. Errors: a *DriverError, or what else of the group the local
// fleet cannot run, in words.
func (f *Fleet) Ensure(_ context.Context, spec *jobs.Spec, ref jobs.Ref, _ bool) error {
	f.mu.Lock()
	known := f.groups[ref] != nil
	f.rouse()
	f.mu.Unlock()
	if known {
		return nil
	}
	runs, err := runnable(spec, ref)
	if err != nil {
		return fmt.Errorf("ensure %s: %w", ref, err)
	}
	for i := range runs.Tasks {
		if t := &runs.Tasks[i]; t.GPUs > 0 {
			f.cfg.Logger.Warn("the local fleet does not hand out GPUs: the task sees all of this machine's",
				"job", ref.String(), "task", t.Name, "asked", t.GPUs)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.groups[ref] != nil {
		return nil // another call was faster
	}
	g := &group{ref: ref, spec: runs, wanted: map[int]*allocation{}, attempts: map[int]int{}}
	f.groups[ref] = g
	f.order = append(f.order, g)
	f.chore()
	f.report(ref)
	return nil
}

// Revive does nothing but look: nobody can stop or purge a group here. Error:
// jobs.ErrUnknownJob.
func (f *Fleet) Revive(ctx context.Context, _ *jobs.Spec, ref jobs.Ref, _ string) error {
	_, err := f.Observe(ctx, ref)
	return err
}

// Note does nothing: the local fleet keeps no records but its log.
func (f *Fleet) Note(context.Context, jobs.Ref, string, map[string]string) error { return nil }

// GPUs knows of none: child processes see all devices of the machine, and
// nobody measures them here.
func (f *Fleet) GPUs(context.Context, jobs.Ref) (map[string]jobs.GPU, error) { return nil, nil }

// Scale sets the wanted count: the lowest free indices are filled, allocations
// above it are stopped from the highest index down. It returns when that is
// decided, not when it is done. Errors: jobs.ErrUnknownJob, ErrEnded, a negative
// count. A task that cannot start is no error here: its allocation fails.
func (f *Fleet) Scale(_ context.Context, ref jobs.Ref, count int, reason string, _ map[string]string) error {
	if count < 0 {
		return fmt.Errorf("scale %s to %d: allowed is 0 or more", ref, count)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.groups[ref]
	switch {
	case g == nil:
		return fmt.Errorf("scale %s to %d: %w", ref, count, jobs.ErrUnknownJob)
	case f.ended:
		return fmt.Errorf("scale %s to %d: %w", ref, count, ErrEnded)
	case g.count == count:
		return nil
	}
	f.cfg.Logger.Info("scale", "job", ref.String(), "from", g.count, "to", count, "reason", reason)
	g.count = count
	for _, index := range slices.Backward(slices.Sorted(maps.Keys(g.wanted))) {
		if index >= count {
			f.unwant(g, g.wanted[index])
		}
	}
	maps.DeleteFunc(g.attempts, func(index, _ int) bool { return index >= count })
	f.report(ref)
	f.look()
	return nil
}

// unwant tells the group's allocation a to stop, or forgets it if it has failed
// already. Fleet.mu is held.
func (f *Fleet) unwant(g *group, a *allocation) {
	delete(g.wanted, a.index)
	a.facts.Desired = jobs.DesiredStop
	if a.facts.Terminal() {
		f.remember(g, a)
		return
	}
	g.stopping = append(g.stopping, a)
	a.stop()
}

// remember keeps the facts of a terminal allocation, and forgets the oldest
// ones. Fleet.mu is held.
func (f *Fleet) remember(g *group, a *allocation) {
	g.past = append(g.past, a.facts)
	for len(g.past) > pastAllocations {
		f.garbage = append(f.garbage, filepath.Join(f.allocsDir(), g.past[0].ID))
		g.past = g.past[1:]
	}
}

// Observe returns the group's present picture, from memory. Error: jobs.ErrUnknownJob.
func (f *Fleet) Observe(_ context.Context, ref jobs.Ref) (jobs.Observation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.groups[ref]
	if g == nil {
		return jobs.Observation{}, fmt.Errorf("observe %s: %w", ref, jobs.ErrUnknownJob)
	}
	o := jobs.Observation{Count: g.count, Blocked: g.blocked, At: time.Now()}
	o.Allocations = slices.Clone(g.past)
	for _, a := range g.stopping {
		o.Allocations = append(o.Allocations, a.facts)
	}
	for _, a := range g.wanted {
		o.Allocations = append(o.Allocations, a.facts)
	}
	slices.SortFunc(o.Allocations, func(a, b jobs.Allocation) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), a.Created.Compare(b.Created))
	})
	return o, nil
}

// Run owns the state directory and all child processes until ctx ends; then it
// stops them (kill signal, kill_timeout, SIGKILL), joins them and returns nil.
// With WaitForOwner it owns them only while somebody commands the fleet: from the
// first Ensure until StandDown, and again.
// Errors, at once: a *LockedError, orphans of an earlier owner that do not end,
// a directory that cannot be written, no supervisor (see MaybeSupervise), a
// second call.
func (f *Fleet) Run(ctx context.Context) error {
	f.mu.Lock()
	again := f.ran
	f.ran = true
	f.mu.Unlock()
	if again {
		return errors.New("run local fleet: it has run already")
	}
	for ctx.Err() == nil {
		if f.cfg.WaitForOwner {
			select {
			case <-f.roused:
			case <-ctx.Done():
				return nil
			}
		}
		if err := f.command(ctx); err != nil {
			return fmt.Errorf("run local fleet: %w", err)
		}
	}
	return nil
}

// rouse says that somebody commands the fleet. Fleet.mu is held.
func (f *Fleet) rouse() {
	if !f.wanted {
		f.wanted = true
		select {
		case f.roused <- struct{}{}:
		default:
		}
	}
}

// StandDown ends every child and lets go of the state directory, because somebody
// else commands now: an owner that only stood by would keep its replicas running
// for nobody, and the next one out. It returns at once; the next Ensure takes
// command again. A fleet that does not wait for owners has no rivals: there it
// does nothing.
func (f *Fleet) StandDown() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.cfg.WaitForOwner || !f.wanted {
		return
	}
	f.cfg.Logger.Info("this process commands no more, so that another can: all its replicas are ended", "count", f.running)
	f.wanted = false
	select {
	case <-f.roused:
	default:
	}
	for _, g := range f.order {
		g.count = 0
		f.unwantAll(g)
	}
	if f.dismiss != nil {
		f.dismiss()
	}
}

// command owns the state directory until ctx ends or the fleet stands down.
func (f *Fleet) command(ctx context.Context) error {
	owned, dismiss := context.WithCancel(ctx)
	defer dismiss()
	f.mu.Lock()
	if f.cfg.WaitForOwner && !f.wanted {
		f.mu.Unlock()
		return nil // dismissed in between
	}
	f.dismiss = dismiss
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.dismiss = nil
	}()
	return f.own(owned, func(lock *dirLock, supervise *supervisorProcess) {
		f.runOwned(ctx, owned, lock, supervise)
	})
}

// own calls run as the only owner of the state directory, with nothing left of
// earlier owners and a supervisor watching.
func (f *Fleet) own(ctx context.Context, run func(*dirLock, *supervisorProcess)) error {
	if err := supported(); err != nil {
		return err
	}
	if err := os.MkdirAll(f.allocsDir(), 0o700); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	lock, err := f.lock(ctx)
	if err != nil || lock == nil {
		return err
	}
	defer lock.Close()
	if err := endOrphans(ctx, f.allocsDir(), f.cfg.Logger); err != nil {
		return err
	}
	if err := pruneDirs(f.allocsDir(), pastAllocations); err != nil {
		return fmt.Errorf("remove directories of old allocations: %w", err)
	}
	supervise, err := startSupervisor()
	if err != nil {
		return err
	}
	run(lock, supervise)
	return nil
}

const (
	// lockPause is how often a waiting owner asks.
	lockPause = 100 * time.Millisecond
	// stoppedLooks is how often in a row the owner must be seen to be stopped
	// before it is replaced: it has lost its lease by then, or whoever waits here
	// would not have been given it.
	stoppedLooks = 5
)

// lock makes this process the owner of Dir; nil, nil when ctx ended while it
// waited.
func (f *Fleet) lock(ctx context.Context) (*dirLock, error) {
	looks := 0
	for said := false; ; {
		lock, err := lockDir(f.cfg.Dir)
		var held *LockedError
		if err == nil || !errors.As(err, &held) || !f.cfg.WaitForOwner {
			return lock, err
		}
		if looks++; !stopped(held.PID, held.start) {
			looks = 0
		}
		if looks >= stoppedLooks {
			looks = 0
			lock, err := takeOver(held)
			if lock != nil {
				f.cfg.Logger.Warn("took over from an owner that is stopped; its replicas are ended", "pid", held.PID)
				return lock, nil
			}
			if err != nil && !errors.As(err, &held) {
				return nil, err
			}
		}
		if !said {
			said = true
			f.cfg.Logger.Info("standing by until the owner of the state directory is gone", "reason", held.Error())
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(lockPause):
		}
	}
}

// runOwned places until owned ends. At the end of ctx, which is that of Run, it
// stops everything for good.
func (f *Fleet) runOwned(ctx, owned context.Context, lock *dirLock, supervise *supervisorProcess) {
	f.starter = &starter{requests: make(chan startRequest), may: lock.held}
	f.supervisor = newSupervisor(f.cfg.Logger)
	done := make(chan struct{})
	var services sync.WaitGroup
	services.Go(func() { f.starter.run(done) })
	services.Go(func() { f.keepHouse(done) })
	services.Go(func() { f.supervisor.run(done, supervise) })

	if err := f.placeUntil(owned, lock); err != nil {
		f.dispossessed(err)
	}
	if ctx.Err() != nil {
		f.stopAll()
	}
	f.lives.Wait()

	close(done)
	services.Wait()
}

// dispossessed gives up what another process has ended already, when it took over
// the directory from this one, which was stopped. Who still commands this fleet
// waits for the directory again.
func (f *Fleet) dispossessed(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cfg.Logger.Warn("the replicas of this process are given up", "reason", why.Error())
	for _, g := range f.order {
		f.unwantAll(g)
	}
	if f.wanted {
		f.wanted = false
		f.rouse()
	}
}

// unwantAll ends every allocation of a group. Fleet.mu is held.
func (f *Fleet) unwantAll(g *group) {
	for _, index := range slices.Backward(slices.Sorted(maps.Keys(g.wanted))) {
		f.unwant(g, g.wanted[index])
	}
	clear(g.attempts)
	f.report(g.ref)
}

// stopAll ends every allocation, for good.
func (f *Fleet) stopAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for _, g := range f.order {
		f.unwantAll(g)
	}
}

// update changes what is known of a, and reports it.
func (f *Fleet) update(a *allocation, change func(*jobs.Allocation)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&a.facts)
	f.report(a.ref)
}
