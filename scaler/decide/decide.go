package decide

import (
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// Modes of sizing.
const modeThresholds = "thresholds"

// Decide answers how many replicas the service of policy p (whose version is
// recorded with the answer) should have at now, and what to remember for the
// next time. It is pure; see the package comment for the rules.
func Decide(now time.Time, p *policies.Policy, version int, snap Snapshot, mem Memory) (Decision, Memory) {
	l := look{now: now.Round(0).UTC(), p: p, snap: &snap, mem: &mem, tell: true}
	l.inputs.list = new([maxInputs]input)
	d := l.decide(version)
	d.Inputs = l.inputs.told()
	return d, mem
}

// Quietly is Decide that moves mem on in its place, and whose decision has no
// Inputs, and Signals only where the policy names a condition that they are
// compared with: for whoever asks millions of times and shows none of them.
func Quietly(now time.Time, p *policies.Policy, version int, snap *Snapshot, mem *Memory) Decision {
	l := look{now: now.Round(0).UTC(), p: p, snap: snap, mem: mem}
	return l.decide(version)
}

// decide takes the steps one after another.
func (l *look) decide(version int) Decision {
	l.see()
	if !l.gate() {
		if l.p.Sizing.Mode == modeThresholds {
			l.weighThresholds()
		} else {
			l.weigh()
		}
		l.sayEnd()
	}
	l.applyBrake()
	return l.answer(version)
}

// look is one decision in the making.
type look struct {
	now  time.Time
	p    *policies.Policy
	snap *Snapshot
	mem  *Memory // moves on
	tell bool    // somebody reads the inputs and signals

	ready, starting int // starting includes pending
	n0              int // N₀ = ready + starting; draining replicas do not count
	count           int // wanted before
	demand          int // D = in flight + held
	waking          bool
	cold            coldStart
	theta           float64       // patience, in seconds of a replica
	meanS           float64       // S̄, seconds
	average         time.Duration // W_a = max(60 s, L)
	grid            grid
	gpus            gpus
	fresh           bool    // nothing was ever known of its demand before this look
	load            float64 // a, Erlang
	lingers         bool    // the load of the windows still makes for more than one replica

	keep     keeping
	sched    scheduled
	drains   time.Duration // sizing.drain_within, if it has bought; 0: it has not
	min      int           // of the policy and of its schedules
	quiets   bool          // demand has ended since the look before
	up, down reading
	inputs   inputs

	to           int
	rule, reason string
	held         bool // by the down gate: look again soon
	braking      braking
}

// patience is θ/g, what saving a second of one request's waiting is worth in
// seconds of a whole replica: sizing.patience is in GPU-seconds, and a replica of
// g GPUs costs g of them a second. All prices here are in seconds of a replica.
func patience(p *policies.Policy, snap *Snapshot) float64 {
	g := snap.GPUs
	if g <= 0 {
		g = p.GPUs()
	}
	return p.Sizing.Patience / float64(g)
}

// see takes in the snapshot: what runs, what is asked, and the samples.
func (l *look) see() {
	for i := range l.snap.Replicas {
		switch l.snap.Replicas[i].Phase {
		case jobs.Ready:
			l.ready++
		case jobs.Pending, jobs.Starting:
			l.starting++
		}
	}
	l.n0 = l.ready + l.starting
	l.count = l.mem.count(l.n0)
	if l.mem.Since.IsZero() {
		l.mem.Since = l.now
	}
	if l.now.Before(l.mem.At) {
		*l.mem = l.mem.setBack(l.now)
	}
	l.theta = patience(l.p, l.snap)
	l.cold.learn(l.snap.Starts)
	l.meanS = priorS
	if l.snap.Service.Count > 0 && l.snap.Service.MeanSeconds > 0 {
		l.meanS = l.snap.Service.MeanSeconds
	}
	l.average = max(time.Minute, secondsOf(l.cold.p50))
	up, down := l.p.ScaleUp.Window, l.p.ScaleDown.Window
	l.grid = gridOf(l.p.Sizing.Sample, l.average, up, down, time.Minute)
	l.gpus = utilization(l.snap.Replicas)
	l.fresh = l.mem.Samples.Open.End == 0
	l.mem.Sleep = l.mem.Sleep.observe(l.now, l.snap)
	if l.snap.Known {
		l.observe()
	}
	l.mem.Latency = l.mem.Latency.observe(l.now, l.snap.Latency, max(up, down))
	quiet := l.snap.Known && l.demand == 0
	l.quiets, l.mem.Quiet = quiet && !l.mem.Quiet, quiet
	l.awaitWake()
	l.price()
	l.schedules()
	l.accountPrewarm()
	if l.tell || l.names(false) {
		l.up = upSignals(l.now, up, l.mem.Samples, l.grid, l.mem.Latency)
		l.up.Metrics = l.metrics(up, false)
	}
	if l.tell || l.names(true) {
		l.down = downSignals(l.now, down, l.mem.Samples, l.grid, l.mem.Latency, l.gpus.all)
		l.down.Metrics = l.metrics(down, true)
	}
}

// observe moves the windows on with known demand.
func (l *look) observe() {
	snap, mem := l.snap, l.mem
	inFlight, held := max(0, snap.InFlight), max(0, snap.Held)
	l.demand = inFlight + held
	mem.Wake = mem.Wake.observe(l.now, l.ready, l.demand, mem.Samples.Arrivals, snap.Arrivals)
	if l.p.Sizing.Mode != modeThresholds {
		l.observeWaiting(inFlight, held)
	}
	before := mem.Samples.Slot
	mem.Samples = mem.Samples.observe(l.now, l.grid, gauges{
		inFlight: inFlight, held: held, ready: l.ready, arrivals: snap.Arrivals, gpus: l.gpus,
	}, mem.Quiet)
	if mem.Samples.Slot != before {
		l.observeMetrics(mem.Samples.Slot)
	}
	if l.p.Sizing.Mode != modeThresholds && mem.Samples.Slot != before {
		minute := mem.Samples.over(time.Minute, l.grid)
		mem.Peak = mem.Peak.observe(l.now.Unix()/60, l.ready, held, float64(l.demand),
			mean(float64(minute.Demand), minute.Samples))
	}
	if l.demand > 0 {
		l.asks(l.now)
	} else if d := snap.LastDemand; d.After(mem.LastDemand) && !d.After(l.now) {
		l.asks(d.Round(0).UTC())
	}
	if l.ready > 0 && l.demand > 2*l.concurrency()*l.ready {
		mem.Panic = l.now
	}
}

// observeWaiting moves on what is learned from those who wait, or would have waited.
func (l *look) observeWaiting(inFlight, held int) {
	mem, arrivals := l.mem, l.snap.Arrivals
	before, dt, whole := min(mem.Samples.Arrivals, arrivals), 0.0, l.n0
	if !mem.Quiet && floor(l.now.Unix(), l.grid.sample)-mem.Samples.Slot > l.grid.bucket {
		// A hole, or the first look: who came since then did not come at once.
		mem.Missed, mem.Surge, before = mem.Missed.over(), mem.Surge.over(), arrivals
	}
	if !mem.At.IsZero() {
		dt = l.now.Sub(mem.At).Seconds()
	}
	if l.starting > 0 {
		whole = 0
	}
	mem.Missed = mem.Missed.observe(l.now, dt, inFlight, held, arrivals-before, whole,
		slotTimes{c: l.concurrency(), s: l.meanS, l: l.cold.p50, theta: l.theta})
	mem.Surge = mem.Surge.observe(Moment{l.now, arrivals}, l.ready, held, before, l.cold.p50)
}

// asks notes that somebody asked at a moment. It ends a gap if it is known that
// nobody did since the demand before.
func (l *look) asks(at time.Time) {
	mem := l.mem
	if mem.Quiet && l.now.Sub(mem.At) <= 2*longestRest {
		mem.Gaps = mem.Gaps.closed(0, mem.LastDemand, at, l.p.ToZero.AtLeast)
	}
	mem.LastDemand = at
	mem.Prewarm.seen(at, true)
}

// price sets what keep-alives are measured by, and chooses one for a gap of the
// first level that opens now.
func (l *look) price() {
	theta, mu, m, lone := l.theta, 1/l.meanS, l.mem.Wake.arrivals(), l.mem.Wake.lone()
	l.keep = keeping{
		first: price(l.cold.p50, theta, m, lone, mu, l.concurrency()), missed: l.mem.Missed,
		theta: theta, l: l.cold.p50, z: l.p.ToZero,
	}
	if l.quiets {
		l.mem.Gaps = l.keep.open(l.mem.Gaps, l.now, 0, l.keep.first)
	}
}

// tau is τ_k of mode auto.
func (l *look) tau(k int) time.Duration { return l.keep.of(k, &l.mem.Gaps) }

// awaitWake lets an operator's wake count as a request would: it waits until a
// replica is ready, as long as a request may be held, and is demand until then.
func (l *look) awaitWake() {
	wake := l.snap.Operator.WakeAt.Round(0).UTC()
	if l.snap.Operator.WakeAt.IsZero() || wake.Equal(l.mem.Woken) {
		return
	}
	at := wake
	if at.After(l.now) { // what is seen has happened: another clock says when
		at = l.now
	}
	asleep := l.snap.Operator.Asleep && !l.mem.Sleep.Over
	switch {
	case asleep || l.p.Hold.MaxWait > 0 && l.now.Sub(at) >= l.p.Hold.MaxWait:
		l.mem.Woken = wake
	case l.ready > 0:
		l.mem.Woken = wake
		first := l.now
		for i := range l.snap.Replicas {
			if r := &l.snap.Replicas[i]; r.Phase == jobs.Ready && !r.ReadyAt.IsZero() && r.ReadyAt.Before(first) {
				first = r.ReadyAt.Round(0).UTC()
			}
		}
		for _, t := range []time.Time{at, first} {
			if t.After(l.mem.LastDemand) {
				l.mem.LastDemand = t
			}
		}
	default:
		l.waking = true
		l.mem.LastDemand = l.now
	}
}

func (l *look) concurrency() int { return max(1, l.p.Replicas.Concurrency) }

func (l *look) clamp(n int) int {
	return max(min(max(n, l.min), l.p.Replicas.Max), l.p.Replicas.Min, 0)
}

// settle sets the answer.
func (l *look) settle(n int, rule, reason string) { l.to, l.rule, l.reason = n, rule, reason }

// asked reports whether anybody waits, is served, or an operator's wake waits.
func (l *look) asked() bool { return l.demand > 0 || l.waking }

// idle is how long nobody has asked.
func (l *look) idle() time.Duration {
	if l.asked() {
		return 0
	}
	since := l.mem.LastDemand
	if since.IsZero() {
		since = l.mem.Since
	}
	return max(0, l.now.Sub(since))
}

func secondsOf(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
