package decide

import (
	"math"
	"math/bits"
	"sort"
	"time"
)

// weighed are the gaps of a band by length, with running sums: what a keep-alive
// is chosen from, each time that a gap opens. It has its own room, on the stack of
// whoever chooses, since a busy hour has many gaps.
type weighed struct {
	n      int
	order  [maxGaps]uint32      // length in seconds and place, by length, then place
	each   [maxGaps]float64     // weight, by place
	weight [maxGaps + 1]float64 // of the first i
	sum    [maxGaps + 1]float64 // Σ w·g of the first i
	total  float64
}

const (
	placeBits = 12 // of order; above it there is room for longestGap
	digitBits = 9  // of one pass of the sort, at most
)

// length of the i-th gap, in seconds.
func (w *weighed) length(i int) float64 { return float64(w.order[i] >> placeBits) }

// weigh takes in a band as it is at now.
func (w *weighed) weigh(b Band, now time.Time) {
	const day = 24 * 3600
	at, longest, n := now.Unix(), uint32(0), 0
	g, rest, ok := unpacked(b.Packed, 0)
	for ; ok && n < maxGaps; n++ {
		age := at - g.opened
		apart := max(age, -age) % day
		weight := faded(max(0, age))
		if min(apart, day-apart) > sameTime {
			weight *= otherTime
		}
		length := uint32(min(max(0, g.seconds), int64(longestGap/time.Second)))
		w.each[n], w.order[n] = weight, length<<placeBits|uint32(n)
		longest = max(longest, length)
		g, rest, ok = unpacked(rest, g.opened)
	}
	w.n = n
	w.sort(longest)
	total, sum := 0.0, 0.0
	for i, o := range w.order[:w.n] {
		weight := w.each[o&(1<<placeBits-1)]
		total += weight
		sum += weight * float64(o>>placeBits)
		w.weight[i+1], w.sum[i+1] = total, sum
	}
	w.total = total
}

// sort orders by length, digit by digit: sorting by comparison was most of what a
// choice cost. Gaps of one length stay as they came.
func (w *weighed) sort(longest uint32) {
	var room [maxGaps]uint32
	from, to := w.order[:w.n], room[:w.n]
	size := bits.Len32(longest)
	passes := (size + digitBits - 1) / digitBits
	for pass := range passes {
		digit := (size + passes - 1) / passes // of equal size, for few of each
		shift, mask := placeBits+digit*pass, uint32(1)<<digit-1
		var next [1 << digitBits]uint16 // first how many have the digit, then where its next one goes
		for _, o := range from {
			next[o>>shift&mask&(1<<digitBits-1)]++
		}
		at := uint16(0)
		for d, n := range next[:mask+1] {
			next[d] = at
			at += n
		}
		for _, o := range from {
			d := o >> shift & mask & (1<<digitBits - 1)
			to[next[d]] = o
			next[d]++
		}
		from, to = to, from
	}
	if passes%2 == 1 {
		copy(w.order[:w.n], room[:w.n])
	}
}

// faded is 2^(−age/7 d), what a gap weighs after so many seconds: a table by steps
// and one of the seconds between two of them, as near to it as Exp2, in a fraction
// of its time.
func faded(age int64) float64 {
	if age >= gapHalfLife {
		return math.Ldexp(faded(age%gapHalfLife), -int(min(age/gapHalfLife, 1<<20)))
	}
	in := uint32(age)
	return fade[in/fadeStep] * fadeWithin[in%fadeStep]
}

const fadeStep = 600 // seconds

var fade = func() (table [gapHalfLife / fadeStep]float64) {
	for i := range table {
		table[i] = math.Exp2(-float64(i) * fadeStep / gapHalfLife)
	}
	return table
}()

var fadeWithin = func() (table [fadeStep]float64) {
	for i := range table {
		x := float64(i) * (-math.Ln2 / gapHalfLife)
		table[i] = 1 + x*(1+x*(1./2+x*(1./6+x/24)))
	}
	return table
}()

// upTo is how many gaps are at most tau long.
func (w *weighed) upTo(tau float64) int {
	return sort.Search(w.n, func(i int) bool { return w.length(i) > tau })
}

func (w *weighed) cost(tau, c float64) float64 { return w.costOf(w.upTo(tau), tau, c) }

// costOf is cost where i gaps are at most tau long.
func (w *weighed) costOf(i int, tau, c float64) float64 {
	return w.sum[i] + (w.total-w.weight[i])*(tau+c)
}

// surely reports whether what one keep-alive saves of another's cost is more than
// luck: the sum of what each gap says, against the deviation of such a sum, the root
// of the sum of squares. Three gaps that say the same are enough; of gaps that
// contradict each other it takes many.
func (w *weighed) surely(tau, than, c float64) bool {
	var sum, squares float64
	for i, o := range w.order[:w.n] {
		g, weight := w.length(i), w.each[o&(1<<placeBits-1)]
		d := weight * (costOfGap(g, than, c) - costOfGap(g, tau, c))
		sum += d
		squares += d * d
	}
	return sum > beyondLuck*math.Sqrt(squares)
}

// costOfGap is what a gap of so many seconds costs under a keep-alive of tau.
func costOfGap(g, tau, c float64) float64 {
	if g <= tau {
		return g
	}
	return tau + c
}
