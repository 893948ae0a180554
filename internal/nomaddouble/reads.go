package nomaddouble

import (
	"encoding/json"
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
	q := r.URL.Query()
	if after := q.Get("index"); after != "" {
		n, err := strconv.ParseUint(after, 10, 64)
		if err != nil {
			refuse(w, 400, "Invalid index")
			return
		}
		wait := maxWait
		if text := q.Get("wait"); text != "" {
			if wait, err = time.ParseDuration(text); err != nil {
				refuse(w, 400, "Invalid wait time")
				return
			}
		}
		if n > 0 {
			wait = min(wait, maxWait)
			wait += rand.N(wait/16 + 1)
			s.await(r.Context(), wait, func() bool { return index() > n })
		}
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

func (s *Server) listAllocations(w http.ResponseWriter, r *http.Request) {
	s.blocking(w, r, tableAllocs, func() (any, error) {
		stubs := []document{}
		for _, a := range s.allocs {
			if in(r, a.job.Namespace) {
				stubs = append(stubs, a.stub(r.URL.Query().Get("resources") == "true"))
			}
		}
		return filtered(r, stubs)
	})
}

// stub is the allocation as lists have it; its resources must be asked for.
func (a *allocation) stub(resources bool) document {
	d := a.document()
	if !resources {
		delete(d, "AllocatedResources")
	}
	return d
}

// jobAllocations ignores filter and resources, and knows no 404.
func (s *Server) jobAllocations(w http.ResponseWriter, r *http.Request) {
	index := func() uint64 {
		if j := s.named(r); j != nil {
			return j.index
		}
		return s.index
	}
	s.blockingOn(w, r, index, func() (any, error) {
		stubs := []document{}
		for _, a := range s.allocs {
			if a.job.ID == r.PathValue("id") && in(r, a.job.Namespace) {
				stubs = append(stubs, a.stub(false))
			}
		}
		return stubs, nil
	})
}

func (s *Server) getAllocation(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.allocs {
		if a.ID == r.PathValue("id") {
			answer(w, s.tables[tableAllocs], a.document())
			return
		}
	}
	refuse(w, 404, "alloc not found")
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

func (s *Server) listNodes(w http.ResponseWriter, r *http.Request) {
	s.blocking(w, r, tableNodes, func() (any, error) {
		list := []document{}
		for _, n := range s.nodes {
			d := n.document()
			if r.URL.Query().Get("resources") != "true" {
				delete(d, "NodeResources")
			}
			list = append(list, d)
		}
		return filtered(r, list)
	})
}

func (s *Server) getNode(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.nodes {
		if n.ID == r.PathValue("id") {
			answer(w, s.tables[tableNodes], n.document())
			return
		}
	}
	refuse(w, 404, "node not found")
}

func (s *Server) putEligibility(w http.ResponseWriter, r *http.Request) {
	var req struct{ Eligibility string }
	if err := json.Unmarshal(body(r), &req); err != nil {
		refuse(w, 400, "%v", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.nodes {
		if n.ID != r.PathValue("id") {
			continue
		}
		index := s.write([]string{tableNodes}, func(index uint64) []event {
			n.ineligible, n.modify = req.Eligibility == "ineligible", index
			return []event{nodeEvent("NodeEligibility", n)}
		})
		if !n.ineligible {
			s.unblock()
		}
		answer(w, index, document{"EvalIDs": nil, "EvalCreateIndex": 0, "NodeModifyIndex": index, "Index": index})
		return
	}
	refuse(w, 404, "node not found")
}
