package scaler

import (
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/eta"
)

// launch is one scale call upwards: what asked for it and when. Several
// replicas may share one. It is kept as JSON, so that a new leader can finish
// the story of a cold start that it did not begin.
type launch struct {
	Decided time.Time `json:"decided"`
	Hold    time.Time `json:"hold,omitzero"` // when the oldest held request was accepted; zero: nobody waited
	Sent    time.Time `json:"sent"`          // the scale call
	Reason  string    `json:"reason"`
	Waiting int       `json:"waiting"` // held requests
	Wake    bool      `json:"wake"`    // the service was at zero

	unclaimed int  // replicas of it not seen yet
	failed    bool // one of its replicas has counted as a failure
	counted   bool // as a wake
}

// begun is the start of the cold start: the first held request, or the decision
// if nobody waited.
func (l *launch) begun() time.Time {
	if !l.Hold.IsZero() && l.Hold.Before(l.Decided) {
		return l.Hold
	}
	return l.Decided
}

// slowStart is how long a finished story waits for the fleet to say when the
// task's process started: clients report in batches.
const slowStart = 600 * time.Millisecond

// tell returns the cold start of r. end is when it failed; unused otherwise.
//
// The phases follow each other without gaps. What a fleet did not say takes no
// time; the next phase that is known has it. A first request that came after the
// replica was ready did not wait for it, so the time in between belongs to no
// phase.
func tell(service, region string, r *replica, outcome string, end time.Time) jobs.ColdStart {
	l := r.launch
	if l == nil {
		at := r.alloc.Created
		if at.IsZero() || !r.met.IsZero() && at.After(r.met) {
			at = r.met // the fleet's clock is ahead
		}
		l = &launch{Decided: at, Sent: at, Reason: "replaced by its fleet"}
	}
	c := jobs.ColdStart{
		ID: r.alloc.ID, Service: service, Replica: r.alloc.ID, Region: region,
		Reason: l.Reason, StartedAt: l.begun().UTC(), RequestsWaiting: l.Waiting,
		Outcome: outcome, Failure: r.failed,
	}
	at := l.begun() // the end of the phases so far
	add := func(name string, until time.Time) {
		if until.Before(at) {
			until = at
		}
		c.Phases = append(c.Phases, jobs.ColdStartPhase{
			Name: name, StartMS: milliseconds(at.Sub(l.begun())),
			DurMS: milliseconds(until.Sub(l.begun()).Truncate(time.Microsecond) - at.Sub(l.begun()).Truncate(time.Microsecond)),
		})
		at = until
	}

	over := r.firstReady
	if over.IsZero() {
		over = end
	}
	placed, taken, pulling, started := l.fit(r.alloc, over)
	if taken.After(placed) {
		placed = taken
	}
	type mark struct {
		name  string
		until time.Time
	}
	marks := []mark{{jobs.PhaseDecide, l.Sent}, {jobs.PhasePlace, placed}}
	if !pulling.IsZero() {
		// Where pulling ends is not told apart from where the process starts. An
		// allocation that waits for its predecessor to end is not yet placed.
		marks = []mark{marks[0], {jobs.PhasePlace, pulling}, {jobs.PhasePull, started}}
	}
	marks = append(marks, mark{jobs.PhaseStart, started}, mark{jobs.PhaseLoad, r.firstReady})
	known := -1 // the last phase whose end is
	for i, m := range marks {
		if !m.until.IsZero() {
			known = i
		}
	}
	for i, m := range marks {
		if i > known && r.firstReady.IsZero() {
			m.until = end // it failed, or was given up, in this phase; the rest takes no time
		}
		add(m.name, m.until)
	}
	if a := r.answer; a != nil {
		released := a.Released
		if a.HeldAt.IsZero() || a.HeldAt.After(r.firstReady) {
			released = at
		}
		add(jobs.PhaseReady, released)
		add(jobs.PhaseFirstByte, at.Add(a.FirstByte.Sub(a.Released)))
	}
	c.DurMS = milliseconds(at.Sub(l.begun()))
	return c
}

// fit returns what the fleet says of a start, on our clock: between the scale
// call and over, when the replica answered or failed. Created is by the clock of
// a server, the others by that of a node, and either may be wrong by minutes.
//
// A server's time that does not fit is left out. A node's times keep their
// distances: if they do not fit they are moved as a whole, to begin when the
// allocation was placed, which is a little early at most. To clamp each for
// itself would show a pull of minutes as none, or a wait for a place that never
// was.
func (l *launch) fit(a jobs.Allocation, over time.Time) (placed, taken, pulling, started time.Time) {
	placed, taken, pulling, started = a.Created, a.Received, a.Pulling, a.Started
	if placed.After(over) && !over.IsZero() {
		placed = time.Time{}
	}
	from := l.Sent
	if placed.After(from) {
		from = placed
	}
	var first, last time.Time
	for _, t := range []time.Time{taken, pulling, started} {
		first = earlier(first, t)
		last = later(last, t)
	}
	// Clocks that agree do so within some milliseconds.
	const agree = 50 * time.Millisecond
	if !first.IsZero() && (first.Before(from.Add(-agree)) || !over.IsZero() && last.After(over.Add(agree))) {
		shift := from.Sub(first)
		for _, t := range []*time.Time{&taken, &pulling, &started} {
			if !t.IsZero() {
				*t = t.Add(shift)
			}
		}
	}
	for _, t := range []*time.Time{&taken, &pulling, &started} {
		if t.After(over) && !over.IsZero() {
			*t = over
		}
	}
	return placed, taken, pulling, started
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// onAnswers takes in which replicas have sent their first answer.
func (s *service) onAnswers(now time.Time, answers []jobs.FirstAnswer) {
	for _, a := range answers {
		r := s.replicas[a.Replica]
		if r == nil || r.answer != nil {
			continue
		}
		r.answer = &a
		s.failures.InARow = 0
		s.changed, s.learned = true, true
	}
}

// finishStories stores the cold starts that have come to their end.
func (s *service) finishStories(now time.Time) {
	for _, r := range s.replicas {
		if !r.story || r.answer == nil {
			continue
		}
		if r.alloc.Started.IsZero() && now.Sub(r.answer.FirstByte) < slowStart {
			continue
		}
		s.finish(now, r, jobs.OutcomeAnswered)
	}
}

// finish ends the story of one replica.
func (s *service) finish(now time.Time, r *replica, outcome string) {
	if !r.story {
		return
	}
	r.story = false
	c := tell(s.name, s.ses.cfg.Region, r, outcome, now)
	s.entry.ColdStarts = append(s.entry.ColdStarts, c)
	if outcome != jobs.OutcomeFailed && !r.firstReady.IsZero() {
		s.starts = append(s.starts, c.DurMS/1000)
		s.starts = s.starts[max(0, len(s.starts)-keepStarts):]
		if past, ok := eta.StartOf(c); ok {
			s.past = append(s.past, past)
			s.past = s.past[max(0, len(s.past)-keepStarts):]
			s.whole = eta.Left(s.past, jobs.PhasePlace, 0)
		}
	}
	s.ses.metrics.coldStarted(c)
	if l := r.launch; l != nil && l.Wake && !l.counted {
		l.counted = true
		s.ses.metrics.wakes.WithLabelValues(s.name, outcome).Inc()
	}
	s.log.Info("cold start over", "replica", r.alloc.ID, "outcome", outcome, "dur_ms", c.DurMS, "reason", c.Reason)
	s.changed = true
}

// keepStarts is how many cold starts the estimates rest on.
const keepStarts = 50
