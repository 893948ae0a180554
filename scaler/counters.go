package scaler

import (
	"context"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// forgetActivator is how long an activator may be silent before its numbers are
// forgotten: longer than it goes on publishing a service without traffic.
const forgetActivator = 25 * time.Minute

// clockApart is how far an activator's clock may be from ours before its times are
// moved to ours. What it publishes is gone from the store after 3.5 s, so that one
// that seems older than this, or of the future, is by another clock.
const clockApart = 5 * time.Second

// traffic is what all activators together have seen of one service since the
// last reading.
type traffic struct {
	since      time.Time // when the counters were read before; zero: never
	arrivals   uint64
	completed  uint64
	failed     uint64    // of the completed
	seconds    float64   // in replicas, of the completed
	inFlight   int       // now, by those that were heard lately
	held       int       // likewise
	lastDemand time.Time // as its activators say; zero: never
	latency    []decide.LatencyItem
}

// counters turns what activators publish, cumulative since their start, into
// differences. An activator that restarted is seen by its start time or by a
// number that fell.
type counters struct {
	heard map[string]heard // by activator
	first time.Time        // when they were first read; zero: never
	at    time.Time        // and last
}

// heard is what an activator had published when it was last read, by our clock.
type heard struct {
	jobs.Counters
	at time.Time
}

// differ returns the differences by service. Of an activator that has counted
// since before the first reading, or for longer than any is remembered, only what
// comes after it was met counts: how old its numbers are is unknown. It need not
// be there at the first reading: after an outage of Redis the store may be read
// before it publishes again.
func (c *counters) differ(now time.Time, list []jobs.Counters, fresh time.Duration) map[string]*traffic {
	if c.heard == nil {
		c.heard, c.first = map[string]heard{}, now
	}
	out := map[string]*traffic{}
	for _, a := range list {
		last, met := c.heard[a.Activator]
		if met && !last.Started.Equal(a.Started) {
			last = heard{}
		}
		apart := now.Sub(a.At)
		if apart.Abs() <= clockApart {
			apart = 0
		}
		started := a.Started.Add(apart)
		baseline := !met && (c.at.IsZero() || started.Before(c.first) || now.Sub(started) > forgetActivator)
		for name, s := range a.Services {
			t := out[name]
			if t == nil {
				t = &traffic{since: c.at}
				out[name] = t
			}
			before := last.Services[name]
			if s.Arrivals < before.Arrivals || s.Completed < before.Completed || s.Failed < before.Failed || s.ServiceSeconds < before.ServiceSeconds {
				before = jobs.ServiceCounters{}
			}
			if !baseline {
				t.arrivals += s.Arrivals - before.Arrivals
				t.completed += s.Completed - before.Completed
				t.failed += s.Failed - before.Failed
				t.seconds += s.ServiceSeconds - before.ServiceSeconds
			}
			if now.Sub(a.At)-apart <= fresh {
				t.inFlight += s.InFlight
				t.held += s.Held
			}
			if s.LastDemand.IsZero() {
				// none yet
			} else if at := s.LastDemand.Add(apart); at.After(t.lastDemand) {
				t.lastDemand = at
			}
			for _, b := range s.Latency {
				if unchanged(before.Latency, b) {
					continue
				}
				t.latency = append(t.latency, decide.LatencyItem{
					Activator: a.Activator, Start: b.Start, Count: b.Count, Sum: b.Sum, Sketch: b.Sketch,
				})
			}
		}
		c.heard[a.Activator] = heard{a, now}
	}
	for name, a := range c.heard {
		if now.Sub(a.at) > forgetActivator { // not by its own clock: what is forgotten is counted anew
			delete(c.heard, name)
		}
	}
	c.at = now
	return out
}

func unchanged(before []jobs.LatencyBucket, b jobs.LatencyBucket) bool {
	for _, o := range before {
		if o.Start.Equal(b.Start) {
			return o.Count == b.Count
		}
	}
	return false
}

// beat says that whatever was published by this scaler and is at rest is still
// so: one writing for all services, however many there are.
func (ses *session) beat() {
	t := ses.acting()
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.ctx, ses.cfg.Tick)
	defer cancel()
	if err := ses.cfg.History.Beat(ctx, ses.began, time.Now()); err != nil && ctx.Err() == nil {
		ses.cfg.Logger.Debug("cannot say that the scaler is alive", "err", err)
	}
}

// readCounters reads the counters once a tick and tells each service its part.
func (ses *session) readCounters() error {
	var c counters
	tick := time.NewTicker(ses.cfg.Tick)
	defer tick.Stop()
	failed := false
	var marked time.Time // the minute that was last marked as recorded
	for {
		if ses.acting() != nil || ses.countersAt.Load() != 0 {
			list, err := ses.cfg.Ledger.Counters(ses.ctx)
			if err == nil {
				ses.beat()
				now := time.Now()
				ses.countersAt.Store(now.UnixNano())
				for name, t := range c.differ(now, list, 3*ses.cfg.Tick) {
					ses.each(name, func(s *service) {
						s.mail.post(func(now time.Time) { s.onTraffic(now, t) })
					})
				}
				if minute := now.Truncate(time.Minute); ses.acting() != nil && !minute.Equal(marked) {
					if err := ses.cfg.History.MarkRecorded(ses.ctx, minute); err == nil {
						marked = minute
					} else if ses.ctx.Err() == nil {
						ses.cfg.Logger.Debug("cannot note that demand is recorded", "err", err)
					}
				}
			} else if !failed && ses.ctx.Err() == nil {
				ses.cfg.Logger.Warn("cannot read the activators' counters", "err", err)
			}
			failed = err != nil
		}
		select {
		case <-ses.ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
