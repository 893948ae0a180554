package decide

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

const (
	maxLatencyBuckets = 32               // in the longest window; beyond it only as many as a quantile may have to reach back for
	maxRecentBytes    = 6 << 10          // of items that may still be replaced
	maxFoldedBytes    = 12 << 10         // of bins of folded buckets; beyond it neighbours are joined
	replaceable       = 30 * time.Second // how long an item may still be replaced by a later one
	aheadOfUs         = 10 * time.Second // clocks of activators may be this much ahead
	widest            = 5 * time.Minute  // how far a quantile with too few samples reaches back
)

// Completions that a quantile needs; with fewer it is unknown.
const (
	minForMean = 1
	minForP50  = 10
	minForP95  = 40
	minForP99  = 200
)

// Latencies are the times in the replica of recently completed requests, as
// mergeable sketches (DDSketch, relative error 1 %).
type Latencies struct {
	// Recent items, by Start then Activator: each may still be replaced.
	Recent []LatencyPart `json:"recent,omitempty"`
	// Folded: items that start before it are in Buckets, or lost; unix seconds.
	Folded int64 `json:"folded,omitempty"`
	// Buckets of all activators together, oldest first.
	Buckets []LatencyPart `json:"buckets,omitempty"`
}

// LatencyPart is one bucket of completions, [Start, Start+Span) unix seconds.
type LatencyPart struct {
	Activator string  `json:"by,omitempty"` // of a recent one
	Start     int64   `json:"t"`
	Span      int64   `json:"s"`
	Count     uint64  `json:"n"`
	Sum       float64 `json:"sum_s"`
	Bins      []byte  `json:"bins,omitempty"` // packBins
}

// observe returns the latencies with the items of one snapshot. keep is how far
// back the longest window reaches.
func (l Latencies) observe(now time.Time, items []LatencyItem, keep time.Duration) Latencies {
	if len(items) == 0 && len(l.Recent) == 0 && len(l.Buckets) == 0 {
		return l
	}
	l = l.replace(now, items)
	l = l.fold(max(l.Folded, now.Add(-replaceable).Unix()), keep)
	for over := l.recentBytes() - maxRecentBytes; over > 0 && len(l.Recent) > 0; over = l.recentBytes() - maxRecentBytes {
		l = l.fold(l.Recent[0].Start+1, keep)
	}
	return l.prune(now, keep)
}

// setBack is nothing if the clock was set back to before completions that it
// knows: they would be taken for the latest until that hour has come again.
func (l Latencies) setBack(now time.Time) Latencies {
	ahead := l.Folded > now.Unix()
	if n := len(l.Recent); n > 0 {
		ahead = ahead || l.Recent[n-1].Start > now.Add(aheadOfUs).Unix()
	}
	if ahead {
		return Latencies{}
	}
	return l
}

// replace puts items in the place of earlier ones of the same activator and start.
func (l Latencies) replace(now time.Time, items []LatencyItem) Latencies {
	own := false
	for _, it := range items {
		start := it.Start.Unix()
		if start < l.Folded || start < now.Add(-replaceable).Unix() || it.Start.After(now.Add(aheadOfUs)) {
			continue
		}
		if it.Count == 0 || it.Sum < 0 || math.IsNaN(it.Sum) || math.IsInf(it.Sum, 0) {
			continue
		}
		i, found := slices.BinarySearchFunc(l.Recent, it, func(p LatencyPart, it LatencyItem) int {
			return cmp.Or(cmp.Compare(p.Start, it.Start.Unix()), cmp.Compare(p.Activator, it.Activator))
		})
		if found && l.Recent[i].Count == it.Count {
			continue // the same completions, published again
		}
		bins, ok := binsOf(it.Sketch)
		if !ok {
			continue
		}
		if !own {
			l.Recent, own = slices.Clone(l.Recent), true
		}
		part := LatencyPart{Activator: it.Activator, Start: start, Span: seconds(jobs.LatencyBucketSpan),
			Count: it.Count, Sum: it.Sum, Bins: packBins(bins)}
		if found {
			l.Recent[i] = part
		} else {
			l.Recent = slices.Insert(l.Recent, i, part)
		}
	}
	return l
}

// fold moves items that start before a moment into the buckets of all
// activators; nothing replaces them any more.
func (l Latencies) fold(before int64, keep time.Duration) Latencies {
	n := 0
	for n < len(l.Recent) && l.Recent[n].Start < before {
		n++
	}
	if n == 0 {
		return l
	}
	span := latencySpan(keep)
	buckets := slices.Clone(l.Buckets)
	for _, p := range l.Recent[:n] {
		start := floor(p.Start, span)
		last := len(buckets) - 1
		if last < 0 || buckets[last].Start+buckets[last].Span <= start {
			buckets = append(buckets, LatencyPart{Start: start, Span: span})
			last++
		}
		b := &buckets[last]
		b.Count += p.Count
		b.Sum += p.Sum
		b.Bins = packBins(mergeBins(unpackBins(b.Bins), unpackBins(p.Bins)))
	}
	l.Buckets = buckets
	l.Recent = slices.Clone(l.Recent[n:])
	l.Folded = before
	return l
}

// prune forgets buckets that no window and no widened quantile can reach.
func (l Latencies) prune(now time.Time, keep time.Duration) Latencies {
	inWindow := now.Add(-keep).Unix()
	inWidest := now.Add(-max(keep, widest)).Unix()
	var newer uint64
	for _, p := range l.Recent {
		newer += p.Count
	}
	i := len(l.Buckets)
	for i > 0 {
		b := l.Buckets[i-1]
		end := b.Start + b.Span
		if end <= inWidest || end <= inWindow && newer >= minForP99 {
			break
		}
		newer += b.Count
		i--
	}
	l.Buckets = joined(l.Buckets[i:])
	if len(l.Buckets) == 0 {
		l.Buckets = nil
	}
	if len(l.Recent) == 0 {
		l.Recent = nil
	}
	return l
}

// joined keeps folded buckets within maxFoldedBytes: it joins neighbours, those
// that span least first. Nothing is lost by it but where a window ends.
func joined(buckets []LatencyPart) []LatencyPart {
	size := 0
	for _, b := range buckets {
		size += len(b.Bins)
	}
	if size <= maxFoldedBytes && len(buckets) <= 2*maxLatencyBuckets {
		return buckets
	}
	buckets = slices.Clone(buckets)
	for len(buckets) > 1 && (size > maxFoldedBytes || len(buckets) > 2*maxLatencyBuckets) {
		at, least := 0, int64(math.MaxInt64)
		for i := range len(buckets) - 1 {
			if span := buckets[i+1].Start + buckets[i+1].Span - buckets[i].Start; span < least {
				at, least = i, span
			}
		}
		a, b := buckets[at], buckets[at+1]
		bins := packBins(mergeBins(unpackBins(a.Bins), unpackBins(b.Bins)))
		size += len(bins) - len(a.Bins) - len(b.Bins)
		buckets[at] = LatencyPart{Start: a.Start, Span: least, Count: a.Count + b.Count, Sum: a.Sum + b.Sum, Bins: bins}
		buckets = slices.Delete(buckets, at+1, at+2)
	}
	return buckets
}

// latencySpan is how long folded buckets are, so that a window has 32 at most.
func latencySpan(keep time.Duration) int64 {
	unit := seconds(jobs.LatencyBucketSpan)
	return unit * max(1, ceilDiv(seconds(keep), unit*maxLatencyBuckets))
}

func (l Latencies) recentBytes() int {
	n := 0
	for _, p := range l.Recent {
		n += len(p.Bins) + len(p.Activator) + 80
	}
	return n
}

// latency is what a window says of times in the replica; nil is unknown.
type latency struct {
	mean, p50, p95, p99 *float64 // seconds
	count               uint64   // completions in the window itself
}

// over merges the buckets of the window and asks the merged sketch. A quantile
// with too few completions reaches back up to 5 min. spread asks that at least
// half of the 5 s buckets hold a completion.
func (l Latencies) over(now time.Time, w time.Duration, spread bool) latency {
	var r latency
	if len(l.Buckets) == 0 && len(l.Recent) == 0 {
		return r
	}
	m := merged{parts: l, from: now.Add(-w).Unix(), now: now.Unix()}
	for p := m.part(); p != nil && p.Start+p.Span > m.from; p = m.part() {
		m.add(p)
	}
	r.count = m.count
	if m.enough(minForMean, spread) {
		r.mean = some(m.sum / float64(m.count))
	}
	for _, q := range []struct {
		of   float64
		min  uint64
		into **float64
	}{{0.5, minForP50, &r.p50}, {0.95, minForP95, &r.p95}, {0.99, minForP99, &r.p99}} {
		for p := m.part(); m.count < q.min && p != nil && p.Start+p.Span > now.Add(-max(w, widest)).Unix(); p = m.part() {
			m.add(p)
		}
		if m.enough(q.min, spread) {
			*q.into = m.quantile(q.of)
		}
	}
	return r
}

// merged is a window's sketch while it is put together, newest part first. It is
// put together once for all quantiles, without a store of its own: every service
// that names a latency asks for it each second.
type merged struct {
	parts     Latencies
	from, now int64
	next      int // part, from the newest
	count     uint64
	sum       float64
	filled    int64 // seconds of buckets with completions
	newest    int64 // start of the last counted bucket
	added     int   // of the parts, to scale
	total     uint64
	scale     [scaleBins]uint64 // values by index of latencyMapping, from lowestBin on
}

// scaleBins is at least how many indexes there are from lowestBin to highestBin.
const scaleBins = 1400

// part is the next one, nil if there is none: what is folded starts before what is
// recent.
func (m *merged) part() *LatencyPart { return m.nth(m.next) }

func (m *merged) nth(i int) *LatencyPart {
	recent, folded := m.parts.Recent, m.parts.Buckets
	if i < len(recent) {
		return &recent[len(recent)-1-i]
	}
	if i -= len(recent); i < len(folded) {
		return &folded[len(folded)-1-i]
	}
	return nil
}

func (m *merged) add(p *LatencyPart) {
	m.next++
	m.count += p.Count
	m.sum += p.Sum
	if m.newest != p.Start { // several activators fill one bucket
		m.newest = p.Start
		m.filled += p.Span
	}
	m.from = min(m.from, p.Start)
}

func (m *merged) enough(n uint64, spread bool) bool {
	return m.count >= n && (!spread || 2*m.filled >= m.now-m.from)
}

// quantile is that of a DDSketch: the value of the first index up to which more
// values lie than the rank.
func (m *merged) quantile(q float64) *float64 {
	for ; m.added < m.next; m.added++ {
		for index, count := range packedBins(m.nth(m.added).Bins) {
			m.scale[min(max(index-lowestBin, 0), scaleBins-1)] += count
			m.total += count
		}
	}
	if m.total == 0 {
		return nil
	}
	rank, below := q*float64(m.total-1), uint64(0)
	for i, count := range m.scale {
		if below += count; float64(below) > rank {
			return some(latencyMapping.Value(lowestBin + i))
		}
	}
	return nil
}
