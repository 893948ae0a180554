package decide

import (
	"math"
	"time"
)

// Surge begins when a request is held while a replica is ready and nobody was held
// before. Its first seconds say how fast requests come now; how much of that goes on
// for a cold start, which is when a replica that is bought now can help, is learned
// from past surges: nearly all where load comes in stretches, little where it comes
// in batches.
type Surge struct {
	Clear bool    `json:"clear,omitempty"` // nobody was held at the last look, with a replica ready
	Since Moment  `json:"since,omitzero"`  // since when somebody has been held
	Began Moment  `json:"began,omitzero"`  // of the one that is learned from, which runs for a cold start
	Early Moment  `json:"early,omitzero"`  // when its first seconds were over
	Lasts float64 `json:"lasts,omitempty"` // share of the early rate that went on, over past surges; before the first, nothing
	Count int     `json:"n,omitempty"`     // past ones, at most enoughLearned
}

// Moment is a time, and how many requests had arrived by then; zero: none.
type Moment struct {
	At       time.Time `json:"at"`
	Arrivals uint64    `json:"arrivals"` // cumulative
}

const surgeEarly = 10.0 // seconds

// since is how many requests have arrived since a moment, and in how many seconds.
func (m Moment) since(now Moment) (arrived, seconds float64) {
	if now.Arrivals > m.Arrivals {
		arrived = float64(now.Arrivals - m.Arrivals)
	}
	return arrived, max(0, now.At.Sub(m.At).Seconds())
}

// observe moves on with a look. before is the cumulative arrivals at the last one, at
// most those of now; l is a cold start.
func (s Surge) observe(now Moment, ready, held int, before uint64, l float64) Surge {
	clear := s.Clear
	s.Clear = held == 0 && ready > 0
	begins := clear && ready > 0 && held > 0
	begin := Moment{now.At, before}
	switch {
	case held == 0:
		s.Since = Moment{}
	case begins:
		s.Since = begin
	}
	switch arrived, took := s.Began.since(now); {
	case s.Began.At.IsZero():
		if begins {
			s.Began = begin
		}
	case s.Early.At.IsZero():
		if took >= surgeEarly {
			s.Early = now
		}
	default:
		late, lasted := s.Early.since(now)
		if lasted < max(l, surgeEarly) {
			break
		}
		if early := arrived - late; early > 0 {
			share := min(1, (late/lasted)/(early/(took-lasted)))
			s.Lasts, s.Count = learned(s.Lasts, s.Count, share)
		}
		s.Began, s.Early = Moment{}, Moment{}
	}
	return s
}

// rate is how many requests a second are to be expected for a cold start from now on
// while somebody is held: the share that goes on, of what has come since then less a
// standard deviation, n − √n, so that one request is no rate.
func (s Surge) rate(now Moment) float64 {
	if s.Since.At.IsZero() {
		return 0
	}
	n, took := s.Since.since(now)
	return s.Lasts * (n - math.Sqrt(n)) / max(surgeEarly, took)
}

// over forgets what is running.
func (s Surge) over() Surge { return Surge{Lasts: s.Lasts, Count: s.Count} }
