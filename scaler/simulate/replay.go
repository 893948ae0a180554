package simulate

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/pilotlight/pilotlight/policies"
)

// Setup is what all candidates of a replay meet alike.
type Setup struct {
	Seed uint64
	// ColdStart is the median time from a placed launch until the replica is
	// ready; draws are lognormal with ColdSigma (0: always the median).
	ColdStart time.Duration
	ColdSigma float64
	// Launch is the time from a launch until it is placed.
	Launch time.Duration
	// GPUs of a replica; 0 is 1.
	GPUs int
	// Series samples every candidate this often; 0: not at all.
	Series time.Duration
	// Lasts is the length of the trace if that is longer than its last request.
	Lasts time.Duration
}

// DefaultSetup: cold starts of 120 s, lognormal with σ 0.15, half a second to
// be placed.
func DefaultSetup() Setup {
	return Setup{Seed: 1, ColdStart: 2 * time.Minute, ColdSigma: 0.15, Launch: 500 * time.Millisecond}
}

// Candidate is one way to scale that is replayed.
type Candidate struct {
	Name   string
	limits limits
	price  *float64 // USD per replica and hour
	make   func() controller
}

// Policy is Pilotlight under a policy.
func Policy(name string, p *policies.Policy) Candidate {
	return candidate(name, p, func() controller { return newPilotlight(p) })
}

// Baselines are the other ways to scale, with the bounds, slots and prices of a
// policy. always-on is computed, not replayed: see Result.
func Baselines(p *policies.Policy) []Candidate {
	lo, hi := p.Replicas.Min, p.Replicas.Max
	list := []Candidate{}
	add := func(name string, make func() controller) { list = append(list, candidate(name, p, make)) }
	for _, t := range []struct {
		name string
		of   time.Duration
	}{{"fixed-5m", 5 * time.Minute}, {"fixed-10m", 10 * time.Minute}, {"fixed-15m", 15 * time.Minute}} {
		add(t.name, func() controller { return &fixed{timeout: t.of, min: lo, max: hi} })
	}
	add("kpa", func() controller { return &kpa{min: lo, max: hi} })
	add("hpa-keda", func() controller { return &hpa{min: lo, max: hi} })
	add("nomad-as", func() controller { return &autoscaler{min: lo, max: hi} })
	add("single-5m", func() controller { return &single{timeout: 5 * time.Minute} })
	return list
}

func candidate(name string, p *policies.Policy, make func() controller) Candidate {
	c := Candidate{Name: name, make: make, limits: limits{
		slots: max(1, p.Replicas.Concurrency), gpus: 1, maxHeld: p.Hold.MaxRequests, maxWait: p.Hold.MaxWait,
	}}
	if p.Cost != nil {
		c.price = p.Cost.USDPerHour
	}
	return c
}

// attached is a controller that has to hear what the model does.
type attached interface{ attach(m *model) }

// launches returns a service's draws of the time from a launch until ready.
func (s Setup) launches(service string) func() time.Duration {
	draw := rand.New(rand.NewPCG(s.Seed, hash(service)))
	return func() time.Duration {
		l := s.ColdStart.Seconds()
		if s.ColdSigma > 0 {
			l *= math.Exp(s.ColdSigma * draw.NormFloat64())
		}
		return s.Launch + time.Duration(l*float64(time.Second))
	}
}

// batch is how many requests travel together to the workers.
const batch = 4096

// Replay runs every candidate over the trace, each service of it alone, and
// returns what each has cost and done, in the order of candidates. progress, if
// not nil, is told now and then how far the trace has been read, in virtual time;
// it may be called from any goroutine, never twice at once. Errors: what source
// says, and ctx's.
func Replay(ctx context.Context, source Source, setup Setup, list []Candidate, progress func(at time.Duration, requests uint64)) (*Report, error) {
	if setup.GPUs < 1 {
		setup.GPUs = 1
	}
	runs := make([]*run, len(list), len(list)+1)
	for i := range list {
		runs[i] = newRun(setup, list[i])
	}
	limit := newLimit(setup, list)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := min(max(1, runtime.GOMAXPROCS(0)), len(runs)+1)
	feeds := make([]chan []Request, workers)
	var work sync.WaitGroup
	for w := range workers {
		feeds[w] = make(chan []Request, 4)
		work.Go(func() {
			for requests := range feeds[w] {
				for i := w; i <= len(runs); i += workers {
					if ctx.Err() != nil {
						break
					}
					if i == len(runs) {
						limit.take(requests)
					} else {
						runs[i].take(requests)
					}
				}
			}
		})
	}
	last, n, err := deliver(ctx, source, feeds, progress)
	for _, f := range feeds {
		close(f)
	}
	work.Wait()
	if err != nil {
		return nil, err
	}
	last = max(last, setup.Lasts)
	return finish(ctx, setup, last, n, runs, limit)
}

// deliver reads the source to its end, in batches, to every worker.
func deliver(ctx context.Context, source Source, feeds []chan []Request, progress func(time.Duration, uint64)) (last time.Duration, n uint64, err error) {
	for {
		requests := make([]Request, 0, batch)
		var end error
		for len(requests) < batch {
			r, err := source.Next()
			if err != nil {
				end = err
				break
			}
			requests = append(requests, r)
		}
		if end != nil && !errors.Is(end, io.EOF) {
			return 0, 0, end
		}
		if len(requests) > 0 {
			last = requests[len(requests)-1].At
			n += uint64(len(requests))
			for _, f := range feeds {
				select {
				case f <- requests:
				case <-ctx.Done():
					return 0, 0, ctx.Err()
				}
			}
		}
		if progress != nil {
			progress(last, n)
		}
		if end != nil {
			return last, n, ctx.Err()
		}
	}
}

// run is one candidate over all services.
type run struct {
	setup    Setup
	of       Candidate
	services map[string]*model
	order    []string
}

func newRun(setup Setup, c Candidate) *run {
	c.limits.gpus = setup.GPUs
	return &run{setup: setup, of: c, services: map[string]*model{}}
}

func (r *run) take(requests []Request) {
	for i := range requests {
		q := &requests[i]
		m := r.services[q.Service]
		if m == nil {
			m = r.begin(q.Service)
		}
		m.arrive(q.At, q.Seconds)
	}
}

func (r *run) begin(service string) *model {
	c := r.of.make()
	m := newModel(r.of.limits, c, r.setup.launches(service))
	if a, ok := c.(attached); ok {
		a.attach(m)
	}
	if r.setup.Series > 0 {
		m.series = &series{step: r.setup.Series}
	}
	r.services[service] = m
	r.order = append(r.order, service)
	return m
}

// end pools the services once the trace is over.
func (r *run) end(ctx context.Context, at time.Duration) (pool tally, all []Point) {
	slices.Sort(r.order)
	for _, name := range r.order {
		if ctx.Err() != nil {
			return
		}
		m := r.services[name]
		m.end(at)
		pool.add(&m.figures)
		if m.series != nil {
			all = addPoints(all, m.series.points)
		}
	}
	return pool, all
}

// addPoints sums the series of services, moment by moment.
func addPoints(sum, points []Point) []Point {
	for i, p := range points {
		if i == len(sum) {
			sum = append(sum, Point{AtS: p.AtS})
		}
		sum[i].Wanted += p.Wanted
		sum[i].Ready += p.Ready
		sum[i].Held += p.Held
		sum[i].Demand += p.Demand
	}
	return sum
}

// limit computes the clairvoyant bounds of every service.
type limit struct {
	setup    Setup
	slots    int
	price    *float64
	services map[string]*bounds
}

func newLimit(setup Setup, list []Candidate) *limit {
	l := &limit{setup: setup, slots: 1, services: map[string]*bounds{}}
	if len(list) > 0 {
		l.slots, l.price = list[0].limits.slots, list[0].price
	}
	return l
}

func (l *limit) take(requests []Request) {
	for i := range requests {
		q := &requests[i]
		b := l.services[q.Service]
		if b == nil {
			b = &bounds{slots: l.slots, gpus: l.setup.GPUs, start: (l.setup.Launch + l.setup.ColdStart).Seconds()}
			l.services[q.Service] = b
		}
		b.arrive(q.At, q.Seconds)
	}
}
