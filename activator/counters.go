package activator

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"
	"google.golang.org/protobuf/proto"

	"github.com/pilotlight/pilotlight/jobs"
)

// relativeAccuracy of latency quantiles.
const relativeAccuracy = 0.01

// idleAfter: a service without traffic for longer is left out of the counters,
// so that idle services cost nothing.
const idleAfter = 20 * time.Minute

// latencyBuckets keeps the sketch of the running 5 s bucket and of the one before.
type latencyBuckets struct{ now, before latencyBucket }

type latencyBucket struct {
	start  time.Time
	count  uint64
	sum    float64
	sketch *ddsketch.DDSketch
}

func (b *latencyBuckets) add(at time.Time, seconds float64) {
	start := at.Truncate(jobs.LatencyBucketSpan)
	if !b.now.start.Equal(start) {
		b.before = b.now
		sketch, err := ddsketch.NewDefaultDDSketch(relativeAccuracy)
		if err != nil {
			return // the accuracy is a valid constant
		}
		b.now = latencyBucket{start: start, sketch: sketch}
	}
	if b.now.sketch.Add(max(seconds, 0)) == nil {
		b.now.count++
		b.now.sum += seconds
	}
}

// recent returns the two buckets as they are published.
func (b *latencyBuckets) recent(now time.Time) []jobs.LatencyBucket {
	var out []jobs.LatencyBucket
	for _, x := range []*latencyBucket{&b.before, &b.now} {
		if x.count == 0 || now.Sub(x.start) > 4*jobs.LatencyBucketSpan {
			continue
		}
		raw, err := proto.Marshal(x.sketch.ToProto())
		if err != nil {
			continue
		}
		out = append(out, jobs.LatencyBucket{Start: x.start.UTC(), Count: x.count, Sum: x.sum, Sketch: raw})
	}
	return out
}

// quietFor is how long a service must have nothing in flight before that is
// published at once.
const quietFor = 50 * time.Millisecond

// publish writes this activator's counters each second, also while nothing
// happens: silence means death. When a service falls idle they are written soon
// after, so that its keep-alive counts from its last request and not from the
// next second.
func (a *Activator) publish(ctx context.Context) error {
	tick := time.NewTicker(a.cfg.Publish)
	defer tick.Stop()
	quiet := time.NewTimer(quietFor)
	defer quiet.Stop()
	for {
		if err := a.cfg.Queue.PublishCounters(ctx, a.countersNow(time.Now())); err != nil && ctx.Err() == nil {
			a.log.Debug("counters not published", "err", err)
		}
		for again := false; !again; {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				again = true
			case <-a.fellIdle:
				quiet.Reset(quietFor)
			case <-quiet.C:
				again = true
			}
		}
	}
}

func (a *Activator) countersNow(now time.Time) jobs.Counters {
	out := jobs.Counters{Activator: a.cfg.Queue.Activator(), Started: a.started.UTC(), At: now.UTC(),
		Services: map[string]jobs.ServiceCounters{}}
	rt := a.routes.Load()
	if rt == nil {
		return out
	}
	for _, st := range a.cfg.Queue.Standings() {
		s := rt.services[st.Service]
		if s == nil {
			continue
		}
		s.metrics.standing(st, now)
		c := jobs.ServiceCounters{
			Arrivals: s.arrivals.Load(), Completed: s.completed.Load(), Failed: s.failed.Load(),
			InFlight: st.InFlight, Held: st.Held, HeldBytes: st.HeldBytes, OldestHold: st.OldestHold.UTC(),
		}
		if st.OldestHold.IsZero() {
			c.OldestHold = time.Time{}
		}
		s.setBack(now)
		if ns := s.lastDone.Load(); ns > 0 {
			c.LastDemand = time.Unix(0, ns).UTC()
		}
		if st.InFlight+st.Held > 0 || now.UnixNano() < s.promised.Load() {
			c.LastDemand = now.UTC()
		}
		s.mu.Lock()
		c.ServiceSeconds = s.seconds
		if now.Sub(c.LastDemand) > idleAfter {
			// Whoever reads them forgets a service that is left out: when it comes back,
			// what it counts must be what is new.
			s.told = c
			s.mu.Unlock()
			continue
		}
		c.Arrivals -= s.told.Arrivals
		c.Completed -= s.told.Completed
		c.Failed -= s.told.Failed
		c.ServiceSeconds -= s.told.ServiceSeconds
		c.Latency = s.latency.recent(now)
		s.mu.Unlock()
		out.Services[s.name] = c
	}
	return out
}

// setBack puts right what was noted before the clock was set back: it lies ahead of
// now, and the service would seem to be asked until that hour has come again.
func (s *service) setBack(now time.Time) {
	notAfter(&s.lastDone, now)
	notAfter(&s.promised, now.Add(s.policy.Hold.MaxWait)) // nobody is told to come back later
}

// notAfter keeps a moment, in Unix ns, from lying after another.
func notAfter(at *atomic.Int64, latest time.Time) {
	if ns := at.Load(); ns > latest.UnixNano() {
		at.CompareAndSwap(ns, latest.UnixNano())
	}
}
