package simulate

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"strconv"
	"strings"

	"github.com/pilotlight/pilotlight/jobs"
)

// slotTimes is how long requests take in their slots: bins as they are recorded,
// each with its weight.
type slotTimes struct {
	bins []int
	upTo []uint64 // sum of the weights up to each bin
}

func (t *slotTimes) add(bin int, weight uint32) {
	if weight == 0 {
		return
	}
	t.bins = append(t.bins, bin)
	t.upTo = append(t.upTo, t.total()+uint64(weight))
}

func (t *slotTimes) total() uint64 {
	if len(t.upTo) == 0 {
		return 0
	}
	return t.upTo[len(t.upTo)-1]
}

// draw returns seconds: a bin by its weight, and any place in it.
func (t *slotTimes) draw(from *rand.Rand) float64 {
	n := from.Uint64N(t.total())
	i := sort.Search(len(t.upTo), func(i int) bool { return n < t.upTo[i] })
	return jobs.TimeOfBin(t.bins[i], from.Float64())
}

// timesOf is the times of recorded hours together; nil if there are none.
func timesOf(hours []jobs.RecordedHour) *slotTimes {
	t := &slotTimes{}
	for bin := range len(jobs.RecordedHour{}.Times) {
		var sum uint64
		for i := range hours {
			sum += uint64(hours[i].Times[bin])
		}
		if sum > 0 {
			t.bins = append(t.bins, bin)
			t.upTo = append(t.upTo, t.total()+sum)
		}
	}
	if t.total() == 0 {
		return nil
	}
	return t
}

// String is the cell of a trace: "1000x12 1189x40", milliseconds in the middle of
// each bin and its weight.
func (t *slotTimes) String() string {
	var b strings.Builder
	var before uint64
	for i, bin := range t.bins {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%.4gx%d", 1000*jobs.TimeOfBin(bin, 0.5), t.upTo[i]-before)
		before = t.upTo[i]
	}
	return b.String()
}

var errTimes = errors.New(`allowed: times with weights, rising, such as "1000x12 1189x40": 12 requests of about 1000 ms and 40 of about 1189 ms`)

func parseTimes(cell string) (*slotTimes, error) {
	t := &slotTimes{}
	last := -1
	for part := range strings.FieldsSeq(cell) {
		ms, weight, _ := strings.Cut(part, "x")
		value, err := strconv.ParseFloat(ms, 64)
		n, err2 := strconv.ParseUint(weight, 10, 32)
		bin := jobs.BinOfTime(value / 1000)
		if err != nil || err2 != nil || n == 0 || !(value > 0) || bin <= last {
			return nil, fmt.Errorf("%q: %w", clip(part), errTimes)
		}
		t.add(bin, uint32(n))
		last = bin
	}
	if t.total() == 0 {
		return nil, errTimes
	}
	return t, nil
}
