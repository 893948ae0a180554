package nomaddouble

import (
	"net/http"
	"strings"
)

// faults that tests have asked for.
type faults struct {
	planned []*fault
	muted   bool
	cut     chan struct{} // closed to cut all streams
}

// fault befalls the next requests of one method and path.
type fault struct {
	method, path string
	times        int
	status       int
	body         string
	hang         chan struct{} // not nil: hold until it is closed, then answer as usual
}

// next takes one turn of the first fault that r meets. s.mu is held.
func (f *faults) next(r *http.Request) *fault {
	for _, p := range f.planned {
		if p.times > 0 && (p.method == "" || p.method == r.Method) && strings.HasSuffix(r.URL.Path, p.path) {
			p.times--
			return p
		}
	}
	return nil
}

// apply reports whether the request has been dealt with.
func (f *fault) apply(w http.ResponseWriter, r *http.Request) bool {
	if f.hang == nil {
		refuse(w, f.status, "%s", f.body)
		return true
	}
	select {
	case <-f.hang:
		return false
	case <-r.Context().Done():
		return true
	}
}

// Fail answers the next n requests whose path ends in path with status and
// body; method "" is any.
func (s *Server) Fail(n int, method, path string, status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.planned = append(s.faults.planned, &fault{method: method, path: path, times: n, status: status, body: body})
}

// Hang holds the next n requests whose path ends in path until release is
// called; then they are answered as usual.
func (s *Server) Hang(n int, method, path string) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &fault{method: method, path: path, times: n, hang: make(chan struct{})}
	s.faults.planned = append(s.faults.planned, f)
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

// CutStreams ends all event streams.
func (s *Server) CutStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.faults.cut)
	s.faults.cut = make(chan struct{})
}

// MuteStreams lets new event streams answer 200 and then nothing, as Nomad
// refuses them, or ends that.
func (s *Server) MuteStreams(muted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.muted = muted
}
