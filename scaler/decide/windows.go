package decide

import "time"

const (
	bucketSeconds = 5   // shortest bucket of samples
	maxBuckets    = 120 // 10 min of the shortest ones; longer windows get longer buckets
)

// Series is a service's recent past: gauges sampled once per sizing.sample, on
// a grid that all scalers share, and summed in buckets of at least 5 s. A
// sample is what the first look after its grid point sees. At most 120 buckets
// (and their runs) are kept, each below 200 bytes of JSON.
//
// Time that nobody looked at is a run: of zeros if the service was known to be
// idle when it began, so that an idle service need not be looked at; otherwise
// a hole.
type Series struct {
	Closed []Bucket `json:"closed,omitempty"` // oldest first; never written again, shared between Memories
	Open   Bucket   `json:"open"`
	Slot   int64    `json:"slot"` // grid point of the last sample, unix seconds

	Arrivals        uint64 `json:"arrivals"`         // cumulative count at the last look
	ArrivalsSampled uint64 `json:"arrivals_sampled"` // cumulative count at the last sample
}

// Bucket sums the samples of [Start, End), unix seconds.
type Bucket struct {
	Start int64 `json:"t"`
	End   int64 `json:"e"`

	Samples    int     `json:"n,omitempty"` // with demand known; 0: a hole
	InFlight   int     `json:"b,omitempty"` // Σ requests in flight
	Demand     int     `json:"d,omitempty"` // Σ in flight + held
	PerReplica float64 `json:"p,omitempty"` // Σ demand per ready replica (at least one)
	QPS        float64 `json:"q,omitempty"` // Σ arrivals per second and ready replica (at least one)

	Arrivals uint64 `json:"a,omitempty"` // requests that arrived
	First    int64  `json:"f,omitempty"` // when the first of them was seen, unix milliseconds

	GPUMeans int     `json:"gn,omitempty"` // samples with a mean over ready replicas
	GPUMean  float64 `json:"g,omitempty"`  // Σ of it, percent
	GPUMaxes int     `json:"hn,omitempty"` // samples with every ready replica known
	GPUMax   float64 `json:"h,omitempty"`  // Σ of their maximum, percent
}

// nothing reports whether the bucket holds only zeros, or is a hole.
func (b *Bucket) nothing() bool { return b.Demand == 0 && b.Arrivals == 0 && b.GPUMeans == 0 }

// grid is how finely a policy's signals are sampled, in seconds.
type grid struct {
	sample int64 // between samples
	bucket int64 // length of a bucket, a multiple of sample
	keep   int64 // how far back any window reaches
}

func gridOf(sample time.Duration, windows ...time.Duration) grid {
	g := grid{sample: max(1, seconds(sample))}
	for _, w := range windows {
		g.keep = max(g.keep, seconds(w))
	}
	least := max(bucketSeconds, ceilDiv(g.keep, maxBuckets))
	g.bucket = g.sample * ceilDiv(least, g.sample)
	return g
}

// gauges are what one look samples.
type gauges struct {
	inFlight, held, ready int
	arrivals              uint64
	gpus                  gpus
}

// observe returns the series with what one look saw of known demand. idle says
// that since the look before nothing was in flight or held.
func (s Series) observe(now time.Time, g grid, v gauges, idle bool) Series {
	at := now.Unix()
	slot := floor(at, g.sample)
	first := s.Open.End == 0
	if first || slot < s.Slot-g.bucket { // never sampled, or the clock was set back by more than those of two scalers may differ
		s = Series{Arrivals: v.arrivals, ArrivalsSampled: v.arrivals, Slot: slot - g.sample}
		s.Open = g.bucketAt(slot)
	}
	elapsed := slot - s.Slot
	if start := floor(slot, g.bucket); start >= s.Open.End {
		s = s.turn(g, slot, idle)
	}
	s.countArrivals(now, g, v.arrivals, elapsed, idle || first)
	if elapsed > 0 {
		s.sample(g, v, elapsed, idle || first)
		s.Slot = slot
	}
	return s
}

// turn closes the open bucket and opens the one that holds slot.
func (s Series) turn(g grid, slot int64, idle bool) Series {
	next := g.bucketAt(slot)
	oldest := slot - g.keep - g.bucket
	past := s.Closed
	for len(past) > 0 && past[0].End <= oldest {
		past = past[1:]
	}
	closed := append(make([]Bucket, 0, len(past)+2), past...)
	closed = extend(closed, s.Open)
	if s.Open.End < next.Start {
		run := Bucket{Start: s.Open.End, End: next.Start}
		if idle {
			run.Samples = int((run.End - run.Start) / g.sample)
		}
		closed = extend(closed, run)
	}
	if over := len(closed) - maxBuckets - 2; over > 0 {
		closed = closed[over:]
	}
	s.Closed, s.Open = closed, next
	return s
}

// extend appends b, or lengthens the last bucket if both hold nothing of the
// same kind.
func extend(closed []Bucket, b Bucket) []Bucket {
	if n := len(closed); n > 0 {
		last := &closed[n-1]
		if last.End == b.Start && last.nothing() && b.nothing() && (last.Samples == 0) == (b.Samples == 0) {
			last.End = b.End
			last.Samples += b.Samples
			return closed
		}
	}
	return append(closed, b)
}

func (g grid) bucketAt(slot int64) Bucket {
	start := floor(slot, g.bucket)
	return Bucket{Start: start, End: start + g.bucket}
}

// countArrivals adds what has arrived since the last look to the open bucket.
// After a hole only the share of one bucket is believed to be recent.
func (s *Series) countArrivals(now time.Time, g grid, total uint64, elapsed int64, idle bool) {
	if total > s.Arrivals {
		n := total - s.Arrivals
		if !idle && elapsed > g.bucket {
			n = n * uint64(g.bucket) / uint64(elapsed)
		}
		if s.Open.Arrivals == 0 && n > 0 {
			s.Open.First = now.UnixMilli()
		}
		s.Open.Arrivals += n
	}
	s.Arrivals = total
}

// sample adds the gauges of one grid point to the open bucket. After an idle
// run everything that arrived did so within this sample.
func (s *Series) sample(g grid, v gauges, elapsed int64, idle bool) {
	b := &s.Open
	demand := v.inFlight + v.held
	ready := float64(max(1, v.ready))
	b.Samples++
	b.InFlight += v.inFlight
	b.Demand += demand
	b.PerReplica += float64(demand) / ready
	if v.arrivals > s.ArrivalsSampled {
		over := elapsed
		if idle {
			over = g.sample
		}
		b.QPS += float64(v.arrivals-s.ArrivalsSampled) / float64(over) / ready
	}
	s.ArrivalsSampled = v.arrivals
	if v.gpus.known {
		b.GPUMeans++
		b.GPUMean += v.gpus.mean
	}
	if v.gpus.all {
		b.GPUMaxes++
		b.GPUMax += v.gpus.max
	}
}

// window is what the samples of one window add up to.
type window struct {
	Bucket       // sums
	slots  int64 // grid points in the window
	data   int64 // of slots, those in buckets with a demand sample
	gpu    int64 // of slots, those in buckets with a GPU mean
	whole  bool  // every bucket has a demand sample, and they reach back to the window's start
	gpuAll bool  // likewise with every ready replica's GPU
}

// over sums the samples of the window that ends with the last one. A bucket
// belongs to it if any of its grid points does.
func (s Series) over(w time.Duration, g grid) window {
	length := max(g.sample, seconds(w))
	from := s.Slot - length // grid points after this one
	r := window{slots: length / g.sample}
	if s.Open.End == 0 {
		return r
	}
	i := len(s.Closed)
	for i > 0 && s.Closed[i-1].End-g.sample > from {
		i--
	}
	in := s.Closed[i:]
	oldest := s.Open.Start
	if len(in) > 0 {
		oldest = in[0].Start
	}
	r.whole = oldest <= from+g.sample
	r.gpuAll = r.whole
	for i := range in {
		r.add(&in[i], from, in[i].End, g)
	}
	r.add(&s.Open, from, s.Slot+g.sample, g)
	return r
}

func (r *window) add(b *Bucket, from, end int64, g grid) {
	slots, samples := (end-b.Start)/g.sample, b.Samples
	if b.Start <= from && b.nothing() { // a run, of which only the end belongs to the window
		slots = ceilDiv(end-g.sample-from, g.sample)
		samples = min(samples, int(slots))
	}
	if samples > 0 {
		r.data += slots
	} else {
		r.whole = false
	}
	if b.GPUMeans > 0 {
		r.gpu += slots
	}
	if b.GPUMaxes == 0 {
		r.gpuAll = false
	}
	if b.Arrivals > 0 && r.First == 0 {
		r.First = b.First
	}
	r.Samples += samples
	r.InFlight += b.InFlight
	r.Demand += b.Demand
	r.PerReplica += b.PerReplica
	r.QPS += b.QPS
	r.Arrivals += b.Arrivals
	r.GPUMeans += b.GPUMeans
	r.GPUMean += b.GPUMean
	r.GPUMaxes += b.GPUMaxes
	r.GPUMax += b.GPUMax
}

// mean of a sum over n samples; 0 if there are none.
func mean(sum float64, n int) float64 {
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

// rate is arrivals per second over a window: (n − 1)/min(window, time since its
// first arrival, at least 1 s). One request alone is no rate, and a window that
// was empty before must not dilute a burst.
func (r window) rate(now time.Time, w time.Duration) float64 {
	if r.Arrivals < 2 {
		return 0
	}
	since := now.Sub(time.UnixMilli(r.First))
	return float64(r.Arrivals-1) / max(1, min(w, since).Seconds())
}

func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

func floor(t, step int64) int64 { return t - t%step }

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }
