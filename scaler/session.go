package scaler

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/history"
)

// term is one period of holding the lease.
type term struct {
	ctx   context.Context
	epoch int64
}

// session is everything the active scaler knows, in one goroutine per service.
// It observes for as long as it lives and acts only during a term.
type session struct {
	cfg     Config
	metrics *metrics
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	relist  chan struct{} // policies may have changed

	began     time.Time  // before anything was published
	exporters *exporters // of GPU figures, shared by the services

	bulk      gate // of calls to Redis
	prompt    gate
	outranked chan int64 // a later epoch was met: this process leads no more

	term    atomic.Pointer[term] // nil: suspended
	last    atomic.Int64         // epoch of the last term
	orderly atomic.Bool          // it ends because its process stops, and still holds the lease
	closed  *time.Timer          // ends a session that stays suspended

	countersAt atomic.Int64 // when the counters were last read, unix ns; 0: never

	number atomic.Int64 // of services

	mu       sync.Mutex // guards the maps
	services map[string]*service
	byJob    map[string][]*service
	taken    map[string][]holding // by job; see taken.go
	waiting  map[*service]bool    // for a group
	unloaded int                  // services whose memory has not been read
	listed   bool                 // every service has been begun that was there before
}

// startSession returns a running session that is suspended. It outlives ctx:
// whoever started it ends it.
func startSession(ctx context.Context, cfg Config, m *metrics) *session {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ses := &session{
		cfg: cfg, metrics: m, ctx: ctx, cancel: cancel, began: time.Now(),
		bulk: make(gate, bulkCalls), prompt: make(gate, promptCalls),
		relist: make(chan struct{}, 1), outranked: make(chan int64, 1),
		services: map[string]*service{},
		byJob:    map[string][]*service{},
		taken:    map[string][]holding{},
		waiting:  map[*service]bool{},
	}
	ses.exporters = &exporters{client: cfg.Client, ctx: ctx, running: &ses.running, byURL: map[string]*fetched{}}
	for _, work := range []func() error{
		ses.followPolicies,
		func() error { return cfg.Policies.Watch(ctx, ses.policiesChanged) },
		func() error { return cfg.Ledger.Announced(ctx, ses.announced) },
		func() error { return cfg.History.Operated(ctx, ses.operated) },
		ses.readCounters,
	} {
		ses.running.Go(func() {
			persist(ctx, func() error {
				err := work()
				if err != nil && ctx.Err() == nil {
					cfg.Logger.Warn("lost a source of events, will try again", "err", err)
				}
				return err
			})
		})
	}
	return ses
}

// end stops the session and waits for all of its goroutines.
func (ses *session) end() {
	if ses.closed != nil {
		ses.closed.Stop()
	}
	ses.cancel()
	ses.running.Wait()
	ses.metrics.forgetAll()
}

// continues reports whether nobody else led since this session last did, and it
// has not been closed since.
func (ses *session) continues(epoch int64) bool {
	return ses.ctx.Err() == nil && epoch == ses.last.Load()+1 && (ses.closed == nil || ses.closed.Stop())
}

func (ses *session) resume(ctx context.Context, epoch int64) {
	ses.last.Store(epoch)
	ses.term.Store(&term{ctx: ctx, epoch: epoch})
	ses.policiesChanged()
	ses.each("", func(s *service) { s.mail.post(s.onResume) })
}

func (ses *session) suspend() {
	ses.term.Store(nil)
	ses.closed = time.AfterFunc(suspended, func() {
		ses.cancel()
		if fleet, private := ses.cfg.Fleet.(Private); private {
			fleet.StandDown()
		}
	})
}

// outrank ends a term because a later epoch was met.
func (ses *session) outrank(t *term, epoch int64) {
	if ses.term.CompareAndSwap(t, nil) {
		select {
		case ses.outranked <- epoch:
		default:
		}
	}
}

// acting returns the present term; nil means look, but do not touch.
func (ses *session) acting() *term {
	t := ses.term.Load()
	if t == nil || t.ctx.Err() != nil {
		return nil
	}
	return t
}

// each calls fn for the named service, or for all if name is "".
func (ses *session) each(name string, fn func(*service)) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if name != "" {
		if s := ses.services[name]; s != nil {
			fn(s)
		}
		return
	}
	for _, s := range ses.services {
		fn(s)
	}
}

func (ses *session) announced(name string) {
	if name == "" {
		// Something may have been missed. Whoever waits at one that rests announces
		// it again within a second; to ask for all of them would be in their way.
		ses.each("", func(s *service) { s.mail.post(s.onMissed) })
		return
	}
	ses.each(name, func(s *service) { s.mail.post(s.onAnnounced) })
}

func (ses *session) operated(name string) {
	ses.each(name, func(s *service) { s.mail.post(s.onOperated) })
}

func (ses *session) fleetChanged(ref jobs.Ref) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	for _, s := range ses.byJob[ref.Job] {
		s.mail.post(s.onFleet)
	}
}

func (ses *session) policiesChanged() {
	select {
	case ses.relist <- struct{}{}:
	default:
	}
}

// followPolicies keeps one service running for each policy there is.
func (ses *session) followPolicies() error {
	first := true
	for {
		select {
		case <-ses.ctx.Done():
			return nil
		case <-ses.relist:
		}
		if ses.acting() == nil {
			continue // resume asks again
		}
		list, err := ses.cfg.Policies.List(ses.ctx)
		var unreadable *policies.UnreadableError
		if errors.As(err, &unreadable) {
			ses.cfg.Logger.Error("some policies are not valid here; their services stay as they are", "err", err)
			list = append(list, unreadable.Versions...)
		} else if err != nil {
			ses.policiesChanged()
			return err
		}
		ses.apply(list)
		if first {
			if err := ses.retireStrangers(list); err != nil {
				ses.policiesChanged()
				return err
			}
			first = false
			ses.allListed()
		}
	}
}

// apply tells every service its present policy, starts new ones and retires
// those without one. A version without Policy is one that cannot be read: its
// service goes on with the last that could, and is not started if there is none.
func (ses *session) apply(list []policies.Version) {
	listed := make(map[string]bool, len(list))
	var changed []string
	ses.number.Store(int64(len(list))) // before the first of them chooses when to look again
	ses.mu.Lock()
	for _, v := range list {
		listed[v.Name] = true
		if v.Policy == nil {
			continue
		}
		s := ses.services[v.Name]
		if s == nil {
			s = newService(ses, v)
			ses.begin(s)
		} else if s.told != v.Version {
			s.mail.post(func(now time.Time) { s.onPolicy(now, v) })
			changed = append(changed, v.Name)
		}
		s.told = v.Version
		if !slices.Contains(s.jobs, v.Policy.Job) {
			s.jobs = append(s.jobs, v.Policy.Job)
		}
	}
	for name, s := range ses.services {
		if !listed[name] && s.told != 0 {
			s.told = 0
			s.mail.post(s.onDeleted)
			changed = append(changed, name)
		}
	}
	ses.index()
	ses.mu.Unlock()
	for _, name := range changed {
		// Only hastens the pages; they list policies from the store.
		if err := ses.cfg.History.Announce(ses.ctx, history.TopicPolicy, name); err != nil {
			ses.cfg.Logger.Debug("cannot announce a changed policy", "service", name, "err", err)
		}
	}
}

// index rebuilds byJob; ses.mu is held.
func (ses *session) index() {
	ses.number.Store(int64(len(ses.services)))
	clear(ses.byJob)
	for _, s := range ses.services {
		for _, job := range s.jobs {
			ses.byJob[job] = append(ses.byJob[job], s)
		}
	}
}

// remove takes a service off the list whose loop has ended.
func (ses *session) remove(s *service) {
	if ses.ctx.Err() != nil {
		return // all of them end
	}
	ses.metrics.forget(s.name)
	ses.mu.Lock()
	defer ses.mu.Unlock()
	ses.loaded(s)
	delete(ses.waiting, s)
	ses.free(s, s.ref.Job)
	if ses.services[s.name] == s {
		delete(ses.services, s.name)
		ses.index()
	}
	if s.told != 0 { // its policy came back while it was leaving
		ses.policiesChanged()
	}
}

// retireStrangers lets services end whose policies went while no scaler was
// looking: each empties the group that it remembers, and forgets itself.
func (ses *session) retireStrangers(list []policies.Version) error {
	t := ses.acting()
	if t == nil {
		return context.Canceled
	}
	statuses, err := ses.cfg.History.Statuses(t.ctx)
	if err != nil {
		return err
	}
	listed := make(map[string]bool, len(list))
	for _, v := range list {
		listed[v.Name] = true
	}
	ses.mu.Lock()
	defer ses.mu.Unlock()
	for _, st := range statuses {
		if s := ses.services[st.Name]; s != nil && !history.AtRest(st) {
			s.mail.post(s.onInUse)
		}
		if listed[st.Name] || ses.services[st.Name] != nil {
			continue
		}
		s := newService(ses, policies.Version{Name: st.Name, Version: st.PolicyVersion, Policy: policies.New(st.Name)})
		s.leaving = true
		ses.begin(s)
	}
	return nil
}

// begin runs a new service; ses.mu is held.
func (ses *session) begin(s *service) {
	ses.services[s.name] = s
	ses.unloaded++
	s.unloaded = true
	ses.running.Go(func() {
		s.run(ses.ctx)
		ses.remove(s)
	})
}

// follow tells s of the fleet's changes to one more job.
func (ses *session) follow(s *service, job string) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if !slices.Contains(s.jobs, job) {
		s.jobs = append(s.jobs, job)
		ses.index()
	}
}
