package decide

import (
	"fmt"
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
	return decide(now, p, version, snap, mem, true)
}

// Quietly is Decide whose decision has no Inputs: for a replay, which asks
// millions of times and shows none of them.
func Quietly(now time.Time, p *policies.Policy, version int, snap Snapshot, mem Memory) (Decision, Memory) {
	return decide(now, p, version, snap, mem, false)
}

func decide(now time.Time, p *policies.Policy, version int, snap Snapshot, mem Memory, tell bool) (Decision, Memory) {
	l := look{now: now.Round(0).UTC(), p: p, snap: snap, mem: mem}
	l.see()
	if !l.gate() {
		if p.Sizing.Mode == modeThresholds {
			l.weighThresholds()
		} else {
			l.weigh()
		}
	}
	l.applyBrake()
	d, after := l.answer(version)
	if tell {
		d.Inputs = l.inputs.told()
	}
	return d, after
}

// look is one decision in the making.
type look struct {
	now  time.Time
	p    *policies.Policy
	snap Snapshot
	mem  Memory

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
	gpuMean, gpuMax *float64
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
		l.mem = l.mem.setBack(l.now)
	}
	l.theta = patience(l.p, &l.snap)
	l.cold = coldStartOf(l.snap.Starts)
	l.meanS = priorS
	if l.snap.Service.Count > 0 && l.snap.Service.MeanSeconds > 0 {
		l.meanS = l.snap.Service.MeanSeconds
	}
	l.average = max(time.Minute, secondsOf(l.cold.p50))
	up, down := l.p.ScaleUp.Window, l.p.ScaleDown.Window
	l.grid = gridOf(l.p.Sizing.Sample, l.average, up, down, time.Minute)
	l.gpuMean, l.gpuMax = utilization(l.snap.Replicas)
	l.fresh = l.mem.Samples.Open.End == 0
	l.mem.Sleep = l.mem.Sleep.observe(l.now, &l.snap)
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
	l.up = upSignals(l.now, up, l.mem.Samples, l.grid, l.mem.Latency)
	l.down = downSignals(l.now, down, l.mem.Samples, l.grid, l.mem.Latency, l.gpuMax)
	l.up.Metrics, l.down.Metrics = l.metrics(up, false), l.metrics(down, true)
}

// observe moves the windows on with known demand.
func (l *look) observe() {
	snap, mem := &l.snap, &l.mem
	inFlight, held := max(0, snap.InFlight), max(0, snap.Held)
	l.demand = inFlight + held
	mem.Wake = mem.Wake.observe(l.now, l.ready, l.demand, mem.Samples.Arrivals, snap.Arrivals)
	before := mem.Samples.Slot
	mem.Samples = mem.Samples.observe(l.now, l.grid, gauges{
		inFlight: inFlight, held: held, ready: l.ready, arrivals: snap.Arrivals,
		gpuMean: l.gpuMean, gpuMax: l.gpuMax,
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

// asks notes that somebody asked at a moment. It ends a gap if it is known that
// nobody did since the demand before.
func (l *look) asks(at time.Time) {
	mem := &l.mem
	if mem.Quiet && l.now.Sub(mem.At) <= 2*longestRest {
		mem.Gaps = mem.Gaps.closed(0, mem.LastDemand, at, l.p.ToZero.AtLeast)
	}
	mem.LastDemand = at
	mem.Prewarm = mem.Prewarm.seen(at, true)
}

// price sets what keep-alives are measured by, and chooses one for a gap of the
// first level that opens now.
func (l *look) price() {
	theta, mu, m := l.theta, 1/l.meanS, l.mem.Wake.arrivals()
	l.keep = keeping{
		first: price(1, l.cold.p50, theta, m, mu, l.concurrency()),
		upper: price(2, l.cold.p50, theta, m, mu, l.concurrency()),
		l:     l.cold.p50, z: l.p.ToZero,
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
	at := l.snap.Operator.WakeAt.Round(0).UTC()
	if l.snap.Operator.WakeAt.IsZero() || at.After(l.now) || at.Equal(l.mem.Woken) {
		return
	}
	asleep := l.snap.Operator.Asleep && !l.mem.Sleep.Over
	switch {
	case asleep || l.p.Hold.MaxWait > 0 && l.now.Sub(at) >= l.p.Hold.MaxWait:
		l.mem.Woken = at
	case l.ready > 0:
		l.mem.Woken = at
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

// weigh is sizing mode "auto": steps any demand, load, backlog, thresholds,
// levels and down gate.
func (l *look) weigh() {
	c, top := l.concurrency(), l.p.Replicas.Max
	s := sizes{any: 0}
	if l.asked() {
		s.any = 1
	}
	s.load = l.weighLoad()
	s.back, s.bought = l.weighBacklog(c, top)
	want := max(s.any, s.load, s.back)
	if l.snap.Held > 0 {
		want = max(want, l.n0) // a start bought for a backlog is not cancelled in its middle
	}
	s.need = min(want, top)
	s.uncapped = want
	s.thr, s.why = l.raise()

	lasting := max(s.need, min(s.thr, top))
	if l.fresh {
		lasting = max(lasting, l.n0) // what it was started for is not known
	}
	l.mem.Levels = need(l.mem.Levels, lasting, top, l.now)
	for k := l.mem.Gaps.Needed; k > max(lasting, 1); k = lowest(bandOf(k)) - 1 {
		l.mem.Gaps = l.keep.open(l.mem.Gaps, l.now, bandOf(k), l.keep.upper)
	}
	l.mem.Gaps = l.mem.Gaps.climb(l.now, lasting, top, l.p.ToZero.AtLeast)
	s.tau1, s.ends = lastKeepAlive(l.p.ToZero, l.tau(1))
	s.level, l.mem.Levels = kept(l.mem.Levels, l.tau, l.now)
	if idle := l.idle(); l.asked() || l.count > 0 && (!s.ends || idle < s.tau1) {
		s.level = max(s.level, 1)
	} else if l.p.ToZero.Mode == zeroAfter && l.min == 0 {
		l.expire(idle)
		l.note(s)
		return
	}
	if s.level == 0 && l.min == 0 {
		s.pre, s.ahead = l.prewarms()
	}
	l.note(s)
	l.choose(s)
}

// sizes are the counts that the steps of mode "auto" arrive at.
type sizes struct {
	any, load, back, thr int
	bought               int // of back, beside N₀
	need, uncapped       int
	level                int
	tau1                 time.Duration // of the first level
	ends                 bool          // false: the first level is kept for ever
	why                  string        // of thr
	pre                  bool          // one replica ahead of demand
	ahead                string        // why
}

// expire is the end of a fixed keep-alive, exact: everything above min goes.
func (l *look) expire(idle time.Duration) {
	l.mem.Levels = nil
	l.mem.Threshold = Threshold{Evaluated: l.mem.Threshold.Evaluated}
	n := l.clamp(0)
	switch {
	case n > 0:
		l.settle(l.minimum(n))
	case l.count == 0:
		l.settle(0, "idle", "nothing asked for")
	default:
		l.settle(0, "to-zero", fmt.Sprintf("idle %s after the last demand", short(idle)))
	}
}

func (l *look) weighLoad() int {
	win := l.mem.Samples.over(l.average, l.grid)
	lambda := float64(win.Arrivals) / l.average.Seconds()
	a := offeredLoad(mean(float64(win.InFlight), win.Samples), lambda, l.meanS)
	n := loadReplicas(a, l.mem.Peak.Z, l.p.Sizing.Headroom, l.concurrency())
	if u := l.p.Sizing.TargetUtilization; u != nil {
		n = loadReplicasAt(a, *u, l.concurrency())
	}
	l.load, l.lingers = a, n > 1
	l.inputs.set("a", a)
	if a >= leastLoad {
		l.inputs.set("lambda", lambda)
		l.inputs.set("z", l.mem.Peak.Z)
		l.inputs.set("S", l.meanS)
	}
	return n
}

// weighBacklog is the count with what is worth buying for requests that wait,
// and how many of it that is; 0 if none waits in time.
func (l *look) weighBacklog(c, top int) (count, bought int) {
	held := max(0, l.snap.Held)
	waiting := held - doomed(l.now, l.snap.Deadlines, held, l.cold)
	if waiting <= 0 {
		return 0, 0
	}
	mu := 1 / l.meanS
	b := backlog{
		x: waiting + max(0, l.snap.InFlight), l: l.cold.p50, have: l.n0, c: c, mu: mu,
		theta: l.theta, horizon: max(2*l.cold.p50, 600),
	}
	rate := func(w time.Duration) float64 {
		win := l.mem.Samples.over(w, l.grid)
		return min(win.rate(l.now, w), l.mem.Wake.believable(win.Arrivals)/b.l)
	}
	if l.ready == 0 {
		b.lambda = max(rate(10*time.Second), rate(time.Minute), l.mem.Wake.arrivals()/b.l)
	} else {
		b.lambda = rate(l.average) // a burst shorter than a cold start must not buy GPUs
	}
	b.work = l.workWithin(b.l)
	most := max(0, top-l.n0)
	n := b.buy(most)
	if d := l.p.Sizing.DrainWithin; d != nil {
		within := min(b.within(d.Seconds(), l.workWithin(b.l+d.Seconds())), most)
		l.inputs.count("n_d", within)
		if within > n {
			n, l.drains = within, *d
		}
	}
	l.inputs.count("H_d", waiting)
	l.inputs.set("E", b.excess)
	l.inputs.set("lambda_hat", b.lambda)
	l.inputs.set("m", l.mem.Wake.arrivals())
	l.inputs.set("S", l.meanS)
	return l.n0 + n, n
}

// workWithin is how many requests the present fleet finishes within some seconds:
// c·μ·Σ(T − ℓ_i)⁺. A start under way is never expected later than one that is
// launched now, or it would be launched again.
func (l *look) workWithin(t float64) float64 {
	sum := 0.0
	for i := range l.snap.Replicas {
		switch r := &l.snap.Replicas[i]; r.Phase {
		case jobs.Ready:
			sum += t
		case jobs.Pending, jobs.Starting:
			sum += max(0, t-min(l.cold.rest(l.now.Sub(r.Launched)), l.cold.p50))
		}
	}
	return float64(l.concurrency()) / l.meanS * sum
}

// note records the intermediate figures by symbol.
func (l *look) note(s sizes) {
	if l.count == 0 && !l.asked() {
		return
	}
	in := &l.inputs
	in.count("c", l.concurrency())
	in.set("L50", l.cold.p50)
	in.set("L90", l.cold.p90)
	in.count("N_load", s.load)
	in.count("N_back", s.back)
	in.count("N_thr", s.thr)
	in.count("N_level", s.level)
	in.count("need", s.need)
	if n := l.count; n > 1 {
		in.set("tau_k", l.tau(n).Seconds())
	}
	if s.ends {
		in.set("tau_1", s.tau1.Seconds())
	}
}

// choose takes the largest count, lets the down gate judge it if it is lower
// than before, and says which step won.
func (l *look) choose(s sizes) {
	raw := max(s.level, s.thr, s.any)
	if s.pre {
		raw = max(raw, 1)
	}
	n := l.clamp(raw)
	if from := l.clamp(l.count); n < from {
		at, why := l.downGate(from, n)
		switch {
		case at >= from && from < l.count:
			n = from // max was lowered
		case at >= from:
			l.held = true
			l.settle(from, "down-gate", fmt.Sprintf("down held at %d: %s", from, why))
			return
		case at > n:
			l.settle(at, "down-gate", fmt.Sprintf("down to %d, not yet to %d: %s", at, n, why))
			return
		}
	}
	l.settle(l.explain(n, s))
	if over := max(raw, s.uncapped); over > l.p.Replicas.Max && l.rule != "max" {
		l.reason += fmt.Sprintf("; max is %d", l.p.Replicas.Max)
	}
	if n > l.count && (l.rule == "backlog" || l.rule == "threshold") {
		l.mem.LastBuy = l.now
	}
}

func secondsOf(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
