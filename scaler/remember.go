package scaler

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/eta"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// saveEvery is how often a service's memory is stored, if it changed.
const saveEvery = time.Second

// memory is what a service's loop must not forget when another process takes
// over: everything else it observes anew.
type memory struct {
	Decide     decide.Memory       `json:"decide"`
	Failures   decide.Failures     `json:"failures"`
	Spells     []spell             `json:"spells,omitempty"`
	Starts     []float64           `json:"starts,omitempty"` // seconds, oldest first
	Past       []eta.Start         `json:"past,omitempty"`   // the same, by stretch
	Service    decide.ServiceTime  `json:"service"`
	Arrivals   uint64              `json:"arrivals"`
	LastDemand time.Time           `json:"last_demand,omitzero"`
	Stories    map[string]openCold `json:"stories,omitempty"` // by replica
	Met        []string            `json:"met,omitempty"`     // replicas, by id
	Version    int                 `json:"version"`           // of the policy last obeyed
	Ref        *jobs.Ref           `json:"ref,omitempty"`     // the group that it was about
	Launch     string              `json:"launch"`            // what of the policy and job spec a start depends on

	Had      bool         `json:"had"`                // the fleet has had the job
	Change   uint64       `json:"change,omitempty"`   // index of the last change by others that was heeded
	Out      *out         `json:"out,omitempty"`      // it was stopped or purged
	Operated int          `json:"operated,omitempty"` // commands that have been recorded
	Revived  time.Time    `json:"revived,omitzero"`   // the last resume that brought it back
	Hand     *decide.Hand `json:"by_hand,omitempty"`  // a count set by hand that is held
	Passed   []passing    `json:"passed,omitempty"`   // notices of what happened

	Shadow *shadowMemory `json:"shadow,omitempty"`
}

// openCold is a cold start that is not over.
type openCold struct {
	Launch     *launch   `json:"launch"` // nil: replaced by its fleet
	FirstReady time.Time `json:"first_ready,omitzero"`
}

// remembered returns the memory as it is stored.
func (s *service) remembered() ([]byte, error) {
	m := memory{
		Decide: s.memory, Failures: s.failures, Spells: s.spells, Starts: s.starts, Past: s.past,
		Service: s.serviceTime, Arrivals: s.arrivals, LastDemand: s.lastDemand,
		Version: s.version, Launch: s.launchKey(),
		Had: s.had, Change: s.change, Out: s.out, Revived: s.revived, Hand: s.hand, Passed: s.passed, Operated: s.operated,
	}
	m.Shadow = s.shadow.remembered()
	if s.ref.Job != "" && s.mine {
		m.Ref = &s.ref
	}
	m.Met = slices.Sorted(maps.Keys(s.replicas))
	for id, r := range s.replicas {
		if r.story {
			if m.Stories == nil {
				m.Stories = map[string]openCold{}
			}
			m.Stories[id] = openCold{Launch: r.launch, FirstReady: r.firstReady}
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode memory of %s: %w", s.name, err)
	}
	return text, nil
}

// recall takes over what an earlier scaler remembered; text may be nil.
func (s *service) recall(text []byte) error {
	var m memory
	if text != nil {
		if err := json.Unmarshal(text, &m); err != nil {
			return fmt.Errorf("decode memory of %s: %w", s.name, err)
		}
	}
	s.memory, s.failures, s.spells, s.starts, s.past = m.Decide, m.Failures, m.Spells, m.Starts, m.Past
	s.whole = eta.Left(s.past, jobs.PhasePlace, 0)
	s.serviceTime, s.arrivals, s.lastDemand, s.stories = m.Service, m.Arrivals, m.LastDemand, m.Stories
	if m.Shadow != nil {
		s.shadow.memory = *m.Shadow
	}
	s.met, s.operated = m.Met, m.Operated
	s.had, s.change, s.out, s.revived, s.hand, s.passed = m.Had, m.Change, m.Out, m.Revived, m.Hand, m.Passed
	s.unmet = !m.Had // what others did before is how things are
	if m.Ref != nil {
		s.returnTo(*m.Ref, m.Version)
	}
	if text != nil && m.Launch != s.launchKey() {
		s.failures = decide.Failures{} // what failed is not what would start now
		s.spells = nil
	}
	return nil
}

// launchKey names what decides whether a start succeeds. When it changes, past
// failures say nothing any more.
func (s *service) launchKey() string {
	source := ""
	if s.spec != nil {
		source = s.spec.Source
	}
	return fmt.Sprintf("%s %s %v %s", s.ref, s.probeURL("host"), s.policy.Probe.Max, digest(source))
}

// onTraffic takes in what the activators have counted.
func (s *service) onTraffic(now time.Time, t *traffic) {
	s.arrivals += t.arrivals
	s.serviceTime = s.serviceTime.With(t.completed, t.seconds)
	s.counted, s.countedAt = t.inFlight, now
	s.recorded.note(now, t, s.latencies)
	s.asks(now, t.lastDemand)
	s.latency = append(s.latency, t.latency...)
	if extra := len(s.latency) - maxLatencyItems; extra > 0 {
		s.latency = s.latency[extra:] // nobody decided for minutes
	}
	s.latencies.add(t.latency)
	s.rate.add(now, s.arrivals)
	s.ends.add(now, t.completed, t.failed)
	if t.arrivals+t.completed > 0 || t.inFlight > 0 || t.held > 0 {
		s.lastActive = now
		if s.demand.Held == 0 && t.held > 0 {
			s.read(now) // its announcement was missed
		}
	}
}

// asks notes that somebody asked at a moment; zero is never. What was noted before
// the clock was set back lies ahead of it, and would hide whoever asks until that
// hour has come again.
func (s *service) asks(now, at time.Time) {
	now = now.Round(0) // by the clock on the wall, as at is
	if s.lastDemand.Round(0).After(now) {
		s.lastDemand = now
	}
	if at.After(s.lastDemand) {
		s.lastDemand = earlier(at, now)
	}
}

// maxLatencyItems bounds what waits for the next decision.
const maxLatencyItems = 1000

// rate is a cumulative count over the last seconds.
type rate struct {
	at    []time.Time
	count []uint64
}

const rateWindow = 10 * time.Second

func (r *rate) add(now time.Time, count uint64) {
	r.at, r.count = append(r.at, now), append(r.count, count)
	for len(r.at) > 1 && now.Sub(r.at[1]) >= rateWindow {
		r.at, r.count = r.at[1:], r.count[1:]
	}
}

// perSecond returns the mean over the window, 0 if nothing was counted in it.
func (r *rate) perSecond(now time.Time) float64 {
	for i, at := range r.at {
		if now.Sub(at) <= rateWindow {
			before := r.count[max(0, i-1)]
			return float64(r.count[len(r.count)-1]-before) / rateWindow.Seconds()
		}
	}
	return 0
}

// stories are kept for replicas that the fleet still has.
func (s *service) openStory(a jobs.Allocation, r *replica) {
	if open, ok := s.stories[a.ID]; ok {
		r.story, r.launch, r.firstReady = true, open.Launch, open.FirstReady
	}
}
