package simulate

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// drawnTrace is made of a few numbers: no constant was fitted to it. It has several
// services of one kind, so that no verdict rests on the luck of one draw.
type drawnTrace struct {
	name, about string
	tokens      float64 // median of an answer
	times       times
}

const (
	drawnServices = 3
	day           = 86400.0
)

// poissonTimes are seconds at which requests come with a rate, from one moment on
// for so long.
func poissonTimes(r *rand.Rand, rate, from, over float64) (times []float64) {
	for at := from + r.ExpFloat64()/rate; at < from+over; at += r.ExpFloat64() / rate {
		times = append(times, at)
	}
	return times
}

var drawnTraces = []drawnTrace{
	{"poisson", "6 requests an hour, of about 20 s, for 5 days", 800, func(r *rand.Rand) []float64 {
		return poissonTimes(r, 6.0/3600, 0, 5*day)
	}},
	{"bursts", "0.2 requests a second for about 20 minutes, about two hours apart, for 5 days", 60, func(r *rand.Rand) (times []float64) {
		for at := 0.0; at < 5*day; {
			lasts := 1200 * r.ExpFloat64()
			times = append(times, poissonTimes(r, 0.2, at, lasts)...)
			at += lasts + 7200*r.ExpFloat64()
		}
		return times
	}},
	{"batches", "10 to 50 requests within 5 s, about every 45 minutes, for 5 days", 300, func(r *rand.Rand) (times []float64) {
		for _, at := range poissonTimes(r, 1.0/2700, 0, 5*day) {
			for range 10 + r.IntN(41) {
				times = append(times, at+5*r.Float64())
			}
		}
		return times
	}},
	{"sine", "a day that rises to about 12 Erlang and falls to nothing for its half, for 2 days", 450, func(r *rand.Rand) (times []float64) {
		for _, at := range poissonTimes(r, 1, 0, 2*day) {
			if r.Float64() < math.Sin(2*math.Pi*at/day) {
				times = append(times, at)
			}
		}
		return times
	}},
	{"pareto", "gaps of at least a minute by a Pareto law with exponent 0.9, for 7 days", 150, func(r *rand.Rand) (times []float64) {
		for at := 60 * math.Pow(r.Float64(), -1/0.9); at < 7*day; at += 60 * math.Pow(r.Float64(), -1/0.9) {
			times = append(times, at)
		}
		return times
	}},
}

// requests of all services, by time.
func (d drawnTrace) requests() []Request {
	return drawRequests(d.name, d.name, drawnServices, d.times, func(r *rand.Rand) float64 {
		input, output := 50+1450*r.Float64(), d.tokens*math.Exp(0.7*r.NormFloat64())
		return 0.05 + 0.0003*input + 0.025*output
	})
}

// drawRequests draws those of services that are called service and a number, by time;
// name is the seed's. seconds draws a time in a slot.
func drawRequests(name, service string, services int, when times, seconds func(r *rand.Rand) float64) (list []Request) {
	for n := range services {
		r := rand.New(rand.NewPCG(uint64(n), hash(name)))
		for _, at := range when(r) {
			list = append(list, Request{At: time.Duration(at * float64(time.Second)), Service: fmt.Sprint(service, n), Seconds: seconds(r)})
		}
	}
	slices.SortStableFunc(list, func(a, b Request) int { return cmp.Compare(a.At, b.At) })
	return list
}

// replayUpToPeaks returns what candidates cost that know how many replicas each
// service needs at its worst moment, medians over so many draws of cold starts.
func replayUpToPeaks(tb testing.TB, requests []Request, slots int, cold time.Duration, seeds int, list func(peaks map[string]int) []Candidate) []Result {
	tb.Helper()
	peaks, err := Peaks(context.Background(), &listed{requests: requests}, slots)
	if err != nil {
		tb.Fatal(err)
	}
	setup := DefaultSetup()
	setup.ColdStart, setup.Seeds = cold, seeds
	return replay(tb, requests, setup, list(peaks)).Results
}

// replayed are the candidates' figures on a drawn trace, medians over all draws of
// cold starts.
func (d drawnTrace) replayed(tb testing.TB, cold time.Duration, list func(peaks map[string]int) []Candidate) []Result {
	tb.Helper()
	return replayUpToPeaks(tb, d.requests(), judged().Replicas.Concurrency, cold, manySeeds, list)
}

func (d drawnTrace) title(cold time.Duration) string {
	return fmt.Sprintf("%s, %.0f s", d.name, cold.Seconds())
}

// compared are the costs of the defaults and of all that can reach zero.
func (d drawnTrace) compared(tb testing.TB, cold time.Duration) compared {
	results := d.replayed(tb, cold, func(peaks map[string]int) []Candidate {
		one := judged()
		one.Replicas.Max = 1
		list := UpTo(peaks, append([]Candidate{Policy("defaults", judged())}, Baselines(judged())...))
		return append(list, Policy("one", one))
	})
	named := func(name string) Result {
		return results[slices.IndexFunc(results, func(r Result) bool { return r.Name == name })]
	}
	return compared{title: d.title(cold), own: named("defaults"), one: named("one"), baseline: named}
}

// writeDrawn compares costs on the drawn traces.
func writeDrawn(tb testing.TB, line func(string, ...any)) {
	line("## On drawn traces\n")
	line("%d drawn services each, medians over %d draws of cold starts; J₂ as above.\n", drawnServices, manySeeds)
	for _, d := range drawnTraces {
		line("- *%s*: %s", d.name, d.about)
	}
	line("")
	var list []compared
	for _, cold := range resultColdStarts {
		for _, d := range drawnTraces {
			list = append(list, d.compared(tb, cold))
		}
	}
	writeCosts(line, list)
}
