package simulate

import (
	"context"
	"errors"
	"io"
	"time"
)

// bounds is what somebody who knows the future would need: unlimited slots, and
// every start exactly in time. A start takes its median here; a replay draws its
// own, so that one of few launches whose draws were short may stay below: that of
// one lone request by as much as its one draw did.
type bounds struct {
	slots, gpus int
	start       float64 // seconds of a cold start
	busy        completions
	now         time.Duration
	level       int             // n = ceil(D∞/c)
	ended       []time.Duration // of each level: when it was last needed
	peak        int
	inSlots     float64 // ∫n dt, seconds
	between     float64 // L for each level, and min(gap, L) for each of its gaps
	work        float64 // ΣS
	until       time.Duration
}

// arrive moves on to at; a request comes that takes so many seconds.
func (b *bounds) arrive(at time.Duration, seconds float64) {
	b.advance(at)
	b.work += seconds
	b.busy.push(running{at: at + time.Duration(seconds*float64(time.Second))})
	b.settle()
}

func (b *bounds) advance(at time.Duration) {
	for len(b.busy) > 0 && b.busy[0].at <= at {
		b.pass(b.busy[0].at)
		for len(b.busy) > 0 && b.busy[0].at == b.now {
			b.busy.pop()
		}
		b.settle()
	}
	b.pass(at)
}

func (b *bounds) pass(to time.Duration) {
	if to > b.now {
		b.inSlots += float64(b.level) * (to - b.now).Seconds()
		b.now = to
	}
}

// settle lets levels begin or end.
func (b *bounds) settle() {
	n := (len(b.busy) + b.slots - 1) / b.slots
	for ; b.level < n; b.level++ {
		if b.level == len(b.ended) {
			b.ended = append(b.ended, 0)
			b.between += b.start
		} else {
			b.between += min((b.now - b.ended[b.level]).Seconds(), b.start)
		}
	}
	for ; b.level > n; b.level-- {
		b.ended[b.level-1] = b.now
	}
	b.peak = max(b.peak, n)
}

func (b *bounds) end(at time.Duration) {
	b.advance(at)
	for len(b.busy) > 0 {
		b.advance(b.busy[0].at)
	}
	b.until = b.now
}

// zeroWait is OPT0 = ∫n dt + Σ_k (L + Σ_gaps min(g, L)), in GPU-seconds: no
// policy that lets nobody wait needs less.
func (b *bounds) zeroWait() float64 { return (b.inSlots + b.between) * float64(b.gpus) }

// least is LB = ΣS/c + L, in GPU-seconds: no policy needs less, whatever it lets
// wait.
func (b *bounds) least() float64 {
	if b.work == 0 {
		return 0
	}
	return (b.work/float64(b.slots) + b.start) * float64(b.gpus)
}

// Peaks returns how many replicas each service of a trace would need for nobody
// to wait, at its worst moment, if a replica has so many slots. Errors: what
// source says, and ctx's.
func Peaks(ctx context.Context, source Source, slots int) (map[string]int, error) {
	l := limit{setup: Setup{GPUs: 1}, slots: max(1, slots), services: map[string]*bounds{}}
	for n := 0; ; n++ {
		if n%batch == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r, err := source.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		l.take([]Request{r})
	}
	peaks := make(map[string]int, len(l.services))
	for name, b := range l.services {
		peaks[name] = b.peak
	}
	return peaks, nil
}
