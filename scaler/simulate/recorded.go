package simulate

import (
	"bufio"
	"fmt"
	"io"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// fewTimes: an hour with fewer times in a slot does not speak for itself; its
// requests are drawn from all hours.
const fewTimes = 30

// Recording is recorded demand of one service from From to To, oldest hour first.
// It is the same trace whether it is replayed as it is or from the file that
// Write makes of it.
type Recording struct {
	Service  string
	From, To time.Time // whole minutes
	Hours    []jobs.RecordedHour
}

// Requests that came from From to To.
func (r *Recording) Requests() (n uint64) {
	next := r.steps()
	for s, err := next(); err == nil; s, err = next() {
		n += uint64(s.count)
	}
	return n
}

// Times is how many requests' times in a slot were recorded.
func (r *Recording) Times() uint64 {
	if t := timesOf(r.Hours); t != nil {
		return t.total()
	}
	return 0
}

// Source replays the recording; seed places requests within their steps.
func (r *Recording) Source(seed uint64) Source {
	return &spread{next: r.steps(), of: DefaultDurations(), seed: seed}
}

// steps returns the steps with requests one after the other, then io.EOF.
func (r *Recording) steps() func() (step, error) {
	all := timesOf(r.Hours)
	own := make([]*slotTimes, len(r.Hours))
	for i := range r.Hours {
		if own[i] = timesOf(r.Hours[i : i+1]); own[i] == nil || own[i].total() < fewTimes {
			own[i] = all
		}
	}
	hour, part := 0, 0
	return func() (step, error) {
		for ; hour < len(r.Hours); hour, part = hour+1, 0 {
			h := &r.Hours[hour]
			for part < len(h.Arrivals) {
				at, n := h.Start.Add(time.Duration(part)*jobs.RecordedStep), h.Arrivals[part]
				part++
				if n > 0 && !at.Before(r.From) && at.Before(r.To) {
					return step{at: int64(at.Sub(r.From) / jobs.RecordedStep), unit: jobs.RecordedStep, service: r.Service,
						count: int(min(n, mostCount)), times: own[hour]}, nil
				}
			}
		}
		return step{}, io.EOF
	}
}

// Write writes the recording as a trace of counts with two columns more: the
// second in the minute at which a step of 10 s begins, and how long requests take
// in their slots. With minutes, only counts by the minute, as any reader of such
// traces knows them.
func (r *Recording) Write(w io.Writer, minutes bool) error {
	out := bufio.NewWriter(w)
	columns := recordedColumns
	if minutes {
		columns = countColumns
	}
	fmt.Fprintln(out, columns) // a bufio.Writer keeps its first error for Flush
	next := r.steps()
	var last *slotTimes
	minute, count := int64(-1), 0
	tell := func() {
		if minutes && count > 0 {
			fmt.Fprintf(out, "%d,%s,%d\n", minute, r.Service, count)
		}
	}
	for s, err := next(); err == nil; s, err = next() {
		second := s.at * int64(s.unit/time.Second)
		if minutes {
			if second/60 != minute {
				tell()
				minute, count = second/60, 0
			}
			count += s.count
			continue
		}
		cell := ""
		if s.times != last && s.times != nil {
			cell, last = s.times.String(), s.times
		}
		fmt.Fprintf(out, "%d,%s,%d,%d,%s\n", second/60, r.Service, s.count, second%60, cell)
	}
	tell()
	return out.Flush()
}
