package scaler

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// byMetric is a policy that only a metric scales, between 1 and 3.
func byMetric(m policies.Metric) *policies.Policy {
	return policy(func(p *policies.Policy) {
		p.Replicas.Min = 1
		p.Sizing.Mode = "thresholds"
		m.Name, m.Up, m.Down = "waiting", new(8.0), new(1.0)
		p.Metrics = []policies.Metric{m}
		p.ScaleUp.Window, p.ScaleUp.MaxStep = 10*time.Second, 1
		p.ScaleDown.Window, p.ScaleDown.MaxStep = 20*time.Second, 1
	})
}

func TestAMetricOfTheModelServerScalesAndHoldsWhileItIsUnknown(t *testing.T) {
	p := byMetric(policies.Metric{Source: "metrics", Query: "vllm:num_requests_waiting"})
	play(t, p, func(t *testing.T, h *house) {
		h.fleet.set(func() {
			h.fleet.gpu = "# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{engine=\"0\"} 9\n"
		})
		h.awaitReady(3)

		h.fleet.set(func() { h.fleet.gpu = "other 1\n" })
		pass(2 * time.Minute)
		if n := h.fleet.wants(); n != 3 {
			t.Errorf("%d replicas while the metric is unknown, want 3 held", n)
		}
		if text := h.notice(jobs.NoticeMetricUnknown); !strings.Contains(text, "metric waiting: replica alloc-1: its /metrics has no vllm:num_requests_waiting") {
			t.Errorf("notice %q", text)
		}
		h.fleet.set(func() { h.fleet.gpu = "vllm:num_requests_waiting 0\n" })
		within(t, 2*time.Minute, "scaled down", func() bool { return h.fleet.wants() == 1 })
		if text := h.notice(jobs.NoticeMetricUnknown); text != "" {
			t.Errorf("the notice has outlived its cause: %q", text)
		}
	})
}

func TestAMetricByPromQLScalesAndHoldsWhilePrometheusIsAway(t *testing.T) {
	p := byMetric(policies.Metric{Source: "prometheus", Query: "sum(waiting)"})
	play(t, p, func(t *testing.T, h *house) {
		var value atomic.Value
		value.Store("512")
		h.restart(&url.URL{Scheme: "http", Host: "10.9.9.9:9090"}, func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != "10.9.9.9:9090" {
				return h.fleet.RoundTrip(r)
			}
			switch v := value.Load().(string); v {
			case "":
				return nil, errors.New("connection refused")
			default:
				return reply(200, vector(time.Now(), v)), nil
			}
		})
		h.awaitReady(3)
		for _, unknown := range []string{"", "NaN", "text"} {
			value.Store(unknown)
			pass(time.Minute)
			if n := h.fleet.wants(); n != 3 {
				t.Errorf("%q: %d replicas, want 3 held", unknown, n)
			}
			if text := h.notice(jobs.NoticeMetricUnknown); !strings.Contains(text, "Prometheus: ") {
				t.Errorf("%q: notice %q", unknown, text)
			}
		}
		value.Store("0")
		within(t, 2*time.Minute, "scaled down", func() bool { return h.fleet.wants() == 1 })
	})
}

func TestWhatPrometheusWarnsOfIsToldAndItsValueIsUsed(t *testing.T) {
	p := byMetric(policies.Metric{Source: "prometheus", Query: "sum(waiting)"})
	p.GPU = policies.GPU{Source: "prometheus", Query: "avg(gpu)"}
	play(t, p, func(t *testing.T, h *house) {
		h.stop()
		var logged strings.Builder
		h.log = &logged
		var warning atomic.Value
		warning.Store(`"warnings":["no store\nreached","2 of 3"],`)
		h.restart(&url.URL{Scheme: "http", Host: "10.9.9.9:9090"}, func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != "10.9.9.9:9090" {
				return h.fleet.RoundTrip(r)
			}
			value := "9"
			if r.ParseForm() == nil && r.PostForm.Get("query") == "avg(gpu)" {
				value = "40"
			}
			return reply(200, strings.Replace(vector(time.Now(), value), `{`, `{`+warning.Load().(string), 1)), nil
		})
		h.awaitReady(3) // the value is above the threshold
		pass(time.Minute)
		want := "gpu.query: Prometheus warns: no store reached; 2 of 3"
		text := h.notice(jobs.NoticeMetricWarned)
		if !strings.HasPrefix(text, "metric waiting: Prometheus warns: no store reached; 2 of 3; "+want) {
			t.Errorf("notice %q", text)
		}
		if st := h.status(); st.GPU == nil || *st.GPU != 40 {
			t.Errorf("GPU utilization %v, want the 40 that was given with a warning", show(st.GPU))
		}
		warning.Store("")
		pass(time.Minute)
		if text := h.notice(jobs.NoticeMetricWarned); text != "" {
			t.Errorf("the notice has outlived its cause: %q", text)
		}
		h.stop()
		if n := strings.Count(logged.String(), "Prometheus warns of queries of the policy"); n < 1 || n > 2 {
			t.Errorf("logged %d times, want once for each thing to warn of, at most once a minute", n)
		}
	})
}

func TestAMetricWhoseReasonToBeUnknownChangesEachSecondIsLoggedOnceAMinute(t *testing.T) {
	p := byMetric(policies.Metric{Source: "prometheus", Query: "sum(waiting)"})
	play(t, p, func(t *testing.T, h *house) {
		h.stop()
		var logged strings.Builder
		h.log = &logged
		h.restart(&url.URL{Scheme: "http", Host: "10.9.9.9:9090"}, func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != "10.9.9.9:9090" {
				return h.fleet.RoundTrip(r)
			}
			return reply(200, vector(time.Now().Add(-time.Hour), "9")), nil // each is of another time
		})
		pass(3 * time.Minute)
		if text := h.notice(jobs.NoticeMetricUnknown); !strings.Contains(text, "its answer is of") {
			t.Errorf("notice %q", text)
		}
		h.stop()
		if n := strings.Count(logged.String(), "metrics of the policy unknown"); n < 2 || n > 4 {
			t.Errorf("logged %d times in three minutes, want about once a minute", n)
		}
	})
}

func TestWhatIsNoOneNumberIsUnknownWithItsReason(t *testing.T) {
	now := time.Now()
	block := policies.Metric{Name: "m", Source: "metrics", Query: "m"}
	for name, c := range map[string]struct {
		body string
		err  error
		want float64 // -1: none
		why  string
	}{
		"a gauge":        {"# TYPE m gauge\nm 2.5\n", nil, 2.5, ""},
		"without a type": {"m{a=\"b\"} 0\n", nil, 0, ""},
		"negative":       {"m -7\n", nil, -7, ""},
		"not there":      {"n 1\n", nil, -1, "has no m"},
		"several":        {"m{a=\"1\"} 1\nm{a=\"2\"} 1\n", nil, -1, "2 series of m, want one"},
		"a counter":      {"# TYPE m counter\nm 9\n", nil, -1, "only grows"},
		"a histogram":    {"# TYPE m histogram\nm_count 1\nm_sum 1\nm_bucket{le=\"+Inf\"} 1\n", nil, -1, "has no m"},
		"not a number":   {"m NaN\n", nil, -1, "m is NaN"},
		"infinite":       {"m +Inf\n", nil, -1, "m is +Inf"},
		"malformed":      {"m one\n", nil, -1, "cannot be read"},
		"no answer":      {"", errors.New("connection refused"), -1, "connection refused"},
	} {
		got := readMeters(now, []byte(c.body), c.err, []policies.Metric{block})["m"]
		switch {
		case c.want != -1 && (got.value == nil || *got.value != c.want || got.why != ""):
			t.Errorf("%s: %v, %q; want %v", name, show(got.value), got.why, c.want)
		case c.want == -1 && (got.value != nil || !strings.Contains(got.why, c.why)):
			t.Errorf("%s: %v, %q; want none, … %s", name, show(got.value), got.why, c.why)
		}
	}
	read := meters{"m": {by: block, value: new(1.0), read: now}}
	if got := read.now(now.Add(time.Minute), &block, time.Second); got.value != nil || got.why != "no answer for 1m0s" {
		t.Errorf("a minute old: %v, %q", show(got.value), got.why)
	}
	other := block
	other.Query = "n"
	if got := read.now(now, &other, time.Second); got.value != nil || got.why != notMeasured {
		t.Errorf("of another query: %v, %q", show(got.value), got.why)
	}
}

func TestAServiceAtRestWhoseQueriesNobodyAsksIsNotSaidToLackThem(t *testing.T) {
	p := byMetric(policies.Metric{Source: "prometheus", Query: "sum(waiting)"})
	p.Replicas.Min = 0
	p.ToZero = policies.ToZero{Mode: "after", After: 10 * time.Second}
	play(t, p, func(t *testing.T, h *house) {
		h.stop()
		var logged strings.Builder
		h.log = &logged
		var asked atomic.Int64
		h.restart(&url.URL{Scheme: "http", Host: "10.9.9.9:9090"}, func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != "10.9.9.9:9090" {
				return h.fleet.RoundTrip(r)
			}
			asked.Add(1)
			return reply(200, vector(time.Now(), "0")), nil
		})
		h.operate(jobs.Command{Verb: jobs.VerbWake})
		h.awaitReady(1)
		within(t, 2*time.Minute, "it goes to zero", func() bool { return h.fleet.wants() == 0 })
		pass(2 * time.Minute)
		before := asked.Load()
		if before == 0 {
			t.Fatal("Prometheus was never asked")
		}
		for range 20 {
			pass(time.Minute)
			if text := h.notice(jobs.NoticeMetricUnknown); text != "" {
				t.Fatalf("at rest: notice %q", text)
			}
		}
		if after := asked.Load(); after > before {
			t.Errorf("asked %d times at rest", after-before)
		}
		h.operate(jobs.Command{Verb: jobs.VerbWake})
		h.awaitReady(1)
		h.stop()
		if strings.Contains(logged.String(), "metrics of the policy unknown") {
			t.Errorf("logged: %s", logged.String())
		}
	})
}
