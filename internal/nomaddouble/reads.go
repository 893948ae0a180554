package nomaddouble

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"
)

const maxWait = 300 * time.Second

// blocking answers a list of a table; with ?index=N it waits until the table's
// index is higher, or ?wait (and up to a sixteenth more) has passed. list is
// called with s.mu held.
func (s *Server) blocking(w http.ResponseWriter, r *http.Request, table string, list func() (any, error)) {
	s.blockingOn(w, r, func() uint64 { return s.tables[table] }, list)
}

func (s *Server) blockingOn(w http.ResponseWriter, r *http.Request, index func() uint64, list func() (any, error)) {
	if !s.waitFor(w, r, index) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := list()
	if err != nil {
		refuse(w, 400, "failed to read result page: %v", err)
		return
	}
	answer(w, index(), v)
}

// waitFor waits as ?index and ?wait ask for, and reports false if they are
// refused.
func (s *Server) waitFor(w http.ResponseWriter, r *http.Request, index func() uint64) bool {
	q := r.URL.Query()
	after := q.Get("index")
	if after == "" {
		return true
	}
	n, err := strconv.ParseUint(after, 10, 64)
	if err != nil {
		refuse(w, 400, "Invalid index")
		return false
	}
	wait := maxWait
	if text := q.Get("wait"); text != "" {
		if wait, err = time.ParseDuration(text); err != nil {
			refuse(w, 400, "Invalid wait time")
			return false
		}
	}
	if n == 0 {
		return true
	}
	wait = min(wait, maxWait)
	wait += rand.N(wait/16 + 1)
	s.await(r.Context(), wait, func() bool { return index()-min(index(), s.faults.back) > n })
	return true
}

// filtered keeps what ?filter asks for. With an empty list Nomad does not look
// at the expression's fields either.
func filtered(r *http.Request, all []document) (any, error) {
	text := r.URL.Query().Get("filter")
	if text == "" {
		return all, nil
	}
	keep, err := parseFilter(text)
	if err != nil {
		return nil, err
	}
	kept := []document{}
	for _, d := range all {
		ok, err := keep(d)
		if err != nil {
			return nil, err
		}
		if ok {
			kept = append(kept, d)
		}
	}
	return kept, nil
}

// onJob answers what of says of the job of the path; with ?index=N it waits as a
// list does. A job that is not there is refused at once.
func (s *Server) onJob(w http.ResponseWriter, r *http.Request, missing string, of func(*job) any) {
	s.mu.Lock()
	there := s.named(r) != nil
	s.mu.Unlock()
	if !there {
		refuse(w, 404, "%s", missing)
		return
	}
	gone := false
	index := func() uint64 {
		if j := s.named(r); j != nil {
			return j.index
		}
		gone = true
		return s.index
	}
	if !s.waitFor(w, r, index) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.named(r)
	if j == nil || gone {
		refuse(w, 404, "%s", missing)
		return
	}
	answer(w, j.index, of(j))
}

func (s *Server) evaluations(r *http.Request, job string) []document {
	list := []document{}
	for _, e := range slices.Backward(s.evals) {
		if in(r, e.Namespace) && (job == "" || e.JobID == job) {
			list = append(list, e.document())
		}
	}
	return list
}

func (s *Server) listEvaluations(w http.ResponseWriter, r *http.Request) {
	s.blocking(w, r, tableEvals, func() (any, error) { return filtered(r, s.evaluations(r, "")) })
}

func (s *Server) jobEvaluations(w http.ResponseWriter, r *http.Request) {
	s.blocking(w, r, tableEvals, func() (any, error) { return s.evaluations(r, r.PathValue("id")), nil })
}

func (s *Server) getEvaluation(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.evals {
		if e.ID == r.PathValue("id") {
			answer(w, s.tables[tableEvals], e.document())
			return
		}
	}
	refuse(w, 404, "eval not found")
}
