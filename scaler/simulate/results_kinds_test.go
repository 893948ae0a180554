package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// kind is a kind of load, drawn: many of them, small, to see where the decisions
// are bad, not how good they are on one.
type kind struct {
	name    string
	slots   int     // of a replica
	seconds float64 // mean time in a slot; lognormal, σ 0.8
	times   times
}

// times are the seconds at which requests come.
type times func(r *rand.Rand) []float64

var kindColdStarts = []time.Duration{30 * time.Second, 2 * time.Minute, 6 * time.Minute}

const (
	kindServices = 2
	kindSeeds    = 3
	minute, hour = 60.0, 3600.0
)

var kinds = []kind{
	{"steady, 0.01 Erlang", 8, 5, steady(0.002, 5*day)},
	{"steady, 0.05 Erlang", 8, 30, steady(1/600., 5*day)},
	{"steady, 0.1 Erlang of short requests", 8, 1, steady(0.1, 2*day)},
	{"steady, 0.5 Erlang", 8, 5, steady(0.1, 2*day)},
	{"steady, 2 Erlang, one slot", 1, 5, steady(0.4, 2*day)},
	{"steady, 6 Erlang", 8, 5, steady(1.2, day)},
	{"steady, 30 Erlang", 8, 30, steady(1, day)},
	{"steady, 30 Erlang of short requests, four slots", 4, 3, steady(10, day/3)},
	{"steady, 5 Erlang of requests of 5 min", 8, 300, steady(5/300., 3*day)},
	{"32 Erlang for 10 min, 10 min off", 8, 5, joined(stretches(10*minute, 10*minute, 6.4, day/2), steady(0.1, day/2))},
	{"32 Erlang for 10 min, 10 min of nothing", 8, 5, stretches(10*minute, 10*minute, 6.4, day/2)},
	{"8 Erlang for 5 min, 10 min off, four slots", 4, 5, joined(stretches(5*minute, 10*minute, 1.6, day), steady(0.1, day))},
	{"5 Erlang for 7 min, 7 min off, two slots", 2, 5, joined(stretches(7*minute, 7*minute, 1, day), steady(0.02, day))},
	{"20 Erlang for 20 min, 40 min off", 8, 10, joined(stretches(20*minute, 40*minute, 2, day), steady(0.02, day))},
	{"40 Erlang for 5 min each hour", 8, 10, joined(stretches(5*minute, 55*minute, 4, 2*day), steady(0.05, 2*day))},
	{"20 Erlang for 2 min, 2 min off", 8, 3, joined(stretches(2*minute, 2*minute, 7, day/2), steady(0.05, day/2))},
	{"20 Erlang for 30 s, 5 min off", 8, 2, joined(stretches(30, 5*minute, 10, day), steady(0.05, day))},
	{"16 Erlang for about 10 min, about 10 min off", 8, 5, joined(episodes(10*minute, 10*minute, 3.2, day), steady(0.1, day))},
	{"10 Erlang for about 5 min, about 30 min off, two slots", 2, 5, joined(episodes(5*minute, 30*minute, 2, 2*day), steady(0.02, 2*day))},
	{"1 Erlang for about 20 min, about 2 h of nothing", 8, 5, episodes(20*minute, 2*hour, 0.2, 5*day)},
	{"1 Erlang for about 5 min, about 1 h of nothing", 8, 5, episodes(5*minute, hour, 0.2, 5*day)},
	{"4 Erlang for about 1 min, about 15 min of nothing", 8, 2, episodes(minute, 15*minute, 2, 3*day)},
	{"12 Erlang for about 1 h, about 5 h of nothing", 8, 10, episodes(hour, 5*hour, 1.2, 5*day)},
	{"8 at once every 5 min or so, beside 0.5 Erlang", 8, 5, joined(batches(5*minute, 0.3, 8, 8, day), steady(0.1, day))},
	{"10 to 50 at once, every 45 min by chance", 8, 10, batches(45*minute, 1, 10, 50, 5*day)},
	{"3 to 5 at once, every 20 min by chance", 8, 10, batches(20*minute, 1, 3, 5, 4*day)},
	{"30 at once every 10 min or so", 8, 2, batches(10*minute, 0.5, 30, 30, 3*day)},
	{"200 at once every 2 h or so", 8, 20, batches(2*hour, 0.3, 200, 200, 5*day)},
	{"4 at once every 3 h or so, one slot", 1, 60, batches(3*hour, 0.5, 4, 4, 7*day)},
	{"one each hour, to the minute", 8, 20, batches(hour, 0, 1, 1, 5*day)},
	{"20 at once each hour, to the minute", 8, 20, batches(hour, 0, 20, 20, 5*day)},
	{"one every 10 min, to the minute", 8, 5, batches(10*minute, 0, 1, 1, 4*day)},
	{"100 at once every 6 h, to the minute", 8, 20, batches(6*hour, 0, 100, 100, 7*day)},
	{"office hours, 5 Erlang", 8, 5, shaped(1, 7*day, officeHours)},
	{"office hours, 0.2 Erlang", 8, 5, shaped(0.04, 14*day, officeHours)},
	{"office hours, 0.03 Erlang", 8, 15, shaped(0.002, 14*day, officeHours)},
	{"office hours, 40 Erlang, at once at nine", 8, 10, shaped(4, 3*day, officeHours)},
	{"a day of up to 20 Erlang", 8, 10, shaped(2, 2*day, wholeDay)},
	{"a day of up to 0.1 Erlang", 8, 5, shaped(0.02, 7*day, wholeDay)},
	{"Pareto gaps of a minute and more, exponent 0.9", 8, 4, pareto(60, 0.9, 7*day)},
	{"Pareto gaps of two minutes and more, exponent 1.3", 8, 10, pareto(120, 1.3, 5*day)},
	{"people who chat: some requests each, a minute apart", 8, 8, sessions},
	{"twice 60 Erlang for half an hour, beside 5", 8, 5, joined(steady(1, day), during(8*hour, hour/2, 11), during(16*hour, hour/2, 11))},
	{"minutes apart for three days, then hours apart", 8, 5, joined(episodes(minute, 4*minute, 0.3, 3*day), later(3*day, episodes(5*minute, 90*minute, 0.3, 3*day)))},
}

func steady(rate, over float64) times {
	return func(r *rand.Rand) []float64 { return poissonTimes(r, rate, 0, over) }
}

func during(from, long, rate float64) times {
	return func(r *rand.Rand) []float64 { return poissonTimes(r, rate, from, long) }
}

func later(by float64, t times) times {
	return func(r *rand.Rand) []float64 {
		list := t(r)
		for i := range list {
			list[i] += by
		}
		return list
	}
}

func joined(parts ...times) times {
	return func(r *rand.Rand) (list []float64) {
		for _, part := range parts {
			list = append(list, part(r)...)
		}
		return list
	}
}

// stretches of load with a rate follow each other, all of one length and one gap.
func stretches(on, off, rate, over float64) times {
	return func(r *rand.Rand) (list []float64) {
		for at := 0.0; at < over; at += on + off {
			list = append(list, poissonTimes(r, rate, at, on)...)
		}
		return list
	}
}

// episodes are stretches whose lengths and gaps are exponential.
func episodes(on, off, rate, over float64) times {
	return func(r *rand.Rand) (list []float64) {
		for at := off * r.ExpFloat64(); at < over; {
			lasts := on * r.ExpFloat64()
			list = append(list, poissonTimes(r, rate, at, lasts)...)
			at += lasts + off*r.ExpFloat64()
		}
		return list
	}
}

// batches of least to most requests come within 5 s each; a share of each gap is
// exponential.
func batches(every, chance float64, least, most int, over float64) times {
	return func(r *rand.Rand) (list []float64) {
		for at := 0.0; at < over; at += every * (1 - chance + chance*r.ExpFloat64()) {
			for range least + r.IntN(most-least+1) {
				list = append(list, at+5*r.Float64())
			}
		}
		return list
	}
}

// shaped has a rate that is a share of the peak, by the time.
func shaped(peak, over float64, share func(at float64) float64) times {
	return func(r *rand.Rand) (list []float64) {
		for _, at := range poissonTimes(r, peak, 0, over) {
			if r.Float64() < share(at) {
				list = append(list, at)
			}
		}
		return list
	}
}

func wholeDay(at float64) float64 { return 0.5 - 0.5*math.Cos(2*math.Pi*at/day) }

func officeHours(at float64) float64 {
	weekday, of := int(at/day)%7, math.Mod(at, day)/hour
	switch {
	case weekday >= 5 || of < 9 || of >= 17.5:
		return 0.01
	case of >= 12 && of < 13:
		return 0.4
	}
	return 1
}

func pareto(least, exponent, over float64) times {
	return func(r *rand.Rand) (list []float64) {
		gap := func() float64 { return least * math.Pow(1-r.Float64(), -1/exponent) }
		for at := gap(); at < over; at += gap() {
			list = append(list, at)
		}
		return list
	}
}

func sessions(r *rand.Rand) (list []float64) {
	for _, at := range poissonTimes(r, 3/hour, 0, 5*day) {
		for n := 1 + int(6*r.ExpFloat64()); n > 0; n-- {
			list = append(list, at)
			at += 8 + minute*r.ExpFloat64()
		}
	}
	return list
}

// requests of all services, by time.
func (k kind) requests() []Request {
	const sigma = 0.8
	return drawRequests(k.name, "service", kindServices, k.times, func(r *rand.Rand) float64 {
		return k.seconds * math.Exp(sigma*r.NormFloat64()-sigma*sigma/2)
	})
}

// compared is J₂ of the defaults over the lowest of all that scale from zero as far,
// and which that is.
func (k kind) compared(tb testing.TB, cold time.Duration) (share float64, best string) {
	tb.Helper()
	p := judged()
	p.Replicas.Concurrency = k.slots
	list := []Candidate{Policy("defaults", p)}
	for _, c := range Baselines(p) {
		if c.Name != NomadAS && c.Name != Single { // they have bounds of their own
			list = append(list, c)
		}
	}
	results := replayUpToPeaks(tb, k.requests(), k.slots, cold, kindSeeds, func(peaks map[string]int) []Candidate { return UpTo(peaks, list) })
	least := math.Inf(1)
	for _, r := range results[1:] {
		if j := r.J(defaultTheta); r.Name != AlwaysOn && j < least {
			least, best = j, r.Name
		}
	}
	return results[0].J(defaultTheta) / least, best
}

// row of a kind, and its shares.
func (k kind) row(tb testing.TB) (row string, shares []float64) {
	row = fmt.Sprintf("| %s |", k.name)
	for _, cold := range kindColdStarts {
		share, best := k.compared(tb, cold)
		shares = append(shares, share)
		cell := fmt.Sprintf("%.2f %s", share, best)
		if share > 1+tie {
			cell = fmt.Sprintf("**%.2f** %s", share, best)
		}
		row += " " + cell + " |"
	}
	return row, shares
}

// writeKinds says on which kinds of load another way to scale is cheaper.
func writeKinds(tb testing.TB, line func(string, ...any)) {
	line("## Many kinds of load\n")
	line("J₂ of the defaults over that of the best of the three idle timeouts, KPA and HPA with KEDA in hindsight, kind by kind, which is named: below 1 none of the five is as cheap. %d services each, up to their peak, medians over %d draws of cold starts. The decisions were changed where some of these kinds came out badly, and two constants chosen among three values each, as the notes say, on other draws than these.\n", kindServices, kindSeeds)
	row, rule := "| load |", "|---|"
	for _, cold := range kindColdStarts {
		row += fmt.Sprintf(" %.0f s |", cold.Seconds())
		rule += "---|"
	}
	line("%s\n%s", row, rule)
	var sum, worst float64
	n, lowest, even := 0, 0, 0
	for _, k := range kinds {
		row, shares := k.row(tb)
		line("%s", row)
		for _, s := range shares {
			n, sum, worst = n+1, sum+math.Log(s), max(worst, s)
			switch {
			case s <= 1:
				lowest++
			case s <= 1+tie:
				even++
			}
		}
	}
	line("\nThe defaults have the lowest J₂ in %d of %d, and are within 1 %% of it in %d; the geometric mean is %.3f, the worst %.2f.\n", lowest, n, even, math.Exp(sum/float64(n)), worst)
}
