package simulate

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Report is what a replay has found.
type Report struct {
	Trace      string    `json:"trace"`
	Policy     string    `json:"policy"`
	Min        int       `json:"min"` // replicas, of the first candidate
	Max        int       `json:"max"`
	Slots      int       `json:"concurrency"` // of a replica
	Requests   uint64    `json:"requests"`
	Services   int       `json:"services"`
	SpanS      float64   `json:"span_s"`
	Begins     time.Time `json:"begins,omitzero"` // zero: not known
	Seed       uint64    `json:"seed"`
	Seeds      int       `json:"seeds"`        // figures are medians over so many draws of cold starts
	ColdStartS float64   `json:"cold_start_s"` // the median
	Results    []Result  `json:"results"`
	LowerBound Bound     `json:"lower_bound"`
	Target     *Target   `json:"target,omitempty"` // see Aim
	// Assumed is what was taken for granted of signals that policies go by and no trace has.
	Assumed []string `json:"assumed,omitempty"`

	Events uint64 `json:"-"` // that were replayed, under all candidates together

	first time.Duration // when the first request came
}

// Bound is what somebody who knows the future would have needed if every start
// took its median.
type Bound struct {
	GPUSeconds         float64 `json:"gpu_seconds"`          // OPT0: nobody waits
	AnyWaitGPUSeconds  float64 `json:"any_wait_gpu_seconds"` // LB: whatever anybody waits
	PeakReplicas       int     `json:"peak_replicas"`        // slots for everybody at the worst moment of each service, all services
	PeakOfOne          int     `json:"peak_of_one_service"`  // of the service with the highest
	MeanReplicasNeeded float64 `json:"mean_replicas_needed"` // over the span
}

// Wait is the added wait of the requests that were answered, in seconds: from
// arrival to release.
type Wait struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
}

// Result is what one candidate has cost and done, all services together.
type Result struct {
	Name         string   `json:"name"`
	Patience     *float64 `json:"patience,omitempty"` // of a point of the sweep
	Headroom     *float64 `json:"headroom,omitempty"`
	GPUSeconds   float64  `json:"gpu_seconds"`
	USD          *float64 `json:"usd"`          // nil: the policy names no price
	ColdStarted  uint64   `json:"cold_started"` // of the answered ones: held while no replica was ready
	Delayed      uint64   `json:"delayed_over_1s"`
	Refused      uint64   `json:"refused"`
	TimedOut     uint64   `json:"timed_out"`
	ScaleActions uint64   `json:"scale_actions"`
	Launches     uint64   `json:"launches"`
	Stops        uint64   `json:"stops"`
	Flips        uint64   `json:"flips"` // launches within 10 min of a stop
	AddedWait    Wait     `json:"added_wait_s"`
	WaitedS      float64  `json:"waited_s"`       // all together
	BusyShare    float64  `json:"busy_share"`     // of the slots that were paid for
	ToLowerBound float64  `json:"to_lower_bound"` // GPU-seconds over OPT0's; 0 if there is none
	ToAnyWait    float64  `json:"to_any_wait_lower_bound"`
	Series       []Point  `json:"series,omitempty"`
}

// AlwaysOn is the name of the result that is computed, not replayed: as many
// replicas as the peak needs, for the whole span, already there at its start.
const AlwaysOn = "always-on"

// J is the cost that a policy with patience theta minimizes, in GPU-seconds.
func (r Result) J(theta float64) float64 { return r.GPUSeconds + theta*r.WaitedS }

func finish(ctx context.Context, setup Setup, last time.Duration, n uint64, runs []*run, limit *limit, guarded func(func())) (*Report, error) {
	rep := &Report{
		Requests: n, Services: len(limit.services), SpanS: last.Seconds(),
		Seed: setup.Seed, Seeds: setup.Seeds, ColdStartS: setup.ColdStart.Seconds(), Results: []Result{}, first: limit.first,
	}
	if !setup.Begins.IsZero() {
		rep.Begins = setup.begins()
	}
	if len(runs) > 0 {
		rep.Min, rep.Max, rep.Slots = runs[0].of.min, runs[0].of.max, runs[0].of.limits.slots
	}
	always := Result{Name: AlwaysOn}
	var work float64
	for _, name := range slices.Sorted(maps.Keys(limit.services)) {
		b := limit.services[name]
		b.end(last)
		rep.LowerBound.GPUSeconds += b.zeroWait()
		rep.LowerBound.AnyWaitGPUSeconds += b.least()
		rep.LowerBound.PeakReplicas += b.peak
		rep.LowerBound.PeakOfOne = max(rep.LowerBound.PeakOfOne, b.peak)
		rep.LowerBound.MeanReplicasNeeded += b.inSlots
		always.GPUSeconds += float64(b.peak*setup.GPUs) * b.until.Seconds()
		work += b.work
	}
	if rep.SpanS > 0 {
		rep.LowerBound.MeanReplicasNeeded /= rep.SpanS
	}
	each, events := make([]Result, len(runs)), make([]uint64, len(runs))
	parallel(setup.workers(), len(runs), func(i int) {
		guarded(func() {
			pool, points := runs[i].end(ctx, last)
			each[i], events[i] = rep.result(runs[i].of, &pool, points), pool.events
		})
	})
	for _, n := range events {
		rep.Events += n
	}
	for i := 0; i < len(each); i += setup.Seeds {
		if c := runs[i].of; c.Patience == nil { // those of the sweep are the policy's
			rep.Assumed = append(rep.Assumed, c.assumed...)
		}
		rep.Results = append(rep.Results, medians(each[i:i+setup.Seeds]))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	always.BusyShare = share(work, always.GPUSeconds, limit.slots, setup.GPUs)
	always.ToLowerBound = ratio(always.GPUSeconds, rep.LowerBound.GPUSeconds)
	always.ToAnyWait = ratio(always.GPUSeconds, rep.LowerBound.AnyWaitGPUSeconds)
	always.USD = usd(limit.price, always.GPUSeconds, setup.GPUs)
	rep.Results = append(rep.Results, always)
	return rep, nil
}

func (rep *Report) result(c Candidate, t *tally, points []Point) Result {
	r := Result{
		Name: c.Name, Patience: c.Patience, Headroom: c.Headroom, GPUSeconds: t.gpuSeconds, USD: usd(c.price, t.gpuSeconds, c.limits.gpus),
		ColdStarted: t.cold, Delayed: t.delayed, Refused: t.refused, TimedOut: t.timedOut,
		ScaleActions: t.actions, Launches: t.launches, Stops: t.stops, Flips: t.flips,
		WaitedS: t.waited, Series: points,
		BusyShare:    share(t.busy, t.gpuSeconds, c.limits.slots, c.limits.gpus),
		ToLowerBound: ratio(t.gpuSeconds, rep.LowerBound.GPUSeconds),
		ToAnyWait:    ratio(t.gpuSeconds, rep.LowerBound.AnyWaitGPUSeconds),
	}
	if t.released > 0 {
		r.AddedWait = Wait{
			Mean: t.waited / float64(t.released),
			P50:  t.quantile(0.5), P95: t.quantile(0.95), P99: t.quantile(0.99), Max: t.longest.Seconds(),
		}
	}
	return r
}

// usd is the price of GPU-seconds at a price per replica and hour.
func usd(price *float64, gpuSeconds float64, gpus int) *float64 {
	if price == nil {
		return nil
	}
	v := gpuSeconds / float64(gpus) / 3600 * *price
	return &v
}

func share(busy, gpuSeconds float64, slots, gpus int) float64 {
	return ratio(busy*float64(gpus), gpuSeconds*float64(slots))
}

func ratio(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return a / b
}
