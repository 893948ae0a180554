package scaler

import (
	"context"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// answering is a transport that a function plays.
type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func reply(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body))}
}

// watch runs a prober over play for that long and returns its outcomes and the
// times of its probes, counted from the start.
func watch(t *testing.T, long time.Duration, play func(age time.Duration, req *http.Request) (*http.Response, error)) (outcomes []outcome, asked []time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		p := &prober{
			client: &http.Client{Transport: answering(func(req *http.Request) (*http.Response, error) {
				asked = append(asked, time.Since(began))
				return play(time.Since(began), req)
			})},
			url: "http://10.0.0.1:80/health", timeout: 2 * time.Second, timing: Config{}.withDefaults().Probe,
		}
		p.run(ctx, func(o outcome) { outcomes = append(outcomes, o) })
	})
	return outcomes, asked
}

func TestAProcessThatStartsAtThisMomentIsNotProbedAtOnce(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.ledger.ask(1)
		pass(time.Second)
		h.fleet.mu.Lock()
		defer h.fleet.mu.Unlock()
		if gap := h.fleet.probed.Sub(h.fleet.launched[0]); gap != 2*time.Millisecond {
			t.Errorf("first probe %v after the start, want 2ms", gap)
		}
	})
}

func TestProbesAreFastAtFirstAndNeverLateByMoreThanTheirShare(t *testing.T) {
	_, asked := watch(t, 2*time.Minute, func(time.Duration, *http.Request) (*http.Response, error) {
		return nil, syscall.ECONNREFUSED
	})
	for i, at := range asked[1:] {
		pause := at - asked[i]
		if limit := min(2*time.Millisecond+at*26/1000, time.Second); pause > limit {
			t.Fatalf("probe at %v came %v after the one before, want at most %v", at, pause, limit)
		}
	}
	if asked[1] != 2*time.Millisecond {
		t.Errorf("second probe at %v, want 2ms", asked[1])
	}
	if n := len(asked); n > 400 {
		t.Errorf("%d probes in two minutes", n)
	}
}

func TestOnlyASuccessfulStatusIsAGoodProbe(t *testing.T) {
	for status, good := range map[int]bool{200: true, 204: true, 301: false, 404: false, 503: false} {
		outcomes, _ := watch(t, 10*time.Millisecond, func(time.Duration, *http.Request) (*http.Response, error) {
			return reply(status, ""), nil
		})
		if len(outcomes) != 1 || outcomes[0].answers != good {
			t.Errorf("status %d: outcomes %v, want answers %v", status, outcomes, good)
		}
	}
}

func TestEachReasonForNotAnsweringIsToldOnce(t *testing.T) {
	outcomes, _ := watch(t, 20*time.Second, func(age time.Duration, req *http.Request) (*http.Response, error) {
		switch {
		case age < time.Second:
			return nil, syscall.ECONNREFUSED
		case age < 5*time.Second:
			<-req.Context().Done()
			return nil, req.Context().Err()
		case age < 10*time.Second:
			return reply(503, "loading"), nil
		}
		return reply(200, "ok"), nil
	})
	var why []string
	for _, o := range outcomes {
		why = append(why, o.why)
	}
	if got := strings.Join(why, "|"); got != "connection refused|no answer within 2s|status 503|" {
		t.Errorf("outcomes %q", got)
	}
}

func TestReadyReplicaIsLostAfterTwoRefusedConnections(t *testing.T) {
	outcomes, _ := watch(t, 20*time.Second, func(age time.Duration, _ *http.Request) (*http.Response, error) {
		if age > 5*time.Second {
			return nil, syscall.ECONNREFUSED
		}
		return reply(200, ""), nil
	})
	if len(outcomes) < 2 || outcomes[1].answers {
		t.Fatalf("outcomes %v, want ready and then lost", outcomes)
	}
	if took := outcomes[1].at.Sub(outcomes[0].at); took > 6*time.Second+200*time.Millisecond {
		t.Errorf("lost after %v, want within 100ms of the first refused probe at 6s", took)
	}
}

func TestReadyReplicaIsLostAfterFiveBadProbesAndNotAfterFour(t *testing.T) {
	for _, bad := range []int{4, 5} {
		n := 0
		outcomes, _ := watch(t, 30*time.Second, func(age time.Duration, _ *http.Request) (*http.Response, error) {
			n++
			if n > 1 && n <= 1+bad {
				return reply(500, ""), nil
			}
			return reply(200, ""), nil
		})
		if lost := len(outcomes) > 1; lost != (bad == 5) {
			t.Errorf("%d bad probes in a row: outcomes %v", bad, outcomes)
		}
	}
}
