package scaler

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/eta"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/decide"
	"github.com/pilotlight/pilotlight/scaler/history"
)

// service is one service's loop: the only goroutine that touches its state.
// Whatever waits for somebody else runs beside it and posts its outcome.
type service struct {
	name     string
	ses      *session
	log      *slog.Logger
	mail     *mailbox
	ctx      context.Context
	told     int      // version the session last posted, 0: deleted; the session's, under its lock
	jobs     []string // every job the service ever had; the session's, under its lock
	unloaded bool     // its memory has not been read; the session's, under its lock

	calls   sync.WaitGroup // what runs beside the loop
	hurry   chan struct{}  // closed while somebody waits for the service
	hurried bool           // it is closed

	// What it should do.
	policy      *policies.Policy
	version     int
	spec        *jobs.Spec // nil: the job spec is not known here
	ref         jobs.Ref
	gpus        int // of one replica, at least 1
	setting     history.Setting
	operated    int               // commands of it that have been recorded
	leaving     bool              // has no policy, or its policy names another group
	next        *policies.Version // the policy to obey once the old group is empty
	loaded      bool              // memory and setting have been read
	settings    lane              // reads memory and setting
	unset       bool              // the setting may be another one
	unsetFails  bool              // the last try to read it failed
	had         bool              // the fleet has had the job: one that is missing was purged
	mine        bool              // the group is this service's; see taken.go
	lost        bool              // it is another's, and this one is leaving
	ensured     bool              // the fleet knows the job
	cannot      string            // why not
	cannotKind  string
	ensures     lane
	ensureAfter time.Time // no try before
	ensurePause *backoff.ExponentialBackOff

	// What it sees.
	replicas    map[string]*replica
	gone        map[string]bool // terminal allocations that the fleet still shows
	seen        jobs.Observation
	blind       error     // of the last Observe
	look        bool      // the fleet may say something else now
	heardAt     time.Time // when the fleet was heard at the look before
	lookAfter   time.Time // not before, if it does not let us
	silent      bool      // it has not been heard for a while
	adopted     bool      // the fleet has been seen once
	adoptedAt   time.Time
	stories     map[string]openCold // cold starts begun under an earlier scaler
	met         []string            // replicas that an earlier scaler knew
	left        *history.Intent     // what an earlier scaler was about to do; nil: nothing, or settled
	demand      reading
	unread      error // of the last Demand
	readAt      time.Time
	reads       lane
	readAgain   bool
	reask       bool // the demand is to be read, though nothing says that it has changed
	arrivals    uint64
	counted     int // in flight, by the activators' counters
	countedAt   time.Time
	lastDemand  time.Time
	lastActive  time.Time
	serviceTime decide.ServiceTime
	latency     []decide.LatencyItem // since the last decision
	latencies   latencies
	rate        rate
	ends        ends
	recorded    recorder
	shadow      shadow
	starts      []float64      // of the last cold starts, seconds from the first held request to the first byte
	whole       *jobs.Estimate // of a start, by past
	past        []eta.Start    // the same, by stretch, until the probe answered
	failures    decide.Failures
	spells      []spell
	parted      []*replica // gone, and not yet judged
	logs        lastLogs
	answers     lane
	gpuReads    lane
	counts      lane      // asks replicas with quarantined slots for their own counts
	countDue    time.Time // when to ask them again
	uncounted   string    // why such a count is unknown
	meters      meters    // of the policy's metrics, as Prometheus gives them
	meterDue    time.Time // when to ask it again
	metering    lane
	unknown     metricWords // metrics that are, and why
	warned      metricWords // what Prometheus warns of
	answersDue  time.Time   // zero: nobody waits for a first answer

	// What others do to the job.
	unmet       bool   // the fleet has not been seen since the service was first met
	change      uint64 // index of the last change that was heeded
	unsettled   bool   // something was done to the job that is not decided on: nothing is done before
	out         *out   // it was stopped or purged
	revives     lane
	revived     time.Time // the resume for which it was brought back
	reviveAfter time.Time
	unrevived   string       // why it could not be brought back
	hand        *decide.Hand // a count set by hand that is held
	deployed    *deployed    // not told yet
	undone      *overruled   // the change whose count is set back
	passed      []passing
	noticed     map[string]time.Time // lasting notices: since when

	// What it has decided and done.
	now         time.Time // of this round
	due         bool      // something happened that may change the decision
	memory      decide.Memory
	decision    decide.Decision
	moved       decide.Decision // the last one that changed the count
	decidedAt   time.Time
	storedAt    time.Time // of the last stored decision
	acted       bool      // an operator or an editor did something: store the next decision
	unsaid      bool      // the decision is to be logged
	launch      *launch   // the last one
	asked       int       // by the last scale call
	askedAt     time.Time
	askedOK     bool // as far as known, it was or will be obeyed
	scales      lane
	scaleAfter  time.Time
	scalePause  *backoff.ExponentialBackOff
	intents     lane
	intended    int64 // number of the last intent
	intendAfter time.Time
	draining    []string       // ids, as last stored
	cuts        map[string]int // requests that a stop has cut, by replica; not told yet
	refused     obstacle       // why the last scale call failed, or none is made
	deployAt    time.Time      // since when a deployment is waited for
	inWay       string         // kind of obstacle
	inWayAt     time.Time      // since when
	blocked     toldBlock
	notes       lane

	offered     []jobs.SlotOffer
	offeredAt   time.Time
	offeredOK   bool
	offerAfter  time.Time
	offerFailed bool
	offering    lane

	// What it publishes.
	changed   bool // the status is not what was published
	entry     history.Entry
	writes    lane
	writeFail bool
	savedAt   time.Time
	learned   bool // something that must not be forgotten
	pointAt   time.Time
	statusAt  time.Time
	meterAt   time.Time
	nextTick  time.Time
	staggered bool // it has rested once
}

func newService(ses *session, v policies.Version) *service {
	s := &service{
		name: v.Name, ses: ses, log: ses.cfg.Logger.With("service", v.Name), mail: newMailbox(),
		replicas: map[string]*replica{}, gone: map[string]bool{}, latencies: latencies{},
		hurry: make(chan struct{}), look: true, due: true, changed: true,
		scalePause: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(100*time.Millisecond),
			backoff.WithMaxInterval(5*time.Second),
			backoff.WithMaxElapsedTime(0),
		),
		ensurePause: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(ses.cfg.Tick),
			backoff.WithMaxInterval(ensureEvery),
			backoff.WithMaxElapsedTime(0),
		),
	}
	s.entry.Service = s.name
	s.adopt(v)
	return s
}

// adopt makes v the policy to obey.
func (s *service) adopt(v policies.Version) {
	s.policy, s.version = v.Policy, v.Version
	s.spec, _ = s.ses.cfg.Specs(v.Policy.Job)
	s.ref = refOf(v.Policy, s.spec)
	s.gpus = s.policy.GPUs()
	if s.spec != nil {
		if g := s.spec.GroupNamed(s.policy.Group); g != nil {
			n := 0
			for _, t := range g.Tasks {
				n += t.GPUs
			}
			if n > 0 {
				s.gpus = n
			}
		}
	}
}

// refOf is the group that a policy is about.
func refOf(p *policies.Policy, spec *jobs.Spec) jobs.Ref {
	ref := jobs.Ref{Namespace: p.Namespace, Job: p.Job, Group: p.Group}
	if spec != nil && ref.Group == "" {
		if g := spec.GroupNamed(""); g != nil {
			ref.Group = g.Name
		}
	}
	return ref
}

func digest(text string) string {
	h := fnv.New64a()
	h.Write([]byte(text))
	return fmt.Sprintf("%x", h.Sum64())
}

// run is the loop. It returns when ctx ends, or when the service has no policy
// any more and nothing of it runs.
func (s *service) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	s.ctx = ctx
	defer s.calls.Wait()
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.close()
			return
		case <-s.mail.arrived:
		case <-timer.C:
		}
		s.now = time.Now()
		for _, letter := range s.mail.open() {
			letter(s.now)
		}
		next, left := s.round(s.now)
		if left {
			return
		}
		timer.Reset(max(0, time.Until(next)))
	}
}

// round looks, decides, acts and publishes once. It returns when to come again
// though nothing happens, and true when the service has left.
func (s *service) round(now time.Time) (next time.Time, left bool) {
	if !s.load(now) || !s.ensure(now) {
		if s.loaded && s.leave(now) {
			return now, true
		}
		next = now.Add(s.ses.cfg.Tick)
		if s.ensureAfter.After(now) {
			next = earlier(next, s.ensureAfter)
		}
		return earlier(next, s.publish(now)), false
	}
	if !now.Before(s.nextTick) {
		s.look, s.due, s.reask = true, true, true
		s.nextTick = now.Add(s.stagger(s.interval(now)))
	}
	for _, t := range []time.Time{s.decision.Next, s.decision.BrakeUntil} {
		if !t.IsZero() && !now.Before(t) && s.decidedAt.Before(t) {
			s.due = true
			s.look = s.look || s.idle(now) // costs no call, and tells within a minute that the fleet is silent
		}
	}
	s.readSetting(now)
	s.letGo(now)
	s.meter(now)
	if s.look && !now.Before(s.lookAfter) {
		s.observe(now)
	}
	s.phases(now)
	next = earlier(s.nextTick, s.overdue(now))
	next = earlier(next, s.revive(now))
	next = earlier(next, s.askAnswers(now))
	if s.due {
		next = earlier(next, s.decide(now))
	}
	if d := s.decision.Next; d.After(now) {
		next = earlier(next, d)
	} else if !d.IsZero() {
		s.nextTick = earlier(s.nextTick, now.Add(s.ses.cfg.Tick))
		next = earlier(next, s.nextTick)
	}
	if b := s.decision.BrakeUntil; b.After(now) {
		next = earlier(next, b)
	}
	next = earlier(next, s.act(now))
	next = earlier(next, s.intendDrains(now))
	next = earlier(next, s.tellDeploy(now))
	next = earlier(next, s.tellBlocked(now))
	next = earlier(next, s.offer(now))
	s.say()
	s.shadow.look(s, now) // in nobody's way: what was decided has been done
	if s.drains() && !s.reads.busy {
		if again := s.readAt.Add(drainPoll); now.Before(again) {
			next = earlier(next, again)
		} else {
			s.read(now)
		}
	}
	next = earlier(next, s.measure(now))
	next = earlier(next, s.readMetrics(now))
	next = earlier(next, s.countQuarantined(now))
	s.finishStories(now)
	if s.leave(now) {
		return now, true
	}
	next = earlier(next, s.publish(now))
	return next, false
}

// decide decides if the demand is fresh, and asks for it otherwise; its answer
// then decides. If no answer comes, it decides without.
func (s *service) decide(now time.Time) (again time.Time) {
	tick := s.ses.cfg.Tick
	switch {
	case s.rests(now) && !s.reask:
	case s.demand.stale(now, tick) && s.unread == nil:
		s.read(now) // one on its way will do
		if limit := s.reads.since.Add(tick); now.Before(limit) {
			return limit
		}
	case now.Sub(s.readAt) >= tick:
		s.read(now)
	}
	s.due = false
	began := time.Now()
	if s.leaving {
		s.decideLeaving(now)
	} else {
		last := s.decision
		last.Rule = s.memory.Rule // that of an earlier scaler too
		snap, before := s.snapshot(now), s.memory
		s.decision = decide.Quietly(now, s.policy, s.version, &snap, &s.memory)
		s.decision.Service = s.name
		s.shadow.show(snap, before)
		s.latency = nil
		if s.news(now, last) { // only one that is stored is asked for its inputs and signals
			told, _ := decide.Decide(now, s.policy, s.version, snap, before)
			s.decision.Inputs, s.decision.Signals = told.Inputs, told.Signals
			s.record(now)
		}
	}
	s.decidedAt, s.unsettled = now, false
	s.ses.metrics.decisions.Observe(time.Since(began).Seconds())
	return time.Time{}
}

// Letters of the session.

func (s *service) onAnnounced(now time.Time) {
	s.hasten()
	s.lastActive = now
	s.reread(now)
}

func (s *service) onFleet(time.Time) { s.look, s.lookAfter = true, time.Time{} }

func (s *service) onResume(now time.Time) {
	s.offeredOK = false // the ledger may have lost it
	s.look, s.due, s.changed = true, true, true
	s.ensureAfter = time.Time{}
	s.onOperated(now)
}

func (s *service) onOperated(time.Time) { s.unset = true }
