package localfleet

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// BenchmarkScaleToProcessStarted measures from the call of Scale to the report
// of a started process, with the time that forking and executing the same
// program takes by itself.
func BenchmarkScaleToProcessStarted(b *testing.B) {
	f, err := New(Config{Dir: filepath.Join(b.TempDir(), "fleet")})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	changes := make(chan struct{}, 1)
	go func() { ended <- f.Run(ctx) }()
	go func() {
		ended <- f.Watch(ctx, func(jobs.Ref) {
			select {
			case changes <- struct{}{}:
			default:
			}
		})
	}()
	defer func() {
		cancel()
		<-ended
		<-ended
	}()
	spec := testSpec("", nil)
	spec.Groups[0].Tasks[0].Command, spec.Groups[0].Tasks[0].Args = "/bin/sleep", []string{"1000"}
	if err := f.Ensure(ctx, spec, testRef, false); err != nil {
		b.Fatal(err)
	}
	// step scales and waits until the newest allocation is as wanted.
	step := func(count int, wanted func(jobs.Allocation) bool) {
		if err := f.Scale(ctx, testRef, count, "benchmark", nil); err != nil {
			b.Fatal(err)
		}
		for {
			o, err := f.Observe(ctx, testRef)
			if err != nil {
				b.Fatal(err)
			}
			if n := len(o.Allocations); n > 0 && wanted(o.Allocations[n-1]) {
				return
			}
			<-changes
		}
	}
	step(1, isRunning) // the first one waits for Run
	step(0, jobs.Allocation.Terminal)

	var bare, took []time.Duration
	for b.Loop() {
		start := time.Now()
		child, err := os.StartProcess("/bin/sleep", []string{"sleep", "1000"}, &os.ProcAttr{Sys: childAttributes()})
		if err != nil {
			b.Fatal(err)
		}
		bare = append(bare, time.Since(start))
		_ = child.Kill()
		_, _ = child.Wait()

		start = time.Now()
		step(1, isRunning)
		took = append(took, time.Since(start))
		step(0, jobs.Allocation.Terminal)
	}
	slices.Sort(bare)
	slices.Sort(took)
	quantile := func(d []time.Duration, percent int) float64 {
		return float64(d[(len(d)-1)*percent/100].Microseconds()) / 1000
	}
	b.ReportMetric(quantile(took, 50), "start-p50-ms")
	b.ReportMetric(quantile(took, 99), "start-p99-ms")
	b.ReportMetric(quantile(bare, 50), "bare-p50-ms")
	b.ReportMetric(quantile(bare, 99), "bare-p99-ms")
	b.ReportMetric(quantile(took, 50)/quantile(bare, 50), "p50-over-bare")
}
