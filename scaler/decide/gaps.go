package decide

import (
	"encoding/binary"
	"math/bits"
	"slices"
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
	most := maxGaps
	if number > 0 {
		most = maxUpperGaps
	}
	return g.with(g.band(number).append(from.Unix(), seconds(length), most))
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
		before := Band{Number: b.Number, Choice: b.Choice}
		for _, p := range b.past() {
			before = before.append(min(p.opened, now.Unix()), p.seconds, maxGaps)
		}
		g = g.with(before)
	}
	return g
}

// append remembers one more gap, and forgets the oldest ones beyond most. Those
// between stay packed as they are: a busy service has one each minute.
func (b Band) append(opened, length int64, most int) Band {
	var head, tail [2 * binary.MaxVarintLen64]byte
	oldest, rest := head[:0], b.Packed
	if over := b.Count + 1 - most; over > 0 {
		g, ok := gap{}, true
		for range over + 1 { // the last of these is the oldest one now
			if g, rest, ok = unpacked(rest, g.opened); !ok {
				b, rest = Band{Number: b.Number, Choice: b.Choice}, nil
				break
			}
		}
		if ok {
			b.Count, oldest = b.Count-over, g.pack(oldest, 0)
		}
	}
	g := gap{max(opened, b.Last), length}
	b.Packed = slices.Concat(oldest, rest, g.pack(tail[:0], b.Last))
	b.Count, b.Last = b.Count+1, g.opened
	return b
}

// pack appends the gap, after one that opened at a moment.
func (g gap) pack(to []byte, before int64) []byte {
	to = binary.AppendUvarint(to, uint64(max(0, g.opened-before)))
	return binary.AppendUvarint(to, uint64(g.seconds))
}

// unpacked is the first of packed gaps, after one that opened at a moment, and
// what follows it; false: there is none.
func unpacked(packed []byte, before int64) (g gap, rest []byte, ok bool) {
	if len(packed) >= 2 && packed[0]|packed[1] < 0x80 { // a byte each, as where gaps are many
		return gap{before + int64(packed[0]), int64(packed[1])}, packed[2:], true
	}
	after, n := binary.Uvarint(packed)
	if n <= 0 {
		return gap{}, nil, false
	}
	length, m := binary.Uvarint(packed[n:])
	if m <= 0 {
		return gap{}, nil, false
	}
	return gap{before + int64(after), int64(length)}, packed[n+m:], true
}

// past are the gaps, oldest first.
func (b Band) past() []gap {
	past := make([]gap, 0, b.Count)
	opened := int64(0)
	for g, rest, ok := unpacked(b.Packed, opened); ok; g, rest, ok = unpacked(rest, opened) {
		past, opened = append(past, g), g.opened
	}
	return past
}
