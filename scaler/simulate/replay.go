package simulate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Setup is what all candidates of a replay meet alike.
type Setup struct {
	Seed uint64
	// ColdStart is the median time from a placed launch until the replica is
	// ready; draws are lognormal with ColdSigma (0: always the median).
	ColdStart time.Duration
	ColdSigma float64
	// ColdStarts are such times in seconds as a service has seen them: draws are
	// among these instead, and ColdStart is their median.
	ColdStarts []float64
	// Learned are the cold starts that the policy knows of when the trace begins,
	// in seconds from the decision to the first byte, oldest first.
	Learned []float64
	// Begins is the trace's first moment; zero: a Monday at midnight UTC. Schedules
	// and times of day go by it.
	Begins time.Time
	// Workers is how many processors a replay takes; 0: all.
	Workers int
	// Launch is the time from a launch until it is placed.
	Launch time.Duration
	// GPUs of a replica whose candidate says nothing of it; 0: what the first candidate's policy says in cost.gpu.
	GPUs int
	// Series is the step in which every candidate's series is kept; 0: there is none.
	Series time.Duration
	// Drawn is how many candidates have a series, from the first on; 0: all.
	Drawn int
	// Lasts is the length of the trace if that is longer than its last request.
	Lasts time.Duration
	// Seeds is how many draws of cold starts every candidate meets, with Seed,
	// Seed+1 and so on: figures are the medians over them, series those of the
	// first. 0 is 1.
	Seeds int
}

// DefaultSetup: cold starts of 120 s, lognormal with σ 0.15, half a second to
// be placed.
func DefaultSetup() Setup {
	return Setup{Seed: 1, ColdStart: 2 * time.Minute, ColdSigma: 0.15, Launch: 500 * time.Millisecond}
}

// attached is a controller that has to hear what the model does.
type attached interface{ attach(m *model, setup *Setup) }

// launches returns a service's draws of the time from a launch until ready.
func (s Setup) launches(service string, seed uint64) func() time.Duration {
	draw := rand.New(rand.NewPCG(seed, hash(service)))
	return func() time.Duration {
		l := s.ColdStart.Seconds()
		switch {
		case len(s.ColdStarts) > 0:
			l = s.ColdStarts[draw.IntN(len(s.ColdStarts))]
		case s.ColdSigma > 0:
			l *= math.Exp(s.ColdSigma * draw.NormFloat64())
		}
		return s.Launch + time.Duration(l*float64(time.Second))
	}
}

func (s Setup) begins() time.Time {
	if s.Begins.IsZero() {
		return epoch
	}
	return s.Begins.Round(0).UTC()
}

func (s Setup) workers() int {
	if s.Workers > 0 {
		return s.Workers
	}
	return max(1, runtime.GOMAXPROCS(0))
}

// batch is how many requests travel together to the workers.
const batch = 4096

// batchSpan is how much virtual time travels together at most, so that a replay of
// a few requests in two weeks can be followed, and ended, too.
const batchSpan = 6 * time.Hour

// progressMeter tells how far all runs have come, on average.
type progressMeter struct {
	tell func(at time.Duration, requests uint64)

	mu       sync.Mutex      // held while it tells
	at       []time.Duration // how far each run is
	sum      time.Duration
	requests uint64
}

// moved notes that a run has taken a batch.
func (p *progressMeter) moved(run int, batch []Request) {
	if p.tell == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests += uint64(len(batch))
	p.sum += batch[len(batch)-1].At - p.at[run]
	p.at[run] = batch[len(batch)-1].At
	p.tell(p.sum/time.Duration(len(p.at)), p.requests/uint64(len(p.at)))
}

// Replay runs every candidate over the trace, each service of it alone, and
// returns what each has cost and done, in the order of candidates. progress, if
// not nil, is told now and then how far the candidates have come, on average, in
// virtual time and requests; it may be called from any goroutine, never twice at
// once, and must not block. Errors: what source says, ctx's, and *FaultError.
func Replay(ctx context.Context, source Source, setup Setup, list []Candidate, progress func(at time.Duration, requests uint64)) (*Report, error) {
	if setup.GPUs == 0 && len(list) > 0 {
		setup.GPUs = list[0].gpus
	}
	setup.GPUs, setup.Seeds = max(1, setup.GPUs), max(1, setup.Seeds)
	runs := make([]*run, 0, len(list)*setup.Seeds)
	for n, c := range list {
		for i := range setup.Seeds {
			drawn := i == 0 && (setup.Drawn == 0 || n < setup.Drawn)
			runs = append(runs, newRun(setup, c, setup.Seed+uint64(i), drawn))
		}
	}
	limit := newLimit(setup, list)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	guarded := func(work func()) {
		defer func() {
			if fault := recover(); fault != nil {
				cancel(&FaultError{Fault: fault, Stack: debug.Stack()})
			}
		}()
		work()
	}
	workers := min(setup.workers(), len(runs)+1)
	feeds := make([]chan []Request, workers)
	far := &progressMeter{tell: progress, at: make([]time.Duration, len(runs)+1)}
	var work sync.WaitGroup
	for w := range workers {
		feeds[w] = make(chan []Request, 4)
		work.Go(func() {
			for requests := range feeds[w] {
				guarded(func() {
					for i := w; i <= len(runs) && ctx.Err() == nil; i += workers {
						if i == len(runs) {
							limit.take(requests)
						} else {
							runs[i].take(ctx, requests)
						}
						far.moved(i, requests)
					}
				})
			}
		})
	}
	var last time.Duration
	var n uint64
	var err error
	guarded(func() { last, n, err = deliver(ctx, source, feeds) })
	for _, f := range feeds {
		close(f)
	}
	work.Wait()
	var rep *Report
	if err == nil {
		rep, err = finish(ctx, setup, max(last, setup.Lasts), n, runs, limit, guarded)
	}
	var fault *FaultError
	if errors.As(context.Cause(ctx), &fault) {
		return nil, fault
	}
	return rep, err
}

// FaultError says that a decision, the model or the source panicked: a fault of the program, which
// ends the replay and nothing else. Drafts are replayed by processes that serve.
type FaultError struct {
	Fault any
	Stack []byte // of where it happened
}

func (e *FaultError) Error() string { return fmt.Sprintf("the replay failed: %v", e.Fault) }

// deliver reads the source to its end, in batches, to every worker.
func deliver(ctx context.Context, source Source, feeds []chan []Request) (last time.Duration, n uint64, err error) {
	room := 64
	for {
		requests := make([]Request, 0, room)
		var end error
		for len(requests) < batch {
			r, err := source.Next()
			if err != nil {
				end = err
				break
			}
			requests = append(requests, r)
			if r.At-requests[0].At > batchSpan {
				break
			}
		}
		if end != nil && !errors.Is(end, io.EOF) {
			return 0, 0, end
		}
		if err := ctx.Err(); err != nil { // the select below chooses at random
			return 0, 0, err
		}
		if len(requests) > 0 {
			room = min(2*len(requests), batch)
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
		if end != nil {
			return last, n, ctx.Err()
		}
	}
}

// run is one candidate over all services, with one draw of cold starts.
type run struct {
	setup    Setup
	of       Candidate
	seed     uint64
	series   *series // nil: it is not asked for
	waits    waitTimes
	services map[string]*model
	order    []string
}

func newRun(setup Setup, c Candidate, seed uint64, drawn bool) *run {
	c.limits.gpus = cmp.Or(c.GPUs, setup.GPUs)
	r := &run{setup: setup, of: c, seed: seed, services: map[string]*model{}}
	if drawn && setup.Series > 0 {
		r.series = &series{step: setup.Series}
	}
	return r
}

func (r *run) take(ctx context.Context, requests []Request) {
	for i := range requests {
		q := &requests[i]
		m := r.services[q.Service]
		if m == nil {
			m = r.begin(q.Service)
		}
		if !reach(ctx, m, q.At) {
			return
		}
		m.arrive(q.At, q.Seconds)
	}
}

// reach lets everything happen up to about at; false if ctx ends meanwhile: years
// without a request take seconds where a replica is kept.
func reach(ctx context.Context, m *model, at time.Duration) bool {
	for at-m.now > batchSpan {
		if ctx.Err() != nil {
			return false
		}
		m.advance(m.now + batchSpan)
	}
	return true
}

func (r *run) begin(service string) *model {
	c := r.of.control(service)
	m := newModel(r.of.limits, c, r.setup.launches(service, r.seed))
	m.figures.waits = &r.waits
	if a, ok := c.(attached); ok {
		a.attach(m, &r.setup)
	}
	if r.series != nil {
		m.trail = &trail{of: r.series}
	}
	r.services[service] = m
	r.order = append(r.order, service)
	return m
}

// end pools the services once the trace is over.
func (r *run) end(ctx context.Context, at time.Duration) (pool tally, points []Point) {
	pool.waits = &r.waits
	slices.Sort(r.order) // sums of fractions depend on their order
	for _, name := range r.order {
		m := r.services[name]
		if ctx.Err() != nil || !reach(ctx, m, at) {
			return
		}
		m.end(at)
		pool.add(&m.figures)
	}
	if r.series != nil {
		points = r.series.points
	}
	return pool, points
}

// limit computes the clairvoyant bounds of every service.
type limit struct {
	setup    Setup
	slots    int
	price    *float64
	services map[string]*bounds
	first    time.Duration // when the first request came
}

func newLimit(setup Setup, list []Candidate) *limit {
	l := &limit{setup: setup, slots: 1, services: map[string]*bounds{}}
	if len(list) > 0 {
		l.slots, l.price = list[0].limits.slots, list[0].price
	}
	return l
}

func (l *limit) take(requests []Request) {
	if len(l.services) == 0 {
		l.first = requests[0].At
	}
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

// parallel calls fn with every index below n, on so many processors, and waits.
func parallel(workers, n int, fn func(i int)) {
	var work sync.WaitGroup
	var next atomic.Int64
	for range min(workers, n) {
		work.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				fn(i)
			}
		})
	}
	work.Wait()
}
