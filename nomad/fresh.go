package nomad

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/hashicorp/nomad/api"
)

const (
	// contact is how long ago a server may have heard its leader for its answer to
	// be the present.
	contact = 2 * time.Second
	// backFor is how long all answers must agree that Nomad's index went back
	// before that is believed: a deposed leader answers from the past for half a
	// second.
	backFor = 2 * time.Second
)

// errBack is the answer of a list whose index is lower than that of one before.
var errBack = errors.New("nomad's index went back, looking again whether it is so")

// meta says what an answer is worth.
type meta struct {
	index uint64    // of the table that was read
	fresh bool      // the present, as the leader has it; otherwise maybe of the past: nothing is gone because it is not in it
	at    time.Time // a moment at which it was true, if it is fresh
}

// get reads path into a T under a deadline of its own.
func get[T any](ctx context.Context, f *Fleet, path string, q api.QueryOptions, timeout time.Duration) (T, meta, error) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var v T
	m := meta{at: time.Now()}
	qm, err := f.client.Raw().Query(path, &v, q.WithContext(limited))
	if err != nil {
		return v, m, inWords(ctx, err, timeout)
	}
	wholeAnswer(&v)
	m.index = qm.LastIndex
	m.fresh = !q.AllowStale && qm.KnownLeader && qm.LastContact < contact
	if q.WaitIndex > 0 {
		m.at = time.Now() // a blocking query reads last
	}
	return v, m, nil
}

// tables are the highest indexes that fresh lists had.
type tables struct{ allocs, jobs uint64 }

func (p *picture) highest() tables {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tables
}

// judge compares the indexes of fresh lists with floor, what earlier ones had
// when these were asked for. back says that they are lower: either an answer
// from the past or, once believed after backFor, a Nomad whose state was restored
// or replaced; then everything that the picture has by index counts for nothing.
func (p *picture) judge(now tables, floor tables, at time.Time) (back, believed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.allocs >= floor.allocs && now.jobs >= floor.jobs {
		p.back = time.Time{}
		p.tables.allocs = max(p.tables.allocs, now.allocs)
		p.tables.jobs = max(p.tables.jobs, now.jobs)
		return false, false
	}
	if p.back.IsZero() {
		p.back = at
	}
	if at.Sub(p.back) < backFor {
		return true, false
	}
	p.back, p.tables = time.Time{}, now
	for _, j := range p.jobs {
		// Versions count anew too: one that was Pilotlight's may be somebody else's now.
		j.listed, j.absent, j.info.index, j.info.modifyIndex, j.info.version = 0, 0, 0, 0, 0
		j.own, j.reshaped, j.drift.of = 0, 0, ""
		for ref := range j.told {
			j.told[ref] = 0 // observed, and nothing of what is to come
		}
		clear(j.changes)
		clear(j.deployments)
		for id, a := range j.allocs {
			a.index, a.seen = 0, 0
			j.allocs[id] = a
		}
	}
	clear(p.nodes)
	p.drains = 0
	return true, true
}

// check asks, as cheaply as Nomad allows, whether there is a leader who answers.
func (f *Fleet) check(ctx context.Context, scope string) error {
	floor := f.pic.highest()
	_, m, err := get[[]struct{}](ctx, f, "/v1/allocations", api.QueryOptions{Namespace: scope, PerPage: 1}, readTimeout)
	switch {
	case err != nil:
		return err
	case !m.fresh:
		return errStale
	case m.index < floor.allocs:
		return errBack
	}
	f.pic.hear(scope, m)
	return nil
}

var errStale = errors.New("nomad's answers are stale: the server that gives them does not hear a leader")

// leaderless reports whether a read failed in a way that one from a server
// without a leader may not.
func leaderless(err error) bool {
	status, _ := answered(err)
	return status >= http.StatusInternalServerError || errors.Is(err, context.DeadlineExceeded)
}
