package loadgen

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Range and precision of Report's histograms: 1 µs to one hour, three digits.
const (
	lowestUS  = 1
	highestUS = int64(time.Hour / time.Microsecond)
	digits    = 3
)

// maxSamples bounds Report.Samples.
const maxSamples = 10

// Report of a Run. Sent = Σ Codes + Errors + Aborted.
type Report struct {
	Sent    int           // requests begun
	Codes   map[int]int   // answers read to their end, by status
	Errors  int           // requests without a whole answer
	Aborted int           // of those begun, cut by the end of Run's context
	Wrong   int           // answers that Check refused
	Cold    int           // answers with Pilotlight-Cold-Start: true
	Late    int           // open loop: begun more than 10 ms after they were due
	Elapsed time.Duration // from the first request to the last answer

	// Latency in microseconds of whole answers, whatever their status: from when
	// the request was begun (closed loop) or due (open loop) to the end of the
	// body. ColdLatency has those of Cold only.
	Latency     *hdrhistogram.Histogram
	ColdLatency *hdrhistogram.Histogram

	Samples []error // the first few errors and refusals
}

func newReport() Report {
	return Report{
		Codes:       make(map[int]int),
		Latency:     hdrhistogram.New(lowestUS, highestUS, digits),
		ColdLatency: hdrhistogram.New(lowestUS, highestUS, digits),
	}
}

// record adds one answer.
func (r *Report) record(code int, latency time.Duration, cold bool) {
	r.Codes[code]++
	us := min(max(latency.Microseconds(), lowestUS), highestUS)
	_ = r.Latency.RecordValue(us) // in range, so it cannot fail
	if cold {
		r.Cold++
		_ = r.ColdLatency.RecordValue(us)
	}
}

func (r *Report) sample(err error) {
	if len(r.Samples) < maxSamples {
		r.Samples = append(r.Samples, err)
	}
}

// Quantile is the latency that percent of the answers did not exceed; 0 without
// answers.
func (r Report) Quantile(percent float64) time.Duration {
	return time.Duration(r.Latency.ValueAtPercentile(percent)) * time.Microsecond
}

// PerSecond is the rate of whole answers.
func (r Report) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Latency.TotalCount()) / r.Elapsed.Seconds()
}

func (r Report) String() string {
	return fmt.Sprintf("%d sent in %s, %.0f/s, codes %v, %d errors, %d aborted, %d wrong, %d cold, p50 %s, p99 %s, max %s",
		r.Sent, r.Elapsed.Round(time.Millisecond), r.PerSecond(), r.Codes, r.Errors, r.Aborted, r.Wrong, r.Cold,
		r.Quantile(50), r.Quantile(99), time.Duration(r.Latency.Max())*time.Microsecond)
}
