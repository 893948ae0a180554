package scaler

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/internal/redisdb"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/history"
)

// BenchmarkAnnouncedToScale wakes a service at zero again and again, by a held
// request over the embedded Redis, and measures from when the scaler hears of it
// to its scale call, with the time that its one read of the demand takes in it.
func BenchmarkAnnouncedToScale(b *testing.B) {
	embedded := redisdb.NewEmbedded()
	defer embedded.Close()
	client := embedded.Client()
	defer client.Close()

	fleet, shelf, hist := newFleet(), &shelf{}, history.New(client)
	shelf.put(policy(nil))
	ledger := &timedLedger{Ledger: queue.NewLedger(client, nil)}
	s, err := New(Config{
		Fleet: fleet, Ledger: ledger, Policies: shelf, Specs: known1, History: hist,
		Logger: slog.New(slog.NewTextHandler(discard{}, nil)), // formats, as in production
		Client: &http.Client{Transport: fleet},
	})
	if err != nil {
		b.Fatal(err)
	}
	q, err := queue.New(queue.Config{Redis: client})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- s.Run(ctx) }()
	go func() { ended <- q.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
		<-ended
	}()

	until := func(what string, so func() bool) {
		for end := time.Now().Add(10 * time.Second); !so(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				b.Fatalf("not within 10s: %s", what)
			}
		}
	}
	state := func(wanted string) func() bool {
		return func() bool {
			list, err := hist.Statuses(ctx)
			return err == nil && len(list) == 1 && list[0].State == wanted
		}
	}
	var took, read []time.Duration
	for i := 0; b.Loop(); i++ {
		until("at zero", state(jobs.StateZero))
		calls := len(fleet.scaleCalls())
		ledger.announced.Store(0)
		hold, withdraw := context.WithCancel(ctx)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_, _, _ = q.Hold(hold, &queue.Ticket{ // it is never answered
				ID: fmt.Sprint("ticket", i), Service: "translate", Method: http.MethodPost, Path: "/translate",
				Deadline: time.Now().Add(time.Minute),
			}, queue.Limits{Requests: 10, Bytes: 1 << 20})
		}()
		until("a scale call", func() bool { return len(fleet.scaleCalls()) > calls })
		took = append(took, fleet.scaleCalls()[calls].at.Sub(time.Unix(0, ledger.announced.Load())))
		read = append(read, time.Duration(ledger.read.Load()))
		until("waking", state(jobs.StateWaking))
		withdraw()
		<-gone
		if _, err := hist.Operate(ctx, "translate", jobs.Command{Verb: jobs.VerbSleep}); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	slices.Sort(read)
	quantile := func(d []time.Duration, percent int) float64 {
		return float64(d[(len(d)-1)*percent/100].Microseconds()) / 1000
	}
	b.ReportMetric(quantile(took, 50), "scale-p50-ms")
	b.ReportMetric(quantile(took, 99), "scale-p99-ms")
	b.ReportMetric(quantile(read, 50), "demand-p50-ms")
	b.ReportMetric(quantile(read, 99), "demand-p99-ms")
}

// timedLedger notes when demand was first announced since the note was cleared,
// and how long the next read of it took.
type timedLedger struct {
	Ledger
	announced atomic.Int64 // unix ns; 0: not yet
	read      atomic.Int64 // ns
}

func (l *timedLedger) Announced(ctx context.Context, fn func(string)) error {
	return l.Ledger.Announced(ctx, func(service string) {
		if l.announced.CompareAndSwap(0, time.Now().UnixNano()) {
			l.read.Store(0)
		}
		fn(service)
	})
}

func (l *timedLedger) Demand(ctx context.Context, service string) (jobs.Demand, error) {
	began := time.Now()
	d, err := l.Ledger.Demand(ctx, service)
	l.read.CompareAndSwap(0, int64(time.Since(began)))
	return d, err
}

// discard takes log lines; unlike io.Discard it does not let slog skip them.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
