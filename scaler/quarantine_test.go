package scaler

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/policies"
)

// engine answers scrapes with so many running requests, or with nothing that
// counts requests if they are less than 0.
type engine struct {
	*fleet
	running atomic.Int64
	asked   atomic.Int64
}

func (e *engine) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != "/metrics" {
		return e.fleet.RoundTrip(r)
	}
	e.asked.Add(1)
	if n := e.running.Load(); n >= 0 {
		return reply(200, fmt.Sprintf("vllm:num_requests_running %d\nvllm:num_requests_waiting 0\n", n)), nil
	}
	return reply(404, ""), nil
}

// playEngine is play with replicas that count their requests.
func playEngine(t *testing.T, p *policies.Policy, story func(t *testing.T, h *house, e *engine)) {
	t.Helper()
	play(t, p, func(t *testing.T, h *house) {
		e := &engine{fleet: h.fleet}
		h.restart(nil, e.RoundTrip)
		story(t, h, e)
	})
}

// abandon leaves n slots of the only replica to a dead activator.
func (h *house) abandon(n int) {
	id := h.status().Replicas.List[0].ID
	h.ledger.set(func() { h.ledger.abandoned = map[string]int{id: n} })
}

func (l *ledger) leftBehind() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return sum(l.abandoned)
}

// observed is how often the ledger was asked for a mark, and what it was told.
func (l *ledger) observed() (marks int, counts []count) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.marks, slices.Clone(l.counts)
}

func TestReplicasAreAskedForTheirOwnCountWhileSlotsAreQuarantinedAndNotOtherwise(t *testing.T) {
	p := policy(func(p *policies.Policy) { p.Replicas.Min, p.Replicas.Max = 1, 1 })
	playEngine(t, p, func(t *testing.T, h *house, e *engine) {
		h.awaitReady(1)
		pass(time.Minute)
		marks, _ := h.ledger.observed()
		if n := e.asked.Load(); n != 0 || marks != 0 {
			t.Fatalf("%d scrapes and %d questions to the ledger while nothing is quarantined", n, marks)
		}
		h.abandon(2)
		e.running.Store(2)
		pass(10 * time.Second)
		if n := e.asked.Load(); n < 8 || n > 11 {
			t.Errorf("asked %d times in 10s, want once a second", n)
		}
		e.running.Store(1)
		within(t, 3*time.Second, "one slot back", func() bool { return h.ledger.leftBehind() == 1 })
		e.running.Store(0)
		within(t, 3*time.Second, "both slots back", func() bool { return h.ledger.leftBehind() == 0 })
		_, counts := h.ledger.observed()
		for _, c := range counts {
			if c.mark == 0 || c.at.Before(time.UnixMilli(int64(c.mark))) {
				t.Errorf("told %v at %v with the mark %v", c.inFlight, c.at, c.mark)
			}
		}
		asked := e.asked.Load()
		pass(time.Minute)
		if n := e.asked.Load() - asked; n > 1 {
			t.Errorf("asked %d times after the quarantine had ended", n)
		}
	})
}

func TestAnUnknownCountIsNotToldAndSaidOnce(t *testing.T) {
	p := policy(func(p *policies.Policy) { p.Replicas.Min, p.Replicas.Max = 1, 1 })
	play(t, p, func(t *testing.T, h *house) {
		e := &engine{fleet: h.fleet}
		e.running.Store(-1)
		var log bytes.Buffer
		h.log = &log
		h.restart(nil, e.RoundTrip)
		h.awaitReady(1)
		h.abandon(1)
		pass(time.Minute)
		_, counts := h.ledger.observed()
		if n := h.ledger.leftBehind(); n != 1 || len(counts) != 0 {
			t.Errorf("%d slots left behind, told %v; want 1 and nothing", n, counts)
		}
		h.stop()
		if n := strings.Count(log.String(), "stay quarantined"); n != 1 {
			t.Errorf("said %d times in a minute:\n%s", n, log.String())
		}
	})
}

func TestWhatADeadActivatorLeftBehindKeepsNoReplica(t *testing.T) {
	playEngine(t, policy(nil), func(t *testing.T, h *house, e *engine) {
		e.running.Store(2) // it computes on, for nobody
		h.ledger.ask(1)
		h.awaitReady(1)
		pass(time.Second)
		h.abandon(2)
		within(t, 65*time.Second, "at zero", func() bool { return h.fleet.running() == 0 })
	})
}

func TestThoseWhoWaitGetAReplicaInPlaceOfSlotsThatADeadActivatorLeftBehind(t *testing.T) {
	playEngine(t, policy(nil), func(t *testing.T, h *house, e *engine) {
		e.running.Store(2)
		h.ledger.ask(1)
		h.awaitReady(1)
		pass(time.Second)
		h.abandon(2) // all it has
		h.ledger.ask(1)
		within(t, 10*time.Second, "a second replica", func() bool { return h.fleet.wants() == 2 })
	})
}

func TestTheCountOfEachEngineIsWhatRunsAndWhatWaits(t *testing.T) {
	for name, c := range map[string]struct {
		metrics string
		want    int
		err     string
	}{
		"vLLM": {`# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 4.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
# TYPE vllm:request_success_total counter
vllm:request_success_total 99
`, 7, ""},
		"SGLang":          {"sglang:num_running_reqs 3\nsglang:num_queue_reqs 1\n", 4, ""},
		"TGI":             {"tgi_batch_current_size 5\ntgi_queue_size 0\n", 5, ""},
		"llama.cpp":       {"llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\n", 3, ""},
		"half a count":    {"vllm:num_requests_running 0\n", 0, "its /metrics has no vllm:num_requests_waiting"},
		"another half":    {"vllm:num_requests_waiting 0\n", 0, "its /metrics has no vllm:num_requests_running"},
		"not a number":    {"vllm:num_requests_running NaN\nvllm:num_requests_waiting 0\n", 0, "vllm:num_requests_running is NaN"},
		"negative":        {"vllm:num_requests_running 1\nvllm:num_requests_waiting -1\n", 0, "vllm:num_requests_waiting is -1"},
		"a counter":       {"# TYPE tgi_batch_current_size counter\ntgi_batch_current_size 0\ntgi_queue_size 0\n", 0, "tgi_batch_current_size is NaN"},
		"something else":  {"process_cpu_seconds_total 1\n", 0, "no count of requests that is known here"},
		"nothing":         {"", 0, "no count of requests that is known here"},
		"between engines": {"vllm:num_requests_running 0\nsglang:num_queue_reqs 0\n", 0, "its /metrics has no vllm:num_requests_waiting"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ownCount([]byte(c.metrics))
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
