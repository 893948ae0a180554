package nomaddouble

import (
	"fmt"
	"net/http"
	"strconv"
)

// Fail answers the next n requests whose path ends in path with status and
// body; method "" is any.
func (s *Server) Fail(n int, method, path string, status int, body string) {
	s.befall(&fault{method: method, path: path, times: n, status: status, body: body})
}

// Drop ends the connection of the next n requests whose path ends in path
// without an answer.
func (s *Server) Drop(n int, method, path string) {
	s.befall(&fault{method: method, path: path, times: n, drop: true})
}

func (s *Server) befall(f *fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.planned = append(s.faults.planned, f)
}

// Hang holds the next n requests whose path ends in path until release is
// called; then they are answered as usual.
func (s *Server) Hang(n int, method, path string) (release func()) {
	f := &fault{method: method, path: path, times: n, hang: make(chan struct{})}
	s.befall(f)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		f.times = 0
		select {
		case <-f.hang:
		default:
			close(f.hang)
		}
	}
}

// AnswerOld answers the next n reads whose path ends in path with what the same
// read was answered the time before last, index included: a server that lags.
func (s *Server) AnswerOld(n int, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.old = append(s.faults.old, &fault{method: http.MethodGet, path: path, times: n})
}

// Away ends every connection without an answer from now on, or no more, and
// cuts the streams: no server is reached. The cluster itself goes on.
func (s *Server) Away(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.away = away
	s.cutStreams()
}

// LoseLeader lets the servers have no leader: writes and reads are refused
// after five seconds, stale reads answer and say so, streams only beat.
func (s *Server) LoseLeader(lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.leaderless = lost
	close(s.moved)
	s.moved = newMoved()
}

// GoBack lets the index of every answer lie so far behind from now on, as of a
// server that was restored from a snapshot; 0 ends it.
func (s *Server) GoBack(by uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.back = by
}

// shiftIndex lets the index of an answer lie behind.
func shiftIndex(h http.Header, by uint64) {
	if n, err := strconv.ParseUint(h.Get("X-Nomad-Index"), 10, 64); err == nil && by > 0 {
		h.Set("X-Nomad-Index", fmt.Sprint(max(n-min(n, by), 1)))
	}
}

// Limit refuses what is more than n requests at once with 429; 0 is no limit.
func (s *Server) Limit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.limit = n
}

// FailEvaluations lets the next n evaluations fail; what they were to do waits
// in a blocked one, which goes on after a minute or when something on a node is
// freed.
func (s *Server) FailEvaluations(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.failEvals = n
}

// LoseStops lets the next n stops of allocations have no effect although they
// are answered 200, as it happens beside a scale.
func (s *Server) LoseStops(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.loseStops = n
}

// CutStreams ends all event streams.
func (s *Server) CutStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutStreams()
}

func (s *Server) cutStreams() {
	close(s.faults.cut)
	s.faults.cut = make(chan struct{})
}

// TearStreams lets the next line of every event stream end in its middle, and
// the stream with it; new ones are whole again after TearStreams(false).
func (s *Server) TearStreams(torn bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.torn = torn
}

// MuteStreams lets new event streams answer 200 and then nothing, as Nomad
// refuses them, or ends that.
func (s *Server) MuteStreams(muted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.muted = muted
}

// DeafenStreams lets event streams beat and tell nothing, or ends that; what
// they did not tell they never tell.
func (s *Server) DeafenStreams(deaf bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.deaf = deaf
}

// ReplayStreams lets new event streams begin with the last n entries that are
// kept, whatever they ask for, as after a restart of the servers; 0 ends it.
func (s *Server) ReplayStreams(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.replay = n
}
