package decide

import (
	"encoding/binary"
	"math/bits"
	"time"
)

const (
	maxGaps      = 400                // of the first level
	maxUpperGaps = 60                 // of each band above it
	longestGap   = 7 * 24 * time.Hour // longer ones are taken for this
	maxBands     = 16                 // 2^15 replicas
)

// Gaps remember for how long levels were not needed: what a keep-alive is
// chosen from. The first level is needed while anybody is held or served; its
// gap is the time between two demands. Levels above it are needed by load,
// backlog and thresholds, and share one history in bands of 2, 3–4, 5–8, 9–16 …:
// neighbours live alike, and a service of a thousand replicas is remembered in a
// few KiB.
//
// A gap that to_zero.at_least outlasts decides nothing and is not remembered.
type Gaps struct {
	Bands  []Band  `json:"bands,omitempty"`  // by number; shared, never written again
	Idle   []Level `json:"idle,omitempty"`   // when each level above the first was last needed
	Needed int     `json:"needed,omitempty"` // levels needed at the last look
}

// Band is the history of a band of levels, and the keep-alive chosen from it.
type Band struct {
	Number int    `json:"b"`               // 0: the first level, 1: the second, 2: 3–4, 3: 5–8 …
	Last   int64  `json:"last,omitempty"`  // when the last gap opened, unix seconds
	Count  int    `json:"n,omitempty"`     // gaps in Packed
	Packed []byte `json:"gaps,omitempty"`  // oldest first: seconds since the gap before opened, length in seconds; varints
	Choice Choice `json:"choice,omitzero"` // for the gap that is open, or was the last
}

// gap is one time for which a level was not needed.
type gap struct{ opened, seconds int64 }

// bandOf is the band that level k belongs to.
func bandOf(k int) int { return bits.Len(uint(max(k, 1) - 1)) }

// lowest is the lowest level of a band.
func lowest(band int) int {
	if band == 0 {
		return 1
	}
	return 1<<(band-1) + 1
}

func (g Gaps) band(number int) Band {
	for _, b := range g.Bands {
		if b.Number == number {
			return b
		}
	}
	return Band{Number: number}
}

// choice is the keep-alive last chosen for a band.
func (g *Gaps) choice(number int) Choice {
	for i := range g.Bands {
		if g.Bands[i].Number == number {
			return g.Bands[i].Choice
		}
	}
	return Choice{}
}

// with returns the gaps with another state of a band.
func (g Gaps) with(band Band) Gaps {
	out := make([]Band, 0, len(g.Bands)+1)
	placed := false
	for _, b := range g.Bands {
		if !placed && b.Number >= band.Number {
			out, placed = append(out, band), true
		}
		if b.Number != band.Number {
			out = append(out, b)
		}
	}
	if !placed {
		out = append(out, band)
	}
	g.Bands = out
	return g
}

// closed remembers that levels of a band were not needed from one moment to
// another.
func (g Gaps) closed(number int, from, to time.Time, least time.Duration) Gaps {
	length := min(to.Sub(from), longestGap)
	if from.IsZero() || length < max(least, time.Second) || number >= maxBands {
		return g
	}
	b := g.band(number)
	past := append(b.past(), gap{max(from.Unix(), b.Last), seconds(length)})
	most := maxGaps
	if number > 0 {
		most = maxUpperGaps
	}
	return g.with(b.pack(past[max(0, len(past)-most):]))
}

// climb notes that n levels are needed now: the gaps of those that were not end.
func (g Gaps) climb(now time.Time, n, top int, least time.Duration) Gaps {
	from := 1
	for _, l := range g.Idle {
		first, last := max(from, 1)+1, min(l.K, n)
		for k := first; k <= last; k = lowest(bandOf(k) + 1) {
			g = g.closed(bandOf(k), l.Last, now, least)
		}
		from = l.K
	}
	g.Idle, g.Needed = need(g.Idle, n, top, now), n
	return g
}

// setBack is the gaps after a clock was set back: none opened ahead of now, or
// those to come would be taken for as late as that one.
func (g Gaps) setBack(now time.Time) Gaps {
	g.Idle = levelsBefore(g.Idle, now)
	for _, b := range g.Bands {
		if b.Last <= now.Unix() {
			continue
		}
		past := b.past()
		for i := range past {
			past[i].opened = min(past[i].opened, now.Unix())
		}
		g = g.with(b.pack(past))
	}
	return g
}

func (b Band) pack(past []gap) Band {
	b.Packed = make([]byte, 0, 5*len(past))
	b.Count, b.Last = len(past), 0
	for _, p := range past {
		b.Packed = binary.AppendUvarint(b.Packed, uint64(max(0, p.opened-b.Last)))
		b.Packed = binary.AppendUvarint(b.Packed, uint64(p.seconds))
		b.Last = p.opened
	}
	return b
}

func (b Band) past() []gap {
	past := make([]gap, 0, b.Count+1)
	opened := int64(0)
	for rest := b.Packed; len(rest) > 0; {
		after, n := binary.Uvarint(rest)
		if n <= 0 {
			break
		}
		length, m := binary.Uvarint(rest[n:])
		if m <= 0 {
			break
		}
		rest = rest[n+m:]
		opened += int64(after)
		past = append(past, gap{opened, int64(length)})
	}
	return past
}
