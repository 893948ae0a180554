package nomaddouble

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

// Startup is what befalls the tasks of one job before they run, and how they
// take their end. The zero value is nothing.
type Startup struct {
	Delay    time.Duration // on top of Delays.Start
	Image    string        // is downloaded meanwhile
	Progress []string      // of the download, told evenly over Delay
	Artifact bool          // artifacts are downloaded meanwhile
	Fail     string        // not "": it ends in this failure, of the download with Artifact, else of the driver

	// IgnoresKill lets pretended tasks live until their kill timeout has passed.
	IgnoresKill bool
}

// SetStartup says how the tasks of a job start from now on.
func (s *Server) SetStartup(namespace, job string, up Startup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.startups[jobKey{namespace, job}] = up
}

// SetDelays changes the cluster's delays from now on; zero fields stay.
func (s *Server) SetDelays(d Delays) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delays = d.over(s.delays)
}

// delayed reads one of the delays.
func (s *Server) delayed(which func(Delays) time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return which(s.delays)
}

// Exit ends a task of an allocation; a real process is killed, and e is told
// of it.
func (s *Server) Exit(alloc string, e Exit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.allocs {
		if a.ID == alloc {
			select {
			case a.fail <- e:
			default:
			}
			return nil
		}
	}
	return fmt.Errorf("nomaddouble: no allocation %s", alloc)
}

// Crash ends a task of an allocation with an exit code.
func (s *Server) Crash(alloc string, code int) error { return s.Exit(alloc, Exit{Code: code}) }

// put sends a document to one of the double's own routes, past tokens and
// faults.
func (s *Server) put(path string, d document) error {
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	r := httptest.NewRequestWithContext(context.WithValue(context.Background(), bodyKey{}, raw), http.MethodPut, path, strings.NewReader(string(raw)))
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return fmt.Errorf("nomaddouble: PUT %s: %d %s", path, w.Code, w.Body)
	}
	return nil
}
