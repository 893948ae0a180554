package simulate

import (
	"math"
	"slices"
	"time"
)

// never is a moment after every trace.
const never = time.Duration(math.MaxInt64)

// controller decides how many replicas a service should have.
type controller interface {
	// look returns the wanted count and the latest moment of the next look. The
	// model looks earlier when demand changes, at the next multiple of period.
	look(m *model) (wanted int, next time.Duration)
	// period is how soon after a change of demand it looks; 0: at once. first is
	// the same for the first hold of a service without a ready replica.
	period() (change, first time.Duration)
}

// model is one service under one controller.
type model struct {
	limits
	control controller
	starts  func() time.Duration // time from a launch until it is ready

	now      time.Duration
	nextLook time.Duration
	wanted   int
	replicas []replica // by index; never gone ones
	busy     completions
	held     line

	inFlight  int
	arrivals  uint64
	completed uint64
	seconds   float64 // of the completed ones, in their slots
	lastAsked time.Duration
	onCount   func()                   // before a count changes
	onDone    func(seconds float64)    // a request is through
	onStart   func(took time.Duration) // a replica has answered its first request

	demand  integral
	figures tally
	trail   *trail // nil: nobody asks for a series
}

// limits of a service, from its policy.
type limits struct {
	slots   int // of a replica
	gpus    int // of a replica
	maxHeld int
	maxWait time.Duration
}

type replica struct {
	index    int
	launched time.Duration
	readyAt  time.Duration // when it is or was ready
	begun    time.Duration // its cold start: when the oldest held request came, or its launch
	ready    bool
	answered bool // a request
	draining bool
	inFlight int
	id       uint64 // grows with every launch
}

func newModel(l limits, c controller, starts func() time.Duration) *model {
	return &model{limits: l, control: c, starts: starts, figures: tally{waits: &waitTimes{}}}
}

// arrive lets everything happen up to at and then a request come that needs a
// slot for so many seconds.
func (m *model) arrive(at time.Duration, seconds float64) {
	m.advance(at)
	if m.onCount != nil {
		m.onCount()
	}
	m.arrivals++
	m.figures.events++
	m.lastAsked = at
	m.demand.move(m.now, m.inFlight+m.held.len())
	m.figures.requests++
	if m.held.len() == 0 {
		if r := m.free(); r >= 0 {
			m.figures.release(0, false)
			m.begin(r, seconds)
			m.changed()
			return
		}
	}
	if m.held.len() >= m.maxHeld {
		m.figures.refused++
		return
	}
	m.held.push(waiting{at: at, seconds: seconds, cold: m.countReady() == 0})
	m.changed()
	if n := m.held.len(); n&(n-1) == 0 { // announced, as the ledger does: the first and each doubling
		if _, first := m.control.period(); m.countReady() == 0 || first == 0 {
			m.lookBy(next(m.now, first))
		}
	}
}

// changed sees to it that the controller looks soon.
func (m *model) changed() {
	m.demand.move(m.now, m.inFlight+m.held.len())
	period, _ := m.control.period()
	m.lookBy(next(m.now, period))
}

func (m *model) lookBy(at time.Duration) { m.nextLook = min(m.nextLook, at) }

// next is the first multiple of period at or after now.
func next(now, period time.Duration) time.Duration {
	if period <= 0 {
		return now
	}
	return (now + period - 1) / period * period
}

// advance lets everything happen that is due up to at.
func (m *model) advance(at time.Duration) {
	for {
		t, what := m.soonest()
		if t > at {
			break
		}
		m.pass(t)
		m.figures.events++
		switch what {
		case completion:
			m.finish()
		case readiness:
			m.becomeReady()
		case expiry:
			m.held.pop()
			m.figures.timedOut++
			m.changed()
		case looking:
			m.look()
		}
	}
	m.pass(at)
}

type event int

// Events of one moment happen in this order.
const (
	completion event = iota
	readiness
	expiry
	looking
)

func (m *model) soonest() (time.Duration, event) {
	t, what := never, looking
	if m.nextLook < t {
		t = m.nextLook
	}
	if m.held.len() > 0 {
		if e := m.held.first().at + m.maxWait; e <= t {
			t, what = e, expiry
		}
	}
	for i := range m.replicas {
		if r := &m.replicas[i]; !r.ready && r.readyAt <= t {
			t, what = r.readyAt, readiness
		}
	}
	if len(m.busy) > 0 && m.busy[0].at <= t {
		t, what = m.busy[0].at, completion
	}
	return t, what
}

// pass moves the clock on.
func (m *model) pass(to time.Duration) {
	if to <= m.now {
		return
	}
	if m.trail != nil {
		m.trail.pass(m, to)
	}
	m.now = to
}

// look asks the controller and obeys.
func (m *model) look() {
	m.demand.move(m.now, m.inFlight+m.held.len())
	wanted, at := m.control.look(m)
	m.nextLook = max(at, m.now+1)
	if wanted != m.wanted {
		m.figures.actions++
		m.wanted = wanted
	}
	m.obey()
}

// obey launches, takes back, drains and stops until the count is as wanted.
func (m *model) obey() {
	n := 0
	for i := range m.replicas {
		if !m.replicas[i].draining {
			n++
		}
	}
	for i := 0; i < len(m.replicas) && n < m.wanted; i++ {
		if r := &m.replicas[i]; r.draining {
			r.draining = false
			n++
		}
	}
	for ; n < m.wanted; n++ {
		m.launch()
	}
	for i := len(m.replicas) - 1; i >= 0 && n > m.wanted; i-- {
		r := &m.replicas[i]
		if r.draining {
			continue
		}
		n--
		if r.inFlight > 0 {
			r.draining = true
			continue
		}
		m.stop(i)
	}
	m.give()
}

func (m *model) launch() {
	index := 0
	at := len(m.replicas)
	for i := range m.replicas {
		if m.replicas[i].index != index {
			at = i
			break
		}
		index++
	}
	m.figures.launch(m.now)
	r := replica{index: index, launched: m.now, begun: m.now, readyAt: m.now + m.starts(), id: m.figures.launches}
	if m.held.len() > 0 {
		r.begun = m.held.first().at
	}
	m.replicas = slices.Insert(m.replicas, at, r)
}

func (m *model) stop(i int) {
	r := m.replicas[i]
	m.figures.stop(m.now, (m.now-r.launched).Seconds()*float64(m.gpus))
	m.replicas = slices.Delete(m.replicas, i, i+1)
}

func (m *model) becomeReady() {
	for i := range m.replicas {
		if r := &m.replicas[i]; !r.ready && r.readyAt <= m.now {
			r.ready = true
		}
	}
	m.give()
	m.changed()
	m.lookBy(m.now)
}

// give hands free slots to those who are held, in order.
func (m *model) give() {
	for m.held.len() > 0 {
		r := m.free()
		if r < 0 {
			return
		}
		w := m.held.pop()
		m.figures.release(m.now-w.at, w.cold)
		m.begin(r, w.seconds)
	}
}

// free is the least loaded ready replica with a free slot, ties to the lowest
// index; -1 if there is none.
func (m *model) free() int {
	best, least := -1, m.slots
	for i := range m.replicas {
		if r := &m.replicas[i]; r.ready && !r.draining && r.inFlight < least {
			best, least = i, r.inFlight
		}
	}
	return best
}

func (m *model) begin(i int, seconds float64) {
	r := &m.replicas[i]
	r.inFlight++
	m.inFlight++
	m.figures.busy += seconds
	m.busy.push(running{at: m.now + time.Duration(seconds*float64(time.Second)), replica: r.id, seconds: seconds})
}

func (m *model) finish() {
	if m.onCount != nil {
		m.onCount()
	}
	done := m.busy.pop()
	m.inFlight--
	m.completed++
	m.seconds += done.seconds
	if m.onDone != nil {
		m.onDone(done.seconds)
	}
	m.lastAsked = m.now
	for i := range m.replicas {
		r := &m.replicas[i]
		if r.id != done.replica {
			continue
		}
		r.inFlight--
		if !r.answered {
			r.answered = true
			if m.onStart != nil {
				m.onStart(r.readyAt - r.begun + time.Duration(done.seconds*float64(time.Second)))
			}
		}
		if r.draining && r.inFlight == 0 {
			m.stop(i)
		}
		break
	}
	m.give()
	m.changed()
}

// end serves what is left after the trace, which lasted until at, and stops
// everything.
func (m *model) end(at time.Duration) {
	m.advance(at)
	for m.inFlight > 0 || m.held.len() > 0 {
		t, _ := m.soonest()
		if t == never {
			break // nothing will ever come: the held ones wait without limit
		}
		m.advance(t)
	}
	for i := len(m.replicas) - 1; i >= 0; i-- {
		m.stopAtEnd(i)
	}
	m.figures.until = m.now
	if m.trail != nil {
		m.trail.settle()
	}
}

// stopAtEnd ends a replica's bill without counting a stop: the trace is over.
func (m *model) stopAtEnd(i int) {
	r := m.replicas[i]
	m.figures.gpuSeconds += (m.now - r.launched).Seconds() * float64(m.gpus)
	m.replicas = m.replicas[:i]
}

func (m *model) countReady() int {
	n := 0
	for i := range m.replicas {
		if m.replicas[i].ready && !m.replicas[i].draining {
			n++
		}
	}
	return n
}
