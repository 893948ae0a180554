package scaler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
)

const (
	countEvery   = time.Second     // how often replicas with quarantined slots are asked
	countTimeout = 5 * time.Second // of one round: two calls to the ledger, and a scrape between them
)

// countQuarantined ends quarantines early. While slots of an activator that died
// may still be in use, it asks the replicas concerned for their own count of
// requests, and tells the ledger. It asks nothing at all otherwise. It returns when
// it wants to be called again.
//
// A replica whose count is unknown keeps its quarantine: until request.timeout, or
// until it is gone.
func (s *service) countQuarantined(now time.Time) (again time.Time) {
	t := s.ses.acting()
	urls := map[string]string{}
	for id := range s.demand.Quarantined {
		if r := s.replicas[id]; r != nil && r.alloc.Address != "" {
			urls[id] = "http://" + r.alloc.Address + "/metrics"
		}
	}
	switch {
	case t == nil || len(urls) == 0:
		s.uncounted = ""
		return time.Time{}
	case now.Before(s.countDue):
		return s.countDue
	}
	if !s.call(&s.counts, now, func() func(time.Time) {
		why, err := s.tellCounts(t.ctx, urls)
		return func(now time.Time) { s.onCounted(now, why, err) }
	}) {
		return time.Time{} // its end comes back here
	}
	s.countDue = now.Add(countEvery)
	return s.countDue
}

// tellCounts asks the replicas at these addresses, all at once, and tells the
// ledger what they answer. unknown says why some did not.
func (s *service) tellCounts(ctx context.Context, urls map[string]string) (unknown string, err error) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	_, mark, err := s.ses.cfg.Ledger.Quarantined(ctx, s.name)
	if err != nil {
		return "", err
	}
	var mu sync.Mutex // guards what follows
	counts, reasons := map[string]int{}, []string{}
	var asking sync.WaitGroup
	for id, url := range urls {
		asking.Go(func() {
			// Never one that is shared with others: it may be from before the mark.
			body, err := s.ses.exporters.fetchAnew(ctx, url, 0)
			n := 0
			if err == nil {
				n, err = ownCount(body)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				reasons = append(reasons, fmt.Sprintf("replica %s: %v", id, err))
				return
			}
			counts[id] = n
		})
	}
	asking.Wait()
	slices.Sort(reasons)
	unknown = strings.Join(reasons, "; ")
	if len(counts) == 0 {
		return unknown, nil
	}
	return unknown, s.ses.cfg.Ledger.Observed(ctx, s.name, mark, counts)
}

// onCounted says once why a quarantine has to last, and looks at what it is now.
func (s *service) onCounted(now time.Time, unknown string, err error) {
	if err != nil || s.ctx.Err() != nil {
		return // the ledger is away, which its reader says
	}
	if unknown != s.uncounted && unknown != "" {
		s.log.Warn("slots of a dead activator stay quarantined, up to request.timeout: how much their replica computes is unknown", "reason", unknown)
	}
	s.uncounted = unknown
	s.reread(now)
}

// engineCounts are the gauges of requests that are computed, and that wait to be,
// as engines name them. A replica in front of an engine that has none of them, or
// only one of the two, gives no count.
var engineCounts = [][2]string{
	{"vllm:num_requests_running", "vllm:num_requests_waiting"},
	{"sglang:num_running_reqs", "sglang:num_queue_reqs"},
	{"tgi_batch_current_size", "tgi_queue_size"},
	{"llamacpp:requests_processing", "llamacpp:requests_deferred"},
}

// ownCount is how many requests a replica has by what its /metrics says: running
// and waiting, over all of its engines.
func ownCount(body []byte) (int, error) {
	var names []string
	for _, pair := range engineCounts {
		names = append(names, pair[:]...)
	}
	families, err := readFamilies(body, names)
	if err != nil {
		return 0, err
	}
	for _, pair := range engineCounts {
		running, waiting := families[pair[0]], families[pair[1]]
		if running == nil && waiting == nil {
			continue
		}
		total := 0.0
		for i, family := range []*dto.MetricFamily{running, waiting} {
			if len(family.GetMetric()) == 0 {
				return 0, fmt.Errorf("its /metrics has no %s", pair[i])
			}
			for _, m := range family.GetMetric() {
				v := math.NaN()
				switch {
				case m.Gauge != nil:
					v = m.Gauge.GetValue()
				case m.Untyped != nil:
					v = m.Untyped.GetValue()
				}
				if !(v >= 0 && v < 1e6) { // NaN is not
					return 0, fmt.Errorf("%s is %v, which counts nothing", pair[i], v)
				}
				total += v
			}
		}
		return int(math.Ceil(total)), nil
	}
	return 0, errors.New("its /metrics has no count of requests that is known here (those of vLLM, SGLang, TGI and llama.cpp are)")
}
