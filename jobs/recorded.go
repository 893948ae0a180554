package jobs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// How finely demand is recorded.
const (
	RecordedStep  = 10 * time.Second
	recordedParts = int(time.Hour / RecordedStep)
	timeBins      = 96 // 1 ms to more than 3 h
	binsPerDouble = 4  // a bin is 19 % wide
)

// RecordedHour is what was asked of one service in one hour: how many requests
// came in each RecordedStep of it, and how long requests took in their
// slots.
// The zero value but for Start is an hour without demand.
type RecordedHour struct {
	Start    time.Time // a whole hour, UTC
	Arrivals [recordedParts]uint32
	// Times counts completed requests by their time in a slot: bin i is around
	// TimeOfBin(i). Only their proportions mean something: after a failover of the
	// scaler some requests are counted twice.
	Times [timeBins]uint32
}

// Arrive counts n requests at a moment of the hour.
func (h *RecordedHour) Arrive(at time.Time, n uint32) {
	i := min(max(0, int(at.Sub(h.Start)/RecordedStep)), recordedParts-1)
	h.Arrivals[i] = addUp(h.Arrivals[i], n)
}

// Took counts n requests that took so many seconds in a slot.
func (h *RecordedHour) Took(seconds float64, n uint32) {
	i := BinOfTime(seconds)
	h.Times[i] = addUp(h.Times[i], n)
}

// Add counts what another record of the same hour counts, too.
func (h *RecordedHour) Add(o *RecordedHour) {
	for i, n := range o.Arrivals {
		h.Arrivals[i] = addUp(h.Arrivals[i], n)
	}
	for i, n := range o.Times {
		h.Times[i] = addUp(h.Times[i], n)
	}
}

// Requests that came in the hour.
func (h *RecordedHour) Requests() (n uint64) {
	for _, c := range h.Arrivals {
		n += uint64(c)
	}
	return n
}

func addUp(a, b uint32) uint32 {
	if a > math.MaxUint32-b {
		return math.MaxUint32
	}
	return a + b
}

// BinOfTime is the bin of a time in a slot, in seconds.
func BinOfTime(seconds float64) int {
	if !(seconds > 0.001) { // NaN, too
		return 0
	}
	return int(math.Round(min(binsPerDouble*math.Log2(seconds*1000), timeBins-1)))
}

// TimeOfBin is the time in the middle of a bin, in seconds, times a factor for a
// place in it from 0 to 1: one half is its middle.
func TimeOfBin(i int, place float64) float64 {
	return 0.001 * math.Exp2((float64(i)+place-0.5)/binsPerDouble)
}

// recordedFormat is the first byte of an hour as it is stored.
const recordedFormat = 1

var errRecorded = errors.New("not a recorded hour")

// AppendBinary appends the hour as it is stored, without its Start: the format;
// the arrivals as varints, of which an odd one stands for a run of (n+1)/2 steps
// without any and an even one for n/2 arrivals, what is quiet to the hour's end
// left out; a zero; and the times, as pairs of the distance to the last bin and
// a count. An hour of a request a second takes about 430 bytes, one of a request a
// minute 130, one with a single request 7 to 12.
func (h *RecordedHour) AppendBinary(b []byte) []byte {
	b = append(b, recordedFormat)
	quiet := uint64(0)
	for _, n := range h.Arrivals {
		if n == 0 {
			quiet++
			continue
		}
		if quiet > 0 {
			b = binary.AppendUvarint(b, 2*quiet-1)
			quiet = 0
		}
		b = binary.AppendUvarint(b, 2*uint64(n))
	}
	b = append(b, 0)
	last := 0
	for i, n := range h.Times {
		if n > 0 {
			b = binary.AppendUvarint(b, uint64(i-last))
			b = binary.AppendUvarint(b, uint64(n))
			last = i
		}
	}
	return b
}

// UnmarshalBinary reads what AppendBinary wrote; Start is left alone.
func (h *RecordedHour) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] != recordedFormat {
		return fmt.Errorf("%w of a format that this version knows", errRecorded)
	}
	r := RecordedHour{Start: h.Start}
	b = b[1:]
	next := func() (uint64, bool) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, false
		}
		b = b[n:]
		return v, true
	}
	for at := 0; ; {
		v, ok := next()
		switch {
		case !ok:
			return fmt.Errorf("%w: it is cut", errRecorded)
		case v == 0:
			if !r.readTimes(next) {
				return fmt.Errorf("%w: its times are wrong", errRecorded)
			}
			*h = r
			return nil
		case v%2 == 1 && v/2 < uint64(recordedParts-at):
			at += int(v/2) + 1
		case v%2 == 0 && at < recordedParts && v/2 <= math.MaxUint32:
			r.Arrivals[at] = uint32(v / 2)
			at++
		default:
			return fmt.Errorf("%w: it is longer than an hour", errRecorded)
		}
	}
}

func (h *RecordedHour) readTimes(next func() (uint64, bool)) bool {
	bin := uint64(0)
	for first := true; ; first = false {
		distance, ok := next()
		if !ok {
			return true
		}
		n, ok := next()
		if !ok || distance >= timeBins || bin+distance >= timeBins || distance == 0 && !first || n == 0 || n > math.MaxUint32 {
			return false
		}
		bin += distance
		h.Times[bin] = uint32(n)
	}
}
