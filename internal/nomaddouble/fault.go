package nomaddouble

import (
	"bytes"
	"net/http"
	"strings"
	"time"
)

// faults that tests have asked for.
type faults struct {
	planned    []*fault
	muted      bool          // new streams answer 200 and nothing
	deaf       bool          // streams beat, and tell nothing
	torn       bool          // streams end in the middle of a line
	cut        chan struct{} // closed to cut all streams
	replay     int           // new streams begin with so many kept entries
	away       bool
	leaderless bool
	back       uint64 // how far the indexes of answers lie behind
	limit      int    // of requests at once; 0: none
	busy       int
	failEvals  int
	loseStops  int
	kept       map[string][]*kept // by URL: what reads answered
	old        []*fault           // reads that are answered with an older one
}

// fault befalls the next requests of one method and path.
type fault struct {
	method, path string
	times        int
	status       int
	body         string
	drop         bool          // the connection ends without an answer
	hang         chan struct{} // not nil: hold until it is closed, then answer as usual
}

// kept is an answer to a read.
type kept struct {
	header http.Header
	body   []byte
}

// noLeaderAfter is how long a server looks for a leader before it refuses.
const noLeaderAfter = 5200 * time.Millisecond

// next takes one turn of the first fault that r meets.
func next(planned []*fault, r *http.Request) *fault {
	for _, p := range planned {
		if p.times > 0 && (p.method == "" || p.method == r.Method) && strings.HasSuffix(r.URL.Path, p.path) {
			p.times--
			return p
		}
	}
	return nil
}

// faulty answers a request with what is to befall it, or lets serve do it.
func (s *Server) faulty(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter)) {
	s.mu.Lock()
	f := &s.faults
	away, leaderless, stream := f.away, f.leaderless, r.URL.Path == "/v1/event/stream"
	fault, old := next(f.planned, r), next(f.old, r)
	full := f.limit > 0 && f.busy >= f.limit
	f.busy++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.faults.busy--
		s.mu.Unlock()
	}()
	switch {
	case away:
		drop()
	case full:
		w.Header().Set("Connection", "close")
		refuse(w, 429, "Your IP is issuing too many concurrent connections, please rate limit your calls\n")
		return
	case fault != nil && fault.drop:
		drop()
	case fault != nil && fault.hang != nil:
		select {
		case <-fault.hang:
		case <-r.Context().Done():
			return
		}
	case fault != nil:
		refuse(w, fault.status, "%s", fault.body)
		return
	}
	if region := r.URL.Query().Get("region"); region != "" && region != "global" {
		refuse(w, 500, "No path to region")
		return
	}
	_, stale := r.URL.Query()["stale"]
	switch {
	case stream, r.URL.Path == "/v1/agent/self", strings.HasPrefix(r.URL.Path, "/v1/client/"):
	case leaderless && !(stale && r.Method == http.MethodGet):
		if sleep(r.Context(), noLeaderAfter) {
			refuse(w, 500, "No cluster leader")
		}
		return
	case r.Method == http.MethodGet:
		s.read(w, r, serve, old != nil, leaderless)
		return
	}
	serve(w)
}

// drop ends the connection without an answer.
func drop() { panic(http.ErrAbortHandler) }

// read answers a read, and remembers the answer: an old one is what the same
// question was answered the time before.
func (s *Server) read(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter), old, leaderless bool) {
	q := r.URL.Query()
	for _, k := range []string{"index", "wait", "stale"} {
		q.Del(k)
	}
	key := r.URL.Path + "?" + q.Encode()
	s.mu.Lock()
	before := s.faults.kept[key]
	s.mu.Unlock()
	a := &kept{header: make(http.Header)}
	if old && len(before) > 0 {
		a = before[0]
	} else {
		rec := &recorder{header: a.header, status: http.StatusOK}
		serve(rec)
		a.body = rec.body.Bytes()
		if rec.status != http.StatusOK {
			copyHeader(w.Header(), rec.header)
			w.WriteHeader(rec.status)
			_, _ = w.Write(a.body)
			return
		}
		s.mu.Lock()
		if s.faults.kept == nil {
			s.faults.kept = make(map[string][]*kept)
		}
		both := append(before, a)
		s.faults.kept[key] = both[max(len(both)-2, 0):]
		s.mu.Unlock()
	}
	copyHeader(w.Header(), a.header)
	if leaderless {
		w.Header().Set("X-Nomad-KnownLeader", "false")
		w.Header().Set("X-Nomad-LastContact", "9223372036854")
	}
	s.mu.Lock()
	shiftIndex(w.Header(), s.faults.back)
	s.mu.Unlock()
	_, _ = w.Write(a.body)
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

func copyHeader(to, from http.Header) {
	for k, v := range from {
		to[k] = v
	}
}
