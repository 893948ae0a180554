package simulate

import (
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// step is how many requests of one service came in one short time.
type step struct {
	at      int64 // in units since the trace's start
	unit    time.Duration
	service string
	count   int
	times   *slotTimes // nil: as Durations say of a trace of counts
}

// spread makes requests of counts: each uniformly inside its step, by seed,
// service and step. It reads one step of all services ahead, and no more.
type spread struct {
	next func() (step, error) // in order of at; io.EOF after the last one
	of   Durations
	seed uint64

	due   []Request         // of the steps read, sorted
	again map[string]uint64 // how often each service was drawn for at this moment
	ahead *step             // read, not yet spread
	ended bool
}

// Next returns the next request. Errors: io.EOF, and what next says.
func (s *spread) Next() (Request, error) {
	for len(s.due) == 0 {
		if s.ended {
			return Request{}, io.EOF
		}
		if err := s.read(); err != nil {
			return Request{}, err
		}
	}
	r := s.due[0]
	s.due = s.due[1:]
	return r, nil
}

// read spreads the steps of one moment, of all services.
func (s *spread) read() error {
	s.due = s.due[:0:0]
	clear(s.again)
	var now int64 = -1
	for {
		var one step
		if s.ahead != nil {
			one, s.ahead = *s.ahead, nil
		} else {
			var err error
			if one, err = s.next(); errors.Is(err, io.EOF) {
				s.ended = true
				break
			} else if err != nil {
				return err
			}
		}
		if now >= 0 && one.at != now {
			s.ahead = &one
			break
		}
		now = one.at
		s.draw(&one)
	}
	slices.SortStableFunc(s.due, func(a, b Request) int { return int(a.At - b.At) })
	return nil
}

func (s *spread) draw(one *step) {
	if s.again == nil {
		s.again = map[string]uint64{}
	}
	// Another line of the same service and moment, as of a trace that was put together
	// of two, has requests of its own, not the same ones twice.
	seed := s.seed + s.again[one.service]*0xd1342543de82ef95
	s.again[one.service]++
	draw := rand.New(rand.NewPCG(seed, hash(one.service)^uint64(one.at)*0x9e3779b97f4a7c15))
	for range one.count {
		r := Request{
			At:      time.Duration(one.at)*one.unit + time.Duration(draw.Float64()*float64(one.unit)),
			Service: one.service,
		}
		if one.times != nil {
			r.Seconds = one.times.draw(draw)
		} else {
			r.Seconds = s.of.Median.Seconds() * math.Exp(s.of.Sigma*draw.NormFloat64())
		}
		s.due = append(s.due, r)
	}
}
