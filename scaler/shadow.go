package scaler

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/decide"
	"github.com/pilotlight/pilotlight/scaler/history"
)

// unlooked is a time between two looks of a shadow that is not accounted: nobody
// knows what was there in between.
const unlooked = 15 * time.Second

// shadow is a draft that runs beside a service's policy. After each decision of
// the policy, and after it was acted upon, the draft decides on the same snapshot
// but for the replicas, which are those that it would have (see shadowMemory);
// nothing comes of it but a record. While there is one its service is never at
// rest: it looks every tick.
//
// What it is told of demand is what the policy in force has made of it: while
// live requests wait for a cold start that the draft would not have needed, they
// add up before the draft's eyes, too, and latency and GPU utilization are those
// of the live replicas. So its next decision is sound; what it would have cost
// and whom it would have let wait over days is what a simulation tells.
type shadow struct {
	of      jobs.Shadow
	log     *slog.Logger
	policy  *policies.Policy // nil: there is none, or it does not decide
	failure string           // why not
	memory  shadowMemory

	seen  *sighted // until it was looked at
	due   bool     // something is to be written
	steps []jobs.ShadowStep
	news  []decide.Decision
}

// sighted is what the policy's last decision was made from.
type sighted struct {
	snap   decide.Snapshot
	memory decide.Memory
}

// shadowMemory is what a shadow must not forget when another scaler takes over.
type shadowMemory struct {
	ID       string              `json:"id"`
	Decide   decide.Memory       `json:"decide"`
	Fleet    []shadowReplica     `json:"fleet,omitempty"` // that it would have, by index
	Standing jobs.ShadowStanding `json:"standing"`
}

// shadowReplica is a replica that a shadow would have. One that the live policy
// has launched, too, is ready when that one is; another one after the median of
// the service's cold starts.
type shadowReplica struct {
	Launched time.Time `json:"launched"`
	ReadyAt  time.Time `json:"ready_at,omitzero"`
}

// set makes draft the one that runs; nil: none.
func (sh *shadow) set(s *service, draft *jobs.Shadow) {
	switch {
	case draft == nil && sh.of.ID == "":
		sh.memory = shadowMemory{}
		return
	case draft == nil:
		s.log.Info("shadow removed")
		*sh = shadow{}
		return
	case draft.ID == sh.of.ID:
		return
	}
	remembered := sh.memory
	*sh = shadow{of: *draft, log: s.log, memory: shadowMemory{ID: draft.ID}, due: true}
	if remembered.ID == draft.ID {
		sh.memory = remembered
	}
	list, err := policies.Parse("", []byte(draft.Text))
	switch {
	case err == nil && len(list) == 1:
		sh.policy = list[0]
		s.log.Info("shadow", "by", draft.Author, "reason", draft.Comment)
		s.due, s.nextTick = true, time.Time{} // also while it is at rest
	case err == nil:
		err = errors.New("its text is not one policy")
		fallthrough
	default:
		sh.fail(fmt.Errorf("the draft is not valid in this version of the program: %w", err))
	}
}

func (sh *shadow) fail(err error) {
	sh.policy, sh.failure, sh.due = nil, err.Error(), true
	sh.log.Error("the shadow does not decide", "err", err)
}

// show keeps for the shadow what the policy's decision is made from.
func (sh *shadow) show(snap decide.Snapshot, memory decide.Memory) {
	if sh.policy != nil {
		sh.seen = &sighted{snap, memory}
	}
}

// look lets the draft decide on what the policy has decided on. A fault in it ends
// the shadow, and nothing else.
func (sh *shadow) look(s *service, now time.Time) {
	if sh.policy == nil || sh.seen == nil {
		return
	}
	defer func() {
		if fault := recover(); fault != nil {
			sh.log.Debug("the shadow's fault", "stack", string(debug.Stack()))
			sh.fail(fmt.Errorf("the draft made the decision fail: %v", fault))
		}
	}()
	snap, live, memory := sh.seen.snap, sh.seen.snap.Replicas, sh.seen.memory
	sh.seen = nil
	m, st := &sh.memory, &sh.memory.Standing
	if dt := now.Sub(st.At); !st.At.IsZero() && dt > 0 && dt <= unlooked {
		seconds, gpus := dt.Seconds(), float64(max(1, snap.GPUs))
		st.ObservedS += seconds
		st.GPUSeconds += seconds * gpus * float64(len(m.Fleet))
		st.LiveGPUSeconds += seconds * gpus * float64(len(live))
		if st.Wanted != st.LiveWanted {
			st.DiffersS += seconds
		}
	}
	fresh := st.At.IsZero()
	if fresh { // it begins as if the policy were changed to it now
		m.adopt(live)
		m.Decide = memory
	}
	m.would(now, sh.policy.Replicas.Concurrency, &snap)
	before := m.Decide
	d := decide.Quietly(now, sh.policy, 0, &snap, &m.Decide)
	if d.To != d.From {
		told, _ := decide.Decide(now, sh.policy, 0, snap, before)
		told.Service = s.name
		sh.news = append(sh.news, told)
		sh.news = sh.news[max(0, len(sh.news)-keepUnsaved):]
		st.Decisions++
	}
	m.resize(now, d.To)
	wanted, liveWanted := d.To, s.decision.To
	if fresh || wanted != st.Wanted || liveWanted != st.LiveWanted {
		sh.steps = append(sh.steps, jobs.ShadowStep{At: now.UTC(), Wanted: wanted, Live: liveWanted})
		sh.steps = sh.steps[max(0, len(sh.steps)-keepUnsaved):]
	}
	st.At, st.Wanted, st.LiveWanted = now.UTC(), wanted, liveWanted
	sh.due = true
}

// adopt lets the shadow begin with the replicas that are there.
func (m *shadowMemory) adopt(live []decide.Replica) {
	for _, r := range serving(live) {
		m.Fleet = append(m.Fleet, shadowReplica{Launched: r.Launched, ReadyAt: r.ReadyAt})
	}
}

// serving are the replicas that are not being drained, by index.
func serving(live []decide.Replica) []decide.Replica {
	list := slices.DeleteFunc(slices.Clone(live), func(r decide.Replica) bool { return r.Phase == jobs.Draining })
	slices.SortStableFunc(list, func(a, b decide.Replica) int { return a.Index - b.Index })
	return list
}

// would turns what is there into what there would be: the shadow's replicas, with
// the requests that are there shared out among their slots, and the rest held.
func (m *shadowMemory) would(now time.Time, slots int, snap *decide.Snapshot) {
	live := serving(snap.Replicas)
	demand := snap.InFlight + snap.Held
	ready := 0
	var gpu *float64
	n, sum := 0, 0.0
	for _, r := range live {
		if r.Phase == jobs.Ready && r.GPUUtilization != nil {
			n, sum = n+1, sum+*r.GPUUtilization
		}
	}
	if n > 0 {
		mean := sum / float64(n)
		gpu = &mean
	}
	replicas := make([]decide.Replica, len(m.Fleet))
	for i := range m.Fleet {
		f := &m.Fleet[i]
		if f.ReadyAt.IsZero() {
			switch {
			case i < len(live) && live[i].Phase == jobs.Ready:
				f.ReadyAt = now
			case i >= len(live) && !now.Before(f.Launched.Add(usualStart(snap.Starts))):
				f.ReadyAt = now
			}
		}
		r := decide.Replica{ID: fmt.Sprintf("shadow-%d", i), Index: i, Phase: jobs.Starting, Launched: f.Launched, ReadyAt: f.ReadyAt}
		if !f.ReadyAt.IsZero() {
			r.Phase, r.GPUUtilization = jobs.Ready, gpu
			ready++
		}
		replicas[i] = r
	}
	inFlight := min(demand, slots*ready)
	for i, left := 0, inFlight; left > 0; i = (i + 1) % len(replicas) {
		if replicas[i].Phase == jobs.Ready {
			replicas[i].InFlight++
			left--
		}
	}
	held := demand - inFlight
	switch {
	case held == 0:
		snap.OldestHold, snap.Deadlines = time.Time{}, nil
	case snap.OldestHold.IsZero():
		snap.OldestHold = now
	}
	if extra := len(snap.Deadlines) - held; extra > 0 {
		snap.Deadlines = snap.Deadlines[extra:]
	}
	snap.Replicas, snap.InFlight, snap.Held = replicas, inFlight, held
	m.Standing.Ready = ready
}

// usualStart is the median of a service's cold starts, or what a decision takes
// for it until there are a few.
func usualStart(starts []float64) time.Duration {
	const few, prior = 5, 2 * time.Minute
	stats := coldStats(starts)
	if stats.Count < few {
		return prior
	}
	return time.Duration(*stats.P50 * float64(time.Second))
}

// resize gives the shadow as many replicas as it wants. One that it would drain is
// gone at once: what its last requests would have cost is left out.
func (m *shadowMemory) resize(now time.Time, n int) {
	for len(m.Fleet) < n {
		m.Fleet = append(m.Fleet, shadowReplica{Launched: now.UTC()})
	}
	m.Fleet = m.Fleet[:n]
}

// remembered is what has to be stored; nil: there is no shadow.
func (sh *shadow) remembered() *shadowMemory {
	if sh.policy == nil {
		return nil
	}
	return &sh.memory
}

// take returns what is to be written, nil if nothing.
func (sh *shadow) take() *history.ShadowEntry {
	if !sh.due {
		return nil
	}
	e := &history.ShadowEntry{ID: sh.of.ID, Standing: sh.memory.Standing, Steps: sh.steps, Decisions: sh.news}
	e.Standing.Failure = sh.failure
	sh.due, sh.steps, sh.news = false, nil, nil
	return e
}

// stored takes back what could not be written, for the next time.
func (sh *shadow) stored(e *history.ShadowEntry, ok bool) {
	if ok || e == nil || e.ID != sh.of.ID {
		return
	}
	sh.due = true
	sh.steps, sh.news = latest(e.Steps, sh.steps), latest(e.Decisions, sh.news)
}
