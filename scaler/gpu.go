package scaler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

const (
	gpuTimeout  = 2 * time.Second  // of one scrape, or one PromQL query
	gpusTimeout = 4 * time.Second  // of a fleet's answer, which may be about several nodes
	gpuFrozen   = 30 * time.Second // a measurement that stays the same for so long is not about now
)

// measured is the last that was read of one replica's GPUs. What is unknown
// stays unknown up to the decision: it is never taken for zero.
type measured struct {
	jobs.GPU
	read  time.Time // when it was read; zero: never
	since time.Time // when a measurement of that moment (At) was read first
	due   time.Time // when to read the next one
}

// measure reads the GPUs of the ready replicas once per sizing.sample, beside
// the loop, from the source that the policy names. It returns when it wants to be
// called again.
//
// The fleet and Prometheus are asked once for all replicas, and a replica's
// exporter for that replica alone, so that one which hangs delays no other.
func (s *service) measure(now time.Time) (again time.Time) {
	due := false
	for _, r := range s.replicas {
		if r.phase != jobs.Ready {
			r.gpu = measured{} // what loads or drains says nothing of the load
			continue
		}
		if now.Before(r.gpu.due) {
			again = earlier(again, r.gpu.due)
			continue
		}
		if s.policy.GPU.Source == "metrics" {
			again = earlier(again, s.scrape(now, r))
		} else {
			due = true
		}
	}
	if due {
		again = earlier(again, s.measureAll(now))
	}
	return again
}

// measureAll asks once for all replicas.
func (s *service) measureAll(now time.Time) (again time.Time) {
	gpu, ref := s.policy.GPU, s.ref
	if !s.call(&s.gpuReads, now, func() func(time.Time) {
		read := s.askFleet(ref)
		if gpu.Source == "prometheus" {
			read = s.askPrometheus(gpu.Query)
		}
		return func(time.Time) {
			for id, r := range s.replicas {
				s.take(now, r, gpu, read(id))
			}
		}
	}) {
		return time.Time{} // its answer comes back here
	}
	next := now.Add(s.policy.Sizing.Sample)
	for _, r := range s.replicas {
		r.gpu.due = next
	}
	return next
}

// askFleet reads what the fleet says of the devices of each allocation.
func (s *service) askFleet(ref jobs.Ref) (read func(id string) jobs.GPU) {
	ctx, cancel := context.WithTimeout(s.ctx, gpusTimeout)
	defer cancel()
	list, err := s.ses.cfg.Fleet.GPUs(ctx, ref)
	return func(id string) jobs.GPU {
		g, holds := list[id]
		switch {
		case err != nil:
			return jobs.GPU{Why: unanswered(err, gpusTimeout).Error()}
		case !holds:
			return jobs.GPU{Why: "the fleet knows of no GPU device that it holds"}
		}
		return g
	}
}

// askPrometheus reads one figure for all replicas.
func (s *service) askPrometheus(query string) (read func(id string) jobs.GPU) {
	ctx, cancel := context.WithTimeout(s.ctx, gpuTimeout)
	defer cancel()
	g := jobs.GPU{}
	r, err := instant(ctx, s.ses.cfg.Client, s.ses.cfg.Prometheus, query)
	if err == nil {
		err = Utilization(r.Value)
	}
	if err != nil {
		g.Why = err.Error()
	} else {
		g.Utilization, g.Warning = &r.Value, r.Warning
	}
	return func(string) jobs.GPU { return g }
}

// scrape reads the exporter of one replica.
func (s *service) scrape(now time.Time, r *replica) (again time.Time) {
	gpu, devices := s.policy.GPU, r.alloc.Devices
	fetch, url := s.ses.exporters.fetch, "http://"+r.alloc.Address+"/metrics"
	if gpu.Port == 0 && len(s.scraped()) == 0 {
		fetch = s.ses.exporters.fetchAnew // nobody else asks for it
	} else if host, _, err := net.SplitHostPort(r.alloc.Address); err == nil && gpu.Port != 0 {
		url = "http://" + net.JoinHostPort(host, strconv.Itoa(gpu.Port)) + "/metrics"
	}
	fresh := s.policy.Sizing.Sample / 2
	if !s.call(&r.scrapes, now, func() func(time.Time) {
		g := jobs.GPU{}
		if body, err := fetch(s.ctx, url, fresh); err != nil {
			g.Why = err.Error()
		} else {
			g = readExporter(body, gpu, devices)
		}
		return func(time.Time) { s.take(now, r, gpu, g) }
	}) {
		return time.Time{}
	}
	r.gpu.due = now.Add(s.policy.Sizing.Sample)
	return r.gpu.due
}

// take takes in what was asked for at that moment, under that policy, unless the
// replica is ready only since, or the policy is another one.
func (s *service) take(asked time.Time, r *replica, by policies.GPU, g jobs.GPU) {
	if r.phase != jobs.Ready || asked.Before(r.readyAt) || by != s.policy.GPU || s.ctx.Err() != nil {
		return
	}
	now := time.Now()
	g = checked(g)
	if g.Why != "" && !s.saidOf(g.Why) {
		level := slog.LevelDebug
		if s.policy.ScaleUp.GPUUtilization != nil || s.policy.ScaleDown.GPUUtilization != nil {
			level = slog.LevelWarn
		}
		s.log.Log(s.ctx, level, "GPU figures unknown", "replica", r.alloc.ID, "reason", g.Why)
	}
	if g.At.IsZero() {
		g.At = now
	}
	if !g.At.Equal(r.gpu.At) {
		r.gpu.since = now
	}
	r.gpu.GPU, r.gpu.read = g, now
}

// saidOf reports whether it was said of any replica already that its figures are
// unknown for that reason.
func (s *service) saidOf(why string) bool {
	for _, r := range s.replicas {
		if r.gpu.Why == why {
			return true
		}
	}
	return false
}

// checked makes unknown what no GPU can measure.
func checked(g jobs.GPU) jobs.GPU {
	if v := g.Utilization; v != nil && !(*v >= 0 && *v <= 100) { // NaN is not
		g.Utilization = nil
		g.Why = fmt.Sprintf("a utilization of %v %% is not one", *v)
	}
	for _, bytes := range []**float64{&g.MemoryUsed, &g.MemoryTotal} {
		if v := *bytes; v != nil && !(*v >= 0 && !math.IsInf(*v, 0)) {
			*bytes = nil
		}
	}
	if g.Utilization == nil && g.Why == "" {
		g.Why = "its source gives no utilization"
	}
	return g
}

// gpuNow is what is known of the replica's GPUs at this moment: nothing, and why,
// if the last measurement is too old. That is judged without the clock of whoever
// made it, which the fleet knows better: by when it was read, and by whether a
// newer one has come since.
func (r *replica) gpuNow(now time.Time, sample time.Duration) jobs.GPU {
	m := &r.gpu
	switch {
	case r.phase != jobs.Ready:
		return jobs.GPU{}
	case m.read.IsZero():
		return jobs.GPU{Why: notMeasured}
	case now.Sub(m.read) > 3*sample+gpuTimeout:
		return jobs.GPU{At: m.At, Why: "no answer for " + ago(now, m.read)}
	case m.Utilization == nil:
		return m.GPU
	case now.Sub(m.since) > max(gpuFrozen, 3*sample+gpuTimeout):
		return jobs.GPU{At: m.At, Why: "the measurement has been the same one for " + ago(now, m.since)}
	}
	return m.GPU
}

func ago(now, then time.Time) string { return now.Sub(then).Round(time.Second).String() }

// gpuTotal is the service's: the mean utilization of the ready replicas that it
// is known of, with the reason if it is known of none, and the memory in use if
// it is known of all.
func gpuTotal(ready []jobs.GPU) (utilization, memory *float64, why string) {
	sum, known, used := 0.0, 0, 0.0
	complete := len(ready) > 0
	for _, g := range ready {
		if g.Utilization != nil {
			sum += *g.Utilization
			known++
		} else if why == "" {
			why = g.Why
		}
		if complete = complete && g.MemoryUsed != nil; complete {
			used += *g.MemoryUsed
		}
	}
	if known > 0 {
		utilization, why = figure(sum/float64(known)), ""
	}
	if complete {
		memory = &used
	}
	return utilization, memory, why
}

func figure(v float64) *float64 { return &v }

// unanswered says in a sentence why a request that may take so long had no answer.
func unanswered(err error, limit time.Duration) error {
	var network net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout() {
		return fmt.Errorf("no answer within %v", limit)
	}
	return err
}
