package activator

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/activator/translate"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// service is one policy as the data path uses it. Its policy never changes: a
// new version is a new service that shares the tally.
type service struct {
	*tally
	name     string
	policy   *policies.Policy
	version  int
	adapter  translate.Adapter // nil: no translate block
	limits   queue.Limits
	attempts int
}

// tally counts what a service has done since this process began.
type tally struct {
	arrivals  atomic.Uint64
	inFlight  atomic.Int64 // in a slot
	entered   atomic.Int64 // holds begun, of connections
	left      atomic.Int64 // holds ended
	buffered  account      // bodies in memory
	promised  atomic.Int64 // Unix ns until when somebody was told to come back
	completed atomic.Uint64
	failed    atomic.Uint64
	lastDone  atomic.Int64 // Unix ns of the last request's end

	mu      sync.Mutex
	seconds float64 // in replicas
	latency latencyBuckets
	told    jobs.ServiceCounters // of the counts, what was published before the service was last left out

	fellIdle chan<- struct{}
	answered sync.Map // replica → struct{}: its first answer has been reported
	metrics  *serviceMetrics
}

func (a *Activator) serviceOf(v policies.Version, before *service) (*service, error) {
	p := v.Policy
	s := &service{name: v.Name, policy: p, version: v.Version, attempts: max(1, p.Retry.Attempts),
		limits: queue.Limits{Requests: p.Hold.MaxRequests, Bytes: p.Hold.MaxBytes, Timeout: p.Request.Timeout, Kept: p.Result.MaxBytes}}
	if before != nil {
		s.tally = before.tally
	} else {
		s.tally = &tally{metrics: a.metrics.forService(v.Name), fellIdle: a.fellIdle, buffered: account{whole: &a.buffered}}
	}
	if p.Translate != nil {
		adapter, err := translate.For(p.Translate.Backend, p.Translate.Model)
		if err != nil {
			return nil, err
		}
		s.adapter = adapter
	}
	return s, nil
}

// repeatable reports whether a request that may have reached a replica may be
// sent to another one.
func (s *service) repeatable(path string, keyed bool) bool {
	switch s.policy.Retry.Repeat {
	case "always":
		return true
	case "keyed":
		return keyed
	case "never":
		return false
	}
	return keyed || within(path, "/translate") || within(path, "/v1")
}

// done notes the end of a request that was in a slot.
func (t *tally) done(now time.Time, inReplica time.Duration, failed bool) {
	t.completed.Add(1)
	if failed {
		t.failed.Add(1)
	}
	t.mu.Lock()
	t.seconds += inReplica.Seconds()
	t.latency.add(now, inReplica.Seconds())
	t.mu.Unlock()
	t.unused(now)
}

// unused notes that a slot was given back for whose replica there is nothing to count:
// the request never came there.
func (t *tally) unused(now time.Time) {
	t.lastDone.Store(now.UnixNano())
	if t.inFlight.Add(-1) == 0 {
		select {
		case t.fellIdle <- struct{}{}:
		default:
		}
	}
}
