package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// modelServer answers as if it were a data plane, in a bubble and without a
// network: answer is called for POST /translate, health for GET /health.
type modelServer struct {
	answer func(*http.Request) (*http.Response, error)
	health func() string
	polls  []time.Duration // since began
	began  time.Time
}

func (m *modelServer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != "/health" {
		return m.answer(r)
	}
	m.polls = append(m.polls, time.Since(m.began))
	return answerOf(r, 200, m.health()), nil
}

func answerOf(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

// after answers with a translation when d has passed.
func after(d time.Duration) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-r.Context().Done():
			return nil, context.Cause(r.Context())
		case <-time.After(d):
			return answerOf(r, 200, `{"translation":"hola"}`), nil
		}
	}
}

func (m *modelServer) translate(t *testing.T, ctx context.Context, status *statusLine, timeout time.Duration) (string, error) {
	t.Helper()
	base, err := baseURL("url", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	m.began = time.Now()
	c := translator{base: base, http: &http.Client{Transport: m}, status: status}
	return c.translate(ctx, translation{Text: "hello", Target: "es"}, timeout)
}

func TestShortWaitIsNotRemarkedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		m := &modelServer{answer: after(499 * time.Millisecond)}
		if got, err := m.translate(t, t.Context(), newStatusLine(&out), time.Minute); got != "hola" || err != nil {
			t.Fatalf("translate = %q, %v", got, err)
		}
		if len(m.polls) > 0 || out.Len() > 0 {
			t.Errorf("it asked after %v and said %q", m.polls, &out)
		}
	})
}

// A start of 26 s, estimated anew each second.
func TestColdStartIsShownAsItGoes(t *testing.T) {
	start := func(m *modelServer) func() string {
		return func() string {
			left := 26 - time.Since(m.began).Seconds()
			return fmt.Sprintf(`{"services":{"translate":{"state":"waking","held":1,"eta_s":%.1f},"chat":{"state":"zero","held":0}}}`, left)
		}
	}
	t.Run("on a terminal in one line that is taken away again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			m := &modelServer{answer: after(26 * time.Second)}
			m.health = start(m)
			if _, err := m.translate(t, t.Context(), &statusLine{w: &out, terminal: true}, time.Minute); err != nil {
				t.Fatal(err)
			}
			want := ""
			for _, words := range []string{"starting, about 30 s", "starting, about 20 s", "starting, about 15 s", "starting, about 10 s",
				"starting, about 5 s", "starting, any moment now", ""} {
				want += "\r" + words + "\x1b[K"
			}
			if diff := cmp.Diff(want, out.String()); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("elsewhere in a line for each new text", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			m := &modelServer{answer: after(26 * time.Second)}
			m.health = start(m)
			if _, err := m.translate(t, t.Context(), newStatusLine(&out), time.Minute); err != nil {
				t.Fatal(err)
			}
			want := "starting, about 30 s\nstarting, about 20 s\nstarting, about 15 s\nstarting, about 10 s\nstarting, about 5 s\nstarting, any moment now\n"
			if diff := cmp.Diff(want, out.String()); diff != "" {
				t.Error(diff)
			}
			if m.polls[0] != 500*time.Millisecond || m.polls[1] != 1500*time.Millisecond || len(m.polls) != 26 {
				t.Errorf("it asked %d times, at %v …", len(m.polls), m.polls[:2])
			}
		})
	})
}

// The deadline is the data plane's to keep, which knows why; a data plane that
// does not answer even then is given up.
func TestTimeoutIsKeptWithoutTheDataPlane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deadline := ""
		m := &modelServer{health: func() string { return "{}" }}
		m.answer = func(r *http.Request) (*http.Response, error) {
			deadline = r.Header.Get("Pilotlight-Deadline")
			return after(time.Hour)(r)
		}
		_, err := m.translate(t, t.Context(), newStatusLine(io.Discard), 5*time.Second)
		if err == nil || err.Error() != "no translation within 5s; --timeout allows more" {
			t.Errorf("error %v", err)
		}
		if waited := time.Since(m.began); waited != 6*time.Second {
			t.Errorf("it waited %s", waited)
		}
		if deadline != "5s" {
			t.Errorf("Pilotlight-Deadline: %s", deadline)
		}
	})
}

func TestCancellingEndsTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		var out bytes.Buffer
		m := &modelServer{answer: after(time.Hour), health: func() string { return `{"services":{"translate":{"state":"blocked","reason":"no GPU"}}}` }}
		_, err := m.translate(t, ctx, &statusLine{w: &out, terminal: true}, time.Minute)
		if !errors.Is(err, errCancelled) {
			t.Errorf("error %v", err)
		}
		if want := "\rcannot start yet: no GPU\x1b[K\r\x1b[K"; out.String() != want {
			t.Errorf("shown %q, want %q", &out, want)
		}
		if time.Since(m.began) != 3*time.Second {
			t.Errorf("it went on for %s", time.Since(m.began))
		}
	})
}

// What cannot be learned is not shown, and does not end the wait.
func TestProgressThatCannotBeReadIsNotShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		m := &modelServer{answer: after(5 * time.Second), health: func() string { return "<html>" }}
		if got, err := m.translate(t, t.Context(), newStatusLine(&out), time.Minute); got != "hola" || err != nil {
			t.Fatalf("translate = %q, %v", got, err)
		}
		if out.Len() > 0 {
			t.Errorf("shown: %q", &out)
		}
	})
}

func TestProgressNamesWhatIsWaitedFor(t *testing.T) {
	eta := func(s float64) *float64 { return &s }
	reason, operator, nomad := "no free GPU:\n2 nodes", "paused by ann: repairs", "the job was stopped in Nomad"
	for _, c := range []struct {
		name     string
		services map[string]serviceHealth
		want     string
	}{
		{"nothing to wait for", map[string]serviceHealth{"a": {State: "zero"}, "b": {State: "ready"}}, ""},
		{"nothing known", nil, ""},
		{"start of unknown length", map[string]serviceHealth{"a": {State: "waking", Held: 1}}, "starting"},
		{"still at zero", map[string]serviceHealth{"a": {State: "zero", Held: 1}}, "starting"},
		{"start not yet counted as waited for", map[string]serviceHealth{"a": {State: "waking", ETA: eta(120)}, "b": {State: "ready"}}, "starting, about 2 min"},
		{"full", map[string]serviceHealth{"a": {State: "ready", Held: 7}}, "waiting for a free slot, 7 held"},
		{"full, with an estimate", map[string]serviceHealth{"a": {State: "ready", Held: 7, ETA: eta(12)}}, "waiting for a free slot, 7 held, about 15 s"},
		{"paused", map[string]serviceHealth{"a": {State: "paused", Held: 1, Reason: &operator}}, "does not start: paused by ann: repairs"},
		{"paused while a replica serves on", map[string]serviceHealth{"a": {State: "paused", Held: 1}}, "waiting for a free slot, 1 held"},
		{"stopped by somebody else", map[string]serviceHealth{"a": {State: "paused", Held: 1, Reason: &nomad}}, "does not start: the job was stopped in Nomad"},
		{"blocked", map[string]serviceHealth{"a": {State: "blocked", Held: 1, Reason: &reason}}, "cannot start yet: no free GPU: 2 nodes"},
		{"several", map[string]serviceHealth{"b": {State: "waking", Held: 1, ETA: eta(41)}, "a": {State: "ready", Held: 2}, "c": {State: "waking"}},
			"a: waiting for a free slot, 2 held; b: starting, about 40 s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := progressOf(c.services); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestEstimatesAreAsCoarseAsTheyAre(t *testing.T) {
	for seconds, want := range map[float64]string{0: "any moment now", 1.9: "any moment now", 2: "about 5 s", 5.1: "about 10 s", 19: "about 20 s",
		41.3: "about 40 s", 95: "about 100 s", 100: "about 2 min", 121: "about 3 min"} {
		if got := aboutSeconds(seconds); got != want {
			t.Errorf("%v s: %q, want %q", seconds, got, want)
		}
	}
}

func TestLongStatusStaysOnOneRow(t *testing.T) {
	var out bytes.Buffer
	(&statusLine{w: &out, terminal: true}).show(strings.Repeat("ä", 200))
	if n := strings.Count(out.String(), "ä"); n != statusWidth-1 {
		t.Errorf("%d characters are shown", n)
	}
}
