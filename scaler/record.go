package scaler

import (
	"math"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/pb/sketchpb"
	"google.golang.org/protobuf/proto"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
	"github.com/pilotlight/pilotlight/scaler/history"
)

const (
	// countsLate is how old an arrival is, on average, when it is read: activators
	// publish once a second, and the scaler reads once a second.
	countsLate = time.Second
	keptHours  = 3 // that are not stored yet, while Redis is silent
)

// recorder keeps the demand of a service by the hour until it is stored: the
// present hour, and those before it that are not stored yet, oldest first.
// It is empty while nobody asks.
type recorder []*recordedHour

type recordedHour struct {
	jobs.RecordedHour
	changed bool // since it was last written
}

// hour returns the hour of a moment. Time that goes backwards stays in the
// newest: an earlier hour may be stored already, and would be written over.
func (r *recorder) hour(at time.Time) *recordedHour {
	start := at.UTC().Truncate(time.Hour)
	if n := len(*r); n > 0 && !start.After((*r)[n-1].Start) {
		return (*r)[n-1]
	}
	h := &recordedHour{RecordedHour: jobs.RecordedHour{Start: start}}
	*r = append(*r, h)
	if extra := len(*r) - keptHours; extra > 0 {
		*r = (*r)[extra:]
	}
	return h
}

// arrive counts n requests that came evenly between two moments: one look apart,
// or as long as nobody could look.
func (r *recorder) arrive(from, to time.Time, n uint64) {
	if from.IsZero() || from.After(to) {
		from = to
	}
	for n > 0 {
		end := from.Truncate(jobs.RecordedStep).Add(jobs.RecordedStep)
		part := n
		if end.Before(to) {
			part = uint64(math.Round(float64(n) * end.Sub(from).Seconds() / to.Sub(from).Seconds()))
		}
		if part > 0 {
			h := r.hour(from)
			h.Arrive(from, uint32(min(part, math.MaxUint32)))
			h.changed = true
			n -= part
		}
		from = end
	}
}

// took counts how long requests were in their slots: what an item says beyond
// what the same item said before, if it did.
func (r *recorder) took(at time.Time, item, before decide.LatencyItem) {
	h := r.hour(at)
	known := map[int]float64{}
	each(before.Sketch, func(bin int, n float64) { known[bin] += n })
	bins := map[int]float64{}
	each(item.Sketch, func(bin int, n float64) { bins[bin] += n })
	for bin, n := range bins {
		if more := n - known[bin]; more >= 1 {
			h.Took(jobs.TimeOfBin(bin, 0.5), uint32(min(more, math.MaxUint32)))
			h.changed = true
		}
	}
}

// each calls fn with every bin of recorded times that a sketch has counts in.
func each(sketch []byte, fn func(bin int, n float64)) {
	var pb sketchpb.DDSketch
	if len(sketch) == 0 || proto.Unmarshal(sketch, &pb) != nil || pb.Mapping == nil {
		return
	}
	s, err := ddsketch.FromProto(&pb)
	if err != nil {
		return
	}
	s.ForEach(func(seconds, count float64) bool {
		fn(jobs.BinOfTime(seconds), count)
		return false
	})
}

// note takes in what the activators have counted; latencies are what they said
// before.
func (r *recorder) note(now time.Time, t *traffic, before latencies) {
	from := t.since
	if !from.IsZero() {
		from = from.Add(-countsLate)
	}
	r.arrive(from, now.Add(-countsLate), t.arrivals)
	for _, item := range t.latency {
		r.took(now.Add(-countsLate), item, before[keyOf(item)])
	}
}

// recall goes on with what an earlier scaler stored of the present hour.
func (r *recorder) recall(stored *jobs.RecordedHour) {
	if stored == nil {
		return
	}
	h := r.hour(stored.Start)
	if h.Start.Equal(stored.Start) {
		h.Add(stored)
	}
}

// take returns what has to be stored, as it is stored.
func (r *recorder) take() []history.RecordedHour {
	var list []history.RecordedHour
	for _, h := range *r {
		if h.changed {
			h.changed = false
			list = append(list, history.RecordedHour{Start: h.Start, Data: h.AppendBinary(nil)})
		}
	}
	return list
}

// stored forgets the hours that are over, after what take returned was stored;
// or marks it for the next time, if it was not.
func (r *recorder) stored(now time.Time, list []history.RecordedHour, ok bool) {
	if !ok {
		for _, s := range list {
			for _, h := range *r {
				h.changed = h.changed || h.Start.Equal(s.Start)
			}
		}
		return
	}
	current := now.Add(-countsLate).UTC().Truncate(time.Hour)
	for len(*r) > 0 && !(*r)[0].changed && (*r)[0].Start.Before(current) {
		*r = (*r)[1:]
	}
}
