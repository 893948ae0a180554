package decide

import (
	"math"
	"slices"
	"time"
)

// Missed is what would have waited had replicas above the first not been there when
// they were needed: what their keep-alive is worth, and when it is worth having one
// more. It is reckoned from demand alone, so that it is learned while they are kept
// as well as while they are missed, and a keep-alive does not change what it rests on.
type Missed struct {
	Offered float64 `json:"offered,omitempty"` // requests that would be in flight if nobody had to wait
	Bands   []Pile  `json:"bands,omitempty"`   // by number, of bands of levels; shared, never written again
	Next    Next    `json:"next,omitzero"`
}

// Pile is what would have waited for the lowest level k of a band. Of the offered
// demand O it fills min(O − (k−1)·c, c) slots. Were it missing, that work would pile
// up, and be done by the others while they have free slots; a pile of V slot-seconds
// is V/S̄ requests that wait. They are added up over one cold start, from the moment
// that the pile begins or a gap of the level ends, whichever is first, and count if a
// gap ended: only then could the level have been missing.
type Pile struct {
	Began  int64   `json:"t,omitempty"` // unix milliseconds; 0: there is none
	Needed bool    `json:"g,omitempty"` // the level has been needed since then, after a gap
	Work   float32 `json:"v,omitempty"` // V
	Waited float32 `json:"s,omitempty"` // seconds, all requests together
	Mean   float32 `json:"w,omitempty"` // of past piles
	Count  int     `json:"n,omitempty"` // past ones, at most enoughLearned
}

// Next is the level above those that are there: what it would have saved where
// requests wait again and again, each time for less than a cold start.
type Next struct {
	Level int     `json:"k,omitempty"`
	Work  float64 `json:"v,omitempty"`     // V of a pile
	Saved float64 `json:"saved,omitempty"` // less what it would have cost, in seconds of a replica; from 0 to what is enough
}

const (
	mostPiles     = 12   // bands, the last of which stands for all above it: more than 2^10 replicas
	longestPassed = 60.0 // seconds between two looks that are accounted
	enoughSaved   = 2.0  // cold starts that the next level would have saved when it is worth having
)

// slotTimes are what a service's slots are reckoned with.
type slotTimes struct {
	c     int     // slots of a replica
	s     float64 // S̄, seconds
	l     float64 // cold start, seconds
	theta float64 // seconds of a replica worth one second of one request's waiting
}

// wait is W of a band above the first level: how many seconds requests wait together
// for a replica that is gone; half a cold start, as if one waited, until it is known.
func (m *Missed) wait(band int, l float64) float64 {
	if !m.known(band) {
		return l / 2
	}
	return float64(m.Bands[min(band, mostPiles-1)].Mean)
}

// known reports whether W of a band was seen.
func (m *Missed) known(band int) bool {
	band = min(band, mostPiles-1)
	return band < len(m.Bands) && m.Bands[band].Count > 0
}

// observe moves on what would have waited since the last look, dt seconds ago.
// Held requests are not in flight, and would have been finished by and by: what is
// offered then goes by those that arrive. n0 is how many replicas are ready, or 0
// while any starts.
func (m Missed) observe(now time.Time, dt float64, inFlight, held int, arrived uint64, n0 int, t slotTimes) Missed {
	dt = min(max(0, dt), longestPassed)
	before, offered := m.Offered, float64(inFlight)
	if held > 0 {
		offered = before*math.Exp(-dt/t.s) + float64(arrived)
	}
	if m.Offered = offered; dt > 0 { // in the mean over dt, of which what is new has risen in the last second
		offered = before + (offered-before)/2*min(dt, 1)/dt
	}
	m.Next = m.Next.observe(n0, dt, offered, t)
	own := false
	for band := 1; band < mostPiles; band++ {
		known := band < len(m.Bands)
		over := offered - float64((lowest(band)-1)*t.c)
		if over <= 0 {
			if !known {
				break
			}
			if m.Bands[band].Began == 0 {
				continue
			}
		}
		if !own {
			m.Bands, own = slices.Clone(m.Bands), true
		}
		for len(m.Bands) <= band {
			m.Bands = append(m.Bands, Pile{})
		}
		m.Bands[band] = m.Bands[band].observe(now.UnixMilli(), dt, min(over, float64(t.c)), t)
	}
	return m
}

func (p Pile) observe(now int64, dt, slots float64, t slotTimes) Pile {
	if p.Began == 0 {
		return Pile{Began: now, Mean: p.Mean, Count: p.Count}
	}
	p.Waited += p.Work * float32(dt/t.s)
	p.Work = max(0, p.Work+float32(slots*dt))
	switch {
	case float64(now-p.Began) >= 1000*t.l:
		return p.end(t.l)
	case p.Work == 0 && slots <= 0 && !p.Needed:
		return p.over()
	}
	return p
}

func (p Pile) end(l float64) Pile {
	if p.Needed {
		mean := float64(p.Mean)
		if p.Count == 0 {
			mean = l / 2
		}
		mean, p.Count = learned(mean, p.Count, float64(p.Waited))
		p.Mean = float32(mean)
	}
	return p.over()
}

func (p Pile) over() Pile { return Pile{Mean: p.Mean, Count: p.Count} }

// needed notes that the levels above one, up to another, are needed again.
func (m Missed) needed(now time.Time, above, n int) Missed {
	own := false
	for band := 1; band < mostPiles && lowest(band) <= n; band++ {
		if lowest(band) <= above {
			continue
		}
		if !own {
			m.Bands, own = slices.Clone(m.Bands), true
		}
		for len(m.Bands) <= band {
			m.Bands = append(m.Bands, Pile{})
		}
		p := &m.Bands[band]
		if p.Needed = true; p.Began == 0 {
			p.Began = now.UnixMilli()
		}
	}
	return m
}

func (n Next) observe(n0 int, dt, offered float64, t slotTimes) Next {
	if n0 == 0 {
		return Next{}
	}
	if n.Level != n0+1 {
		n = Next{Level: n0 + 1}
	}
	n.Saved = min(max(0, n.Saved+(t.theta*n.Work/t.s-1)*dt), enoughSaved*t.l) // no more, or it would be asked for until as much is idled away
	more := min(offered-float64(n0*t.c), float64(t.c))
	if n.Saved >= enoughSaved*t.l {
		more = min(more, 0) // or one that cannot be had would be asked for until hours of it are done
	}
	n.Work = max(0, n.Work+more*dt)
	if n.Work == 0 && n.Saved == 0 {
		return Next{}
	}
	return n
}

// worth is the level that is worth having for what it would have saved by now; 0:
// none.
func (n Next) worth(l float64) int {
	if n.Saved < enoughSaved*l {
		return 0
	}
	return n.Level
}

// over forgets what is running.
func (m Missed) over() Missed {
	m = Missed{Bands: slices.Clone(m.Bands)}
	for i, p := range m.Bands {
		m.Bands[i] = p.over()
	}
	return m
}
