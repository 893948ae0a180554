package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pilotlight/pilotlight/policies"
)

// listed is a Source over a list.
type listed struct {
	requests []Request
	at       int
}

func (l *listed) Next() (Request, error) {
	if l.at == len(l.requests) {
		return Request{}, io.EOF
	}
	l.at++
	return l.requests[l.at-1], nil
}

// poisson is a service's requests with a mean number per second, over a time.
func poisson(seed uint64, service string, perSecond, seconds float64, over time.Duration) []Request {
	draw := rand.New(rand.NewPCG(seed, 1))
	var list []Request
	for at := 0.0; ; {
		at += draw.ExpFloat64() / perSecond
		if at > over.Seconds() {
			return list
		}
		list = append(list, Request{At: time.Duration(at * float64(time.Second)), Service: service, Seconds: seconds * draw.ExpFloat64()})
	}
}

func basic(lo, hi int) *policies.Policy {
	p := policies.New("chat")
	p.Replicas.Min, p.Replicas.Max, p.Replicas.Concurrency = lo, hi, 4
	p.Hold.MaxRequests, p.Hold.MaxWait = 1_000_000, 1000*24*time.Hour
	return p
}

func replay(t testing.TB, requests []Request, setup Setup, list []Candidate) *Report {
	t.Helper()
	rep, err := Replay(context.Background(), &listed{requests: requests}, setup, list, nil)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func TestOneSeedGivesTheSameBytesOnAnyNumberOfProcessors(t *testing.T) {
	requests := poisson(3, "chat", 0.05, 20, 6*time.Hour)
	list := append([]Candidate{Policy("policy", basic(0, 5))}, Baselines(basic(0, 5))...)
	setup := DefaultSetup()
	setup.Series = time.Minute
	var texts [3]string
	for i, n := range []int{1, 4, 4} {
		if i == 2 {
			setup.Seed = 2
		}
		before := runtime.GOMAXPROCS(n)
		rep := replay(t, requests, setup, list)
		text, err := json.Marshal(rep)
		runtime.GOMAXPROCS(before)
		page := bytes.NewBuffer(text)
		if err != nil || rep.WriteHTML(page) != nil {
			t.Fatal(err)
		}
		texts[i] = page.String()
	}
	if texts[0] != texts[1] {
		t.Error("one processor and four gave different reports")
	}
	if texts[0] == texts[2] {
		t.Error("another seed changed nothing")
	}
}

func TestNobodyBeatsTheClairvoyantBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		requests := poisson(rapid.Uint64().Draw(t, "seed"), "chat",
			rapid.SampledFrom([]float64{0.002, 0.02, 0.2}).Draw(t, "rate"),
			rapid.SampledFrom([]float64{1, 10, 60}).Draw(t, "seconds"),
			time.Duration(rapid.IntRange(1, 180).Draw(t, "minutes"))*time.Minute)
		if len(requests) == 0 {
			return
		}
		lo := rapid.IntRange(0, 8).Draw(t, "min")
		p := basic(lo, lo+rapid.IntRange(1, 10).Draw(t, "more"))
		p.Sizing.Patience = rapid.SampledFrom([]float64{0.1, 2, 16}).Draw(t, "patience")
		p.Sizing.Headroom = rapid.SampledFrom([]float64{0, 0.5, 2}).Draw(t, "headroom")
		// Starts of one length: the bounds take every start for its median.
		setup := Setup{Seed: 1, ColdStart: time.Duration(rapid.IntRange(0, 400).Draw(t, "cold")) * time.Second, Launch: time.Second}
		rep, err := Replay(context.Background(), &listed{requests: requests}, setup,
			append([]Candidate{Policy("policy", p)}, Baselines(p)...), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rep.Results {
			if r.Refused+r.TimedOut > 0 {
				t.Errorf("%s: %d refused, %d timed out of a hold without limits", r.Name, r.Refused, r.TimedOut)
			}
			if r.Name != AlwaysOn && r.GPUSeconds < rep.LowerBound.AnyWaitGPUSeconds*(1-1e-9) {
				t.Errorf("%s needs %v GPU-seconds, less than LB %v", r.Name, r.GPUSeconds, rep.LowerBound.AnyWaitGPUSeconds)
			}
			if r.Name != AlwaysOn && r.WaitedS == 0 && r.GPUSeconds < rep.LowerBound.GPUSeconds*(1-1e-9) {
				t.Errorf("%s lets nobody wait with %v GPU-seconds, less than OPT0 %v", r.Name, r.GPUSeconds, rep.LowerBound.GPUSeconds)
			}
		}
	})
}

func TestAFixedWayToZeroIsExact(t *testing.T) {
	p := basic(0, 1)
	p.ToZero.Mode, p.ToZero.After = "after", 90*time.Second
	requests := []Request{{At: 0, Service: "chat", Seconds: 10}, {At: time.Hour, Service: "chat", Seconds: 10}}
	rep := replay(t, requests, Setup{Seed: 1, ColdStart: time.Minute}, []Candidate{Policy("policy", p)})
	// Twice: 60 s of starting, 10 s of work; the first time 90 s more, exact to a tick.
	if got := rep.Results[0].GPUSeconds; got < 70+90+70 || got > 70+91+70 {
		t.Errorf("%v GPU-seconds, want 230 or 231", got)
	}
	if w := rep.Results[0].AddedWait; w.Mean != 60 || w.Max != 60 {
		t.Errorf("waits %+v, want 60 s each", w)
	}
}

func TestServicesRunAloneAndAreSummed(t *testing.T) {
	a, b := poisson(1, "a", 0.02, 10, time.Hour), poisson(2, "b", 0.02, 10, time.Hour)
	both := merge(a, b)
	list := []Candidate{Policy("policy", basic(0, 3))}
	setup := DefaultSetup()
	setup.Lasts = time.Hour
	ra, rb, rab := replay(t, a, setup, list), replay(t, b, setup, list), replay(t, both, setup, list)
	got, want := rab.Results[0].GPUSeconds, ra.Results[0].GPUSeconds+rb.Results[0].GPUSeconds
	if got < want-1e-6 || got > want+1e-6 {
		t.Errorf("together %v GPU-seconds, alone %v", got, want)
	}
}

func merge(a, b []Request) []Request {
	var out []Request
	for len(a)+len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0].At <= b[0].At {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return out
}

func TestAReplayEndsWhenItIsToldTo(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	requests := poisson(1, "chat", 1, 10, 24*time.Hour)
	_, err := Replay(ctx, &listed{requests: requests}, DefaultSetup(), []Candidate{Policy("policy", basic(0, 3))},
		func(time.Duration, uint64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// drawn is an endless Poisson source cut at n requests: nothing of it is stored.
type drawn struct {
	draw *rand.Rand
	at   float64
	left int
	rate float64
}

func (d *drawn) Next() (Request, error) {
	if d.left == 0 {
		return Request{}, io.EOF
	}
	d.left--
	d.at += d.draw.ExpFloat64() / d.rate
	return Request{At: time.Duration(d.at * float64(time.Second)), Service: "chat", Seconds: 4 * d.draw.ExpFloat64()}, nil
}

func benchmark(b *testing.B, n int, rate float64) {
	for b.Loop() {
		source := &drawn{draw: rand.New(rand.NewPCG(1, 1)), left: n, rate: rate}
		rep, err := Replay(context.Background(), source, DefaultSetup(), []Candidate{Policy("policy", basic(0, 10))}, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(rep.SpanS/86400, "days")
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapSys)/(1<<20), "MiB-heap")
}

func BenchmarkFourteenDaysOfOneService(b *testing.B) { benchmark(b, 14*24*60, 1.0/60) }
func BenchmarkAYearOfOneServiceAtOneAMinute(b *testing.B) {
	benchmark(b, 365*24*60, 1.0/60)
}
func BenchmarkTenMillionRequests(b *testing.B) { benchmark(b, 10_000_000, 5) }

func TestMemoryIsBoundedByWhatWaitsNotByTheTrace(t *testing.T) {
	live := func(n int) (most uint64) {
		source := &drawn{draw: rand.New(rand.NewPCG(1, 1)), left: n, rate: 20}
		list := append([]Candidate{Policy(PolicyName, basic(0, 40))}, Baselines(basic(0, 40))[:2]...)
		_, err := Replay(context.Background(), source, DefaultSetup(), list, func(_ time.Duration, requests uint64) {
			if requests%(5*batch) == 0 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return most
	}
	short, long := live(10*batch), live(80*batch)
	if long > short+short/2+1<<20 {
		t.Errorf("%d bytes live over %d requests, %d over %d", short, 10*batch, long, 80*batch)
	}
}

// Half of the memory of ten thousand services would be for waits that nobody asks
// for by service, and all of it for series that are summed anyway.
func TestAServiceMoreTakesLittleMemory(t *testing.T) {
	allocated := func(services int) uint64 {
		var requests []Request
		for i := range services {
			requests = append(requests, Request{At: time.Duration(i) * time.Second, Service: fmt.Sprint(i), Seconds: 1})
		}
		setup := DefaultSetup()
		setup.Series, setup.Lasts = time.Second, 2*time.Hour
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		replay(t, requests, setup, Baselines(basic(0, 1))[:1])
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	few, many := allocated(10), allocated(210)
	if each := (many - few) / 200; many > few && each > 20<<10 {
		t.Errorf("a service more takes %d bytes", each)
	}
}

func TestAReplayOfYearsWithoutARequestCanBeEnded(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	looks := 0
	years := counted{looks: &looks, at: 1000, then: func() { cancel(errors.New("enough")) }}
	c := candidate("looking", basic(0, 1), func(int, int) controller { return years })
	requests := []Request{{At: 0, Service: "chat", Seconds: 1}, {At: 9 * 365 * 24 * time.Hour, Service: "chat", Seconds: 1}}
	_, err := Replay(ctx, &listed{requests: requests}, DefaultSetup(), []Candidate{c}, nil)
	if perSpan := int(batchSpan / time.Second); !errors.Is(err, context.Canceled) || looks > 1000+2*perSpan {
		t.Errorf("it ended with %v after %d looks", err, looks)
	}
}

// counted looks once a second and calls then when it has looked so often.
type counted struct {
	looks *int
	at    int
	then  func()
}

func (c counted) period() (change, first time.Duration) { return 0, 0 }

func (c counted) look(m *model) (int, time.Duration) {
	if *c.looks++; *c.looks == c.at {
		c.then()
	}
	return 1, m.now + time.Second
}

// broken fails at its third look.
type broken struct{ looks int }

func (b *broken) period() (change, first time.Duration) { return 0, 0 }

func (b *broken) look(m *model) (int, time.Duration) {
	if b.looks++; b.looks == 3 {
		panic("no such replica")
	}
	return 1, m.now + time.Minute
}

func TestADecisionThatFailsEndsItsReplayAndNothingElse(t *testing.T) {
	for name, last := range map[string]time.Duration{"amid the trace": 24 * time.Hour, "after it": 0} {
		c := candidate("broken", basic(0, 1), func(int, int) controller { return &broken{} })
		requests := []Request{{At: 0, Service: "chat", Seconds: 1000}, {At: last, Service: "chat", Seconds: 1}}
		rep, err := Replay(t.Context(), &listed{requests: requests}, DefaultSetup(), []Candidate{c}, nil)
		var fault *FaultError
		if !errors.As(err, &fault) || rep != nil || err.Error() != "the replay failed: no such replica" || !bytes.Contains(fault.Stack, []byte("look")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
