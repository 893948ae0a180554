package scaler

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

const (
	scrapeTimeout = 2 * time.Second
	scrapeMaximum = 4 << 20 // bytes of one scrape
)

// gauge is what a replica's own /metrics said of its GPUs. A nil figure is
// unknown, for the reason in why; unknown is never zero.
type gauge struct {
	at          time.Time
	utilization *float64 // percent, mean over its GPUs
	memory      *float64 // bytes, sum over its GPUs
	why         string
}

// scraper reads one replica's /metrics again and again.
type scraper struct {
	client *http.Client
	url    string
	every  time.Duration
}

// run scrapes until ctx ends and reports every outcome.
func (s *scraper) run(ctx context.Context, report func(gauge)) {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		families, err := s.scrape(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			report(gauge{at: time.Now(), why: err.Error()})
		} else {
			report(readGPU(families, time.Now()))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *scraper) scrape(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	res, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("scrape: status %d", res.StatusCode)
	}
	body := &io.LimitedReader{R: res.Body, N: scrapeMaximum + 1}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(body)
	if body.N <= 0 {
		return nil, fmt.Errorf("scrape: more than %d MiB", scrapeMaximum>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	return families, nil
}

// readGPU reads the DCGM exporter's names. DCGM_FI_PROF_GR_ENGINE_ACTIVE is the
// finer measure of the two but is off on many GPUs, so it comes second.
func readGPU(families map[string]*dto.MetricFamily, at time.Time) gauge {
	g := gauge{at: at}
	if sum, n := total(families["DCGM_FI_DEV_GPU_UTIL"]); n > 0 {
		g.utilization = figure(sum / float64(n))
	} else if sum, n := total(families["DCGM_FI_PROF_GR_ENGINE_ACTIVE"]); n > 0 {
		g.utilization = figure(sum / float64(n) * 100)
	}
	if g.utilization == nil {
		g.why = "its /metrics has no DCGM GPU utilization"
	}
	if sum, n := total(families["DCGM_FI_DEV_FB_USED"]); n > 0 {
		g.memory = figure(sum * (1 << 20))
	}
	return g
}

// total adds up the samples of a gauge, one for each GPU. One that is not a
// number makes the whole unknown: a mean over the others would be about other
// hardware.
func total(family *dto.MetricFamily) (sum float64, n int) {
	for _, m := range family.GetMetric() {
		var v float64
		switch {
		case m.Gauge != nil:
			v = m.Gauge.GetValue()
		case m.Untyped != nil:
			v = m.Untyped.GetValue()
		case m.Counter != nil:
			v = m.Counter.GetValue()
		default:
			continue
		}
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			return 0, 0
		}
		sum += v
		n++
	}
	return sum, n
}

func figure(v float64) *float64 { return &v }
