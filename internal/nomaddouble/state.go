package nomaddouble

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"
)

// Tables whose indexes lists are read with.
const (
	tableJobs   = "jobs"
	tableEvals  = "evals"
	tableAllocs = "allocs"
	tableNodes  = "nodes"

	tableDeployments = "deployment"
)

// eventBuffer is how many raft entries the event stream can replay.
const eventBuffer = 100

// entry is one line of the event stream.
type entry struct {
	Events []event
	Index  uint64
}

type event struct {
	FilterKeys []string
	Index      uint64
	Key        string
	Namespace  string
	Payload    document
	Topic      string
	Type       string
}

// write makes one raft entry: it takes the next index, notes which tables it
// changes, and publishes its events in one line. s.mu is held.
func (s *Server) write(tables []string, make func(index uint64) []event) uint64 {
	return s.writeLines(tables, func(index uint64) [][]event { return [][]event{make(index)} })
}

// writeLines is write for an entry whose events come in several lines of the
// same index, as a registration's do. s.mu is held.
func (s *Server) writeLines(tables []string, make func(index uint64) [][]event) uint64 {
	s.index++
	index := s.index
	for _, t := range tables {
		s.tables[t] = index
	}
	for _, events := range make(index) {
		if len(events) == 0 {
			continue
		}
		for i := range events {
			events[i].Index = index
		}
		s.entries = append(s.entries, entry{Events: events, Index: index})
		if over := len(s.entries) - eventBuffer; over > 0 {
			s.entries = append([]entry(nil), s.entries[over:]...)
		}
	}
	close(s.moved)
	s.moved = newMoved()
	return index
}

func newMoved() chan struct{} { return make(chan struct{}) }

func jobEvent(kind string, j *job) event {
	return event{Topic: "Job", Type: kind, Key: j.ID, Namespace: j.Namespace, Payload: document{"Job": j.document()}}
}

func evalEvent(kind string, e *evaluation) event {
	return event{Topic: "Evaluation", Type: kind, Key: e.ID, Namespace: e.Namespace,
		FilterKeys: []string{e.JobID, e.Deployment}, Payload: document{"Evaluation": e.document()}}
}

func allocEvent(kind string, a *allocation) event {
	return event{Topic: "Allocation", Type: kind, Key: a.ID, Namespace: a.job.Namespace,
		FilterKeys: []string{a.job.ID, a.deployment}, Payload: document{"Allocation": a.told()}}
}

func nodeEvent(kind string, n *node) event {
	return event{Topic: "Node", Type: kind, Key: n.ID, Payload: document{"Node": n.document()}}
}

// await blocks until ready says so, is given up with ctx, or wait has passed.
// ready is called with s.mu held, first at once.
func (s *Server) await(ctx context.Context, wait time.Duration, ready func() bool) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		s.mu.Lock()
		done, moved := ready(), s.moved
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-moved:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// newID returns a random UUID.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
