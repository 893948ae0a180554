package loadgen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// answers is a transport without a network: it answers after a time that handle
// chooses, in virtual time inside a bubble.
type answers func(*http.Request) (status int, after time.Duration)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	status, after := a(r)
	select {
	case <-time.After(after):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func run(ctx context.Context, t *testing.T, cfg Config) Report {
	t.Helper()
	if cfg.URL == "" {
		cfg.URL = "http://127.0.0.1:1/"
	}
	report, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestEveryRequestIsSentOnceWithItsBodyAndHeader(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]int)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen[r.Method+" "+r.Header.Get("X-Number")+" "+string(body)]++
		mu.Unlock()
		if string(body) == "3" {
			w.WriteHeader(http.StatusTeapot)
		}
		if string(body) == "5" {
			w.Header().Set("Pilotlight-Cold-Start", "true")
		}
		fmt.Fprintf(w, "answer %s", body)
	}))
	defer srv.Close()

	report := run(t.Context(), t, Config{
		URL: srv.URL, N: 20, Concurrency: 4,
		Body: func(i int) ([]byte, http.Header) {
			return fmt.Append(nil, i), http.Header{"X-Number": {fmt.Sprint(i)}}
		},
		Check: func(i int, resp *http.Response, body []byte) error {
			if want := fmt.Sprintf("answer %d", i); string(body) != want {
				return fmt.Errorf("got %q, want %q", body, want)
			}
			if i == 7 {
				return errors.New("seven is wrong")
			}
			return nil
		},
	})
	if len(seen) != 20 {
		t.Errorf("the server saw %d different requests, want 20: %v", len(seen), seen)
	}
	for request, n := range seen {
		if n != 1 || !strings.HasPrefix(request, "POST ") {
			t.Errorf("%q came %d times", request, n)
		}
	}
	if diff := cmp.Diff(map[int]int{200: 19, 418: 1}, report.Codes); diff != "" {
		t.Errorf("codes: %s", diff)
	}
	if report.Sent != 20 || report.Errors != 0 || report.Wrong != 1 || report.Cold != 1 {
		t.Errorf("report: %s", report)
	}
	if report.Latency.TotalCount() != 20 || report.ColdLatency.TotalCount() != 1 {
		t.Errorf("latencies: %d and %d cold, want 20 and 1", report.Latency.TotalCount(), report.ColdLatency.TotalCount())
	}
	if len(report.Samples) != 1 || !strings.Contains(report.Samples[0].Error(), "seven is wrong") {
		t.Errorf("samples: %v", report.Samples)
	}
}

func TestNoMoreRequestsAreUnderWayThanConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		underWay, highest := 0, 0
		slow := answers(func(*http.Request) (int, time.Duration) { return 200, time.Second })
		report := run(t.Context(), t, Config{N: 50, Concurrency: 7, Transport: transport(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			underWay++
			highest = max(highest, underWay)
			mu.Unlock()
			defer func() {
				mu.Lock()
				underWay--
				mu.Unlock()
			}()
			return slow.RoundTrip(r)
		})})
		if highest != 7 {
			t.Errorf("%d requests were under way at once, want 7", highest)
		}
		// 50 requests, 7 at a time, 1 s each: eight rounds.
		if want := 8 * time.Second; report.Elapsed != want {
			t.Errorf("took %s, want %s", report.Elapsed, want)
		}
	})
}

func TestAnOpenLoopSendsOnTimeWhateverTheServerDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		var sent []time.Duration
		report := run(t.Context(), t, Config{N: 5, Concurrency: 5, Rate: 10, Transport: answers(func(*http.Request) (int, time.Duration) {
			mu.Lock()
			sent = append(sent, time.Since(start))
			mu.Unlock()
			return 200, time.Minute
		})})
		want := []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond, 400 * time.Millisecond}
		if diff := cmp.Diff(want, sent); diff != "" {
			t.Error(diff)
		}
		if report.Late != 0 {
			t.Errorf("%d were late, want none", report.Late)
		}
	})
}

func TestAnOpenLoopCountsTheWaitThatAStalledServerCaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// One at a time, due every 100 ms; the first answer takes a second, the
		// others nothing. They were due long before they could be sent.
		n := 0
		report := run(t.Context(), t, Config{N: 10, Concurrency: 1, Rate: 10, Transport: answers(func(*http.Request) (int, time.Duration) {
			n++
			if n == 1 {
				return 200, time.Second
			}
			return 200, 0
		})})
		if report.Late != 9 {
			t.Errorf("%d were late, want 9", report.Late)
		}
		// The latencies are 1000, 900, … 100 ms.
		if p50 := report.Quantile(50); p50 < 400*time.Millisecond || p50 > 600*time.Millisecond {
			t.Errorf("p50 is %s, want about 500ms", p50)
		}
	})
}

func TestDurationEndsTheBeginningOfRequestsButNotThoseUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report := run(t.Context(), t, Config{Duration: time.Second, Concurrency: 2, Transport: answers(func(*http.Request) (int, time.Duration) {
			return 200, 300 * time.Millisecond
		})})
		// Begun at 0, 300, 600 and 900 ms, by both workers.
		if report.Sent != 8 || report.Codes[200] != 8 {
			t.Errorf("sent %d, answered %d, want 8 and 8", report.Sent, report.Codes[200])
		}
		if report.Elapsed != 1200*time.Millisecond {
			t.Errorf("took %s, want 1.2s", report.Elapsed)
		}
	})
}

func TestTheEndOfTheContextAbortsWithoutCountingErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		report := run(ctx, t, Config{N: 100, Concurrency: 3, Transport: answers(func(*http.Request) (int, time.Duration) {
			return 200, time.Hour
		})})
		if report.Sent != 3 || report.Aborted != 3 || report.Errors != 0 {
			t.Errorf("report: %s; want 3 sent, 3 aborted", report)
		}
	})
}

func TestARequestOverItsTimeoutIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report := run(t.Context(), t, Config{N: 2, Timeout: time.Second, Transport: answers(func(*http.Request) (int, time.Duration) {
			return 200, time.Hour
		})})
		if report.Errors != 2 || report.Aborted != 0 || len(report.Samples) != 2 {
			t.Errorf("report: %s, samples %v; want 2 errors", report, report.Samples)
		}
	})
}

func TestTargetsThatAreNotThisMachineAreRefused(t *testing.T) {
	for _, url := range []string{
		"http://example.org/", "http://10.0.0.1/", "http://0.0.0.0/", "http://[2001:db8::1]/",
		"http://127.0.0.1.example.org/", "http://user@192.0.2.1:80/", "ftp://127.0.0.1/", "127.0.0.1:80", "",
	} {
		called := false
		_, err := Run(t.Context(), Config{URL: url, N: 1, Transport: answers(func(*http.Request) (int, time.Duration) {
			called = true
			return 200, 0
		})})
		if err == nil || called {
			t.Errorf("%q: error %v, sent %v; want a refusal", url, err, called)
		}
	}
	for _, url := range []string{"http://127.0.0.1:1/", "http://127.1.2.3/", "http://[::1]:1/", "https://localhost:1/"} {
		if err := (Config{URL: url, N: 1}).Validate(); err != nil {
			t.Errorf("%q: %v, want no refusal", url, err)
		}
	}
}

func TestANameThatLeadsElsewhereIsRefusedWhenItIsDialled(t *testing.T) {
	own := loopbackTransport(1)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	// 192.0.2.0/24 is for documentation: nothing answers there.
	if _, err := own.DialContext(ctx, "tcp", "192.0.2.1:80"); !errors.Is(err, ErrNotLoopback) {
		t.Errorf("dialled 192.0.2.1: %v, want %v", err, ErrNotLoopback)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := own.DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestRedirectsAreAnswersAndAreNotFollowed(t *testing.T) {
	srv := httptest.NewServer(http.RedirectHandler("http://192.0.2.1/", http.StatusFound))
	defer srv.Close()
	report := run(t.Context(), t, Config{URL: srv.URL, N: 1})
	if report.Codes[http.StatusFound] != 1 {
		t.Errorf("report: %s; want one 302", report)
	}
}

func TestALoadWithoutAnEndIsRefused(t *testing.T) {
	if _, err := Run(t.Context(), Config{URL: "http://127.0.0.1:1/"}); err == nil {
		t.Error("no error without n and duration")
	}
}
