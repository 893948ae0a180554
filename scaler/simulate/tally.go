package simulate

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// flipWithin is how soon after a stop a launch says that the stop was wrong.
const flipWithin = 10 * time.Minute

// tally is what one service has cost and done under one controller.
type tally struct {
	events     uint64 // arrivals, completions, replicas ready, waits over, looks
	requests   uint64
	released   uint64
	cold       uint64 // released, and held while no replica was ready
	delayed    uint64 // held for more than a second
	refused    uint64
	timedOut   uint64
	waited     float64 // seconds, all together
	longest    time.Duration
	waits      *waitTimes // of those that waited; all services of a run have one
	gpuSeconds float64
	busy       float64 // seconds in slots
	actions    uint64
	launches   uint64
	stops      uint64
	flips      uint64
	lastStop   time.Duration
	stopped    bool
	until      time.Duration
}

// waitTimes tells quantiles of waits. What it counts takes 150 KB, and nobody asks
// for those of one service alone: a trace may have ten thousand.
type waitTimes struct {
	histogram *hdrhistogram.Histogram // milliseconds; made at the first
}

const (
	longestWait = 48 * 3600 * 1000 // milliseconds that the histogram tells apart
	digits      = 3
)

func (w *waitTimes) add(wait time.Duration) {
	if w.histogram == nil {
		w.histogram = hdrhistogram.New(1, longestWait, digits)
	}
	_ = w.histogram.RecordValue(min(max(1, wait.Milliseconds()), longestWait)) // within its bounds
}

func (t *tally) release(wait time.Duration, cold bool) {
	t.released++
	if wait <= 0 {
		return
	}
	t.waited += wait.Seconds()
	t.longest = max(t.longest, wait)
	if cold {
		t.cold++
	}
	if wait > time.Second {
		t.delayed++
	}
	t.waits.add(wait)
}

func (t *tally) launch(now time.Duration) {
	t.launches++
	if t.stopped && now-t.lastStop <= flipWithin {
		t.flips++
	}
}

func (t *tally) stop(now time.Duration, cost float64) {
	t.stops++
	t.lastStop, t.stopped = now, true
	t.gpuSeconds += cost
}

// add pools the tally of another service of the same run.
func (t *tally) add(o *tally) {
	t.events += o.events
	t.requests += o.requests
	t.released += o.released
	t.cold += o.cold
	t.delayed += o.delayed
	t.refused += o.refused
	t.timedOut += o.timedOut
	t.waited += o.waited
	t.longest = max(t.longest, o.longest)
	t.gpuSeconds += o.gpuSeconds
	t.busy += o.busy
	t.actions += o.actions
	t.launches += o.launches
	t.stops += o.stops
	t.flips += o.flips
	t.until = max(t.until, o.until)
}

// quantile of the added wait in seconds, of a whole run: most requests wait for nothing and are
// not in the histogram.
func (t *tally) quantile(q float64) float64 {
	waits := t.waits.histogram
	if waits == nil || t.released == 0 {
		return 0
	}
	free := float64(t.released) - float64(waits.TotalCount())
	rank := q * float64(t.released)
	if rank <= free {
		return 0
	}
	share := (rank - free) / float64(waits.TotalCount()) * 100
	return min(float64(waits.ValueAtQuantile(min(share, 100)))/1000, t.longest.Seconds()) // a bin's end may be beyond all in it
}
