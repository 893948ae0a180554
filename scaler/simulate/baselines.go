package simulate

import (
	"math"
	"time"
)

// The other ways to scale, with the parameters of their own defaults. All run
// on the same model, bounds, slots and cold starts as the policy.

// ceilOf rounds a count of replicas up, forgiving what arithmetic adds.
func ceilOf(x float64) int {
	if x <= 0 {
		return 0
	}
	return int(math.Ceil(x - 1e-9))
}

func (m *model) asked() int { return m.inFlight + m.held.len() }

// fixed keeps what was needed within the last T: wanted = max over T of
// ceil(D/c). It reacts to every change of demand at once, and T counts from the
// end of what was needed, not from its begin.
type fixed struct {
	timeout  time.Duration
	min, max int
	needed   []needed // counts falling, times rising: the maximum is the first
}

type needed struct {
	at time.Duration // when it was last so many
	n  int
}

func (f *fixed) period() (change, first time.Duration) { return 0, 0 }

func (f *fixed) look(m *model) (int, time.Duration) {
	n := ceilOf(float64(m.asked()) / float64(m.slots))
	if last := len(f.needed) - 1; last >= 0 {
		f.needed[last].at = m.now // it was so many until this change
	}
	for len(f.needed) > 0 && f.needed[len(f.needed)-1].n <= n {
		f.needed = f.needed[:len(f.needed)-1]
	}
	f.needed = append(f.needed, needed{at: m.now, n: n})
	for len(f.needed) > 1 && f.needed[0].at+f.timeout <= m.now {
		f.needed = f.needed[1:]
	}
	at := never
	if len(f.needed) > 1 {
		at = f.needed[0].at + f.timeout
	}
	return min(max(f.needed[0].n, f.min), f.max), at
}

// single is 0↔1 with an idle timeout, as nscale, llama-swap and Sablier.
type single struct {
	timeout time.Duration
	last    time.Duration
	asked   bool
}

func (s *single) period() (change, first time.Duration) { return 0, 0 }

func (s *single) look(m *model) (int, time.Duration) {
	if m.asked() > 0 {
		s.last, s.asked = m.now, true
		return 1, never
	}
	if !s.asked || m.lastAsked+s.timeout <= m.now {
		return 0, never
	}
	return 1, m.lastAsked + s.timeout
}

// kpa is Knative's autoscaler [KPA]: every 2 s, a mean over 60 s and a target of
// 70 %; panic on the mean over 6 s at twice what the ready replicas should have,
// where none is taken for one; no decrease until 60 s after the last moment of
// panic; at most half goes at once; to zero when nothing was asked for 60 s, after
// 30 s of grace.
type kpa struct {
	min, max int
	panicked time.Duration // when panic was last entered or renewed
	panics   bool
	most     int           // wanted since panic was entered
	idle     time.Duration // since when the mean is zero
	idles    bool
}

const (
	kpaEvery  = 2 * time.Second
	kpaTarget = 0.7
	kpaPanic  = time.Minute
	kpaGrace  = 30 * time.Second
)

func (k *kpa) period() (change, first time.Duration) { return kpaEvery, 0 }

func (k *kpa) look(m *model) (int, time.Duration) {
	per := kpaTarget * float64(m.slots)
	stable, quick := ceilOf(m.demand.mean(60)/per), ceilOf(m.demand.mean(6)/per)
	if m.wanted == 0 && m.held.len() > 0 {
		stable = max(stable, 1)
	}
	ready := m.countReady()
	if quick >= 2*max(1, ready) {
		k.panicked, k.panics = m.now, true
	}
	if k.panics && m.now-k.panicked > kpaPanic {
		k.panics, k.most = false, 0
	}
	n := max(stable, ready/2) // down by half at most
	if k.panics {
		k.most = max(k.most, n, quick)
		n = k.most
	}
	if stable > 0 || m.asked() > 0 {
		n, k.idles = max(n, 1), false
	} else if !k.idles {
		k.idle, k.idles = m.now, true
	}
	if k.idles {
		n = max(n, 1)
		if m.wanted == 0 || m.now-k.idle >= kpaGrace {
			n = 0
		}
	}
	n = min(max(n, k.min), k.max)
	if n == k.min && k.idles && n == m.wanted {
		return n, never
	}
	return n, next(m.now+1, kpaEvery)
}

// hpa is KEDA in front of the horizontal pod autoscaler [HPA]: from zero by a
// poll every 30 s; then every 15 s from the mean over 30 s with a target of 70 %,
// tolerance 0.1, at most 4 more or twice as many at a step, and down only to what
// was the most within 300 s; to zero after 300 s without demand.
type hpa struct {
	min, max int
	recent   []needed
}

const (
	hpaEvery     = 15 * time.Second
	kedaPoll     = 30 * time.Second
	hpaWindow    = 5 * time.Minute
	kedaCooldown = 5 * time.Minute
	hpaTolerance = 0.1
)

func (h *hpa) period() (change, first time.Duration) { return hpaEvery, kedaPoll }

func (h *hpa) look(m *model) (int, time.Duration) {
	again := next(m.now+1, hpaEvery)
	if m.wanted == 0 {
		switch {
		case m.asked() == 0:
			return 0, never
		case m.now%kedaPoll != 0:
			return 0, next(m.now+1, kedaPoll)
		}
		h.recent = h.recent[:0]
		return min(max(1, h.min), h.max), again
	}
	if m.asked() == 0 && m.now-m.lastAsked >= kedaCooldown && h.min == 0 {
		return 0, never
	}
	current := float64(m.wanted)
	ratio := m.demand.mean(30) / (current * kpaTarget * float64(m.slots))
	n := m.wanted
	if math.Abs(ratio-1) > hpaTolerance {
		n = ceilOf(current * ratio)
	}
	n = min(n, max(m.wanted+4, 2*m.wanted))
	n = max(n, 1)
	for len(h.recent) > 0 && h.recent[len(h.recent)-1].n <= n {
		h.recent = h.recent[:len(h.recent)-1]
	}
	h.recent = append(h.recent, needed{at: m.now, n: n})
	for h.recent[0].at+hpaWindow <= m.now {
		h.recent = h.recent[1:]
	}
	n = h.recent[0].n
	return min(max(n, h.min, 1), h.max), again
}

// autoscaler is the Nomad Autoscaler with a target-value strategy: every 10 s,
// the mean over 60 s with a target of 70 %, 300 s of cooldown after each change.
// It cannot leave zero, so its least count is 1.
type autoscaler struct {
	min, max int
	changed  time.Duration
	begun    bool
}

const (
	nomadASEvery    = 10 * time.Second
	nomadASCooldown = 5 * time.Minute
)

func (a *autoscaler) period() (change, first time.Duration) { return nomadASEvery, nomadASEvery }

func (a *autoscaler) look(m *model) (int, time.Duration) {
	least := max(1, a.min)
	again := next(m.now+1, nomadASEvery)
	if !a.begun {
		a.begun = true
		return least, again
	}
	n := min(max(ceilOf(m.demand.mean(60)/(kpaTarget*float64(m.slots))), least), a.max)
	switch {
	case n == m.wanted && n == least && m.asked() == 0:
		return n, never
	case n == m.wanted:
		return n, again
	case a.changed > 0 && m.now-a.changed < nomadASCooldown:
		return m.wanted, again
	}
	a.changed = m.now
	return n, again
}
