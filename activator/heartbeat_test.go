package activator

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

const beatingPolicy = `
policy "chat" {
  job = "chat"
  route { models = ["m"] }
  hold { heartbeat = "1s" }
}
`

const chat = `{"model":"m","stream":true}`

// heldStream sends a streaming request to a service at zero, and reads its first
// heartbeat.
func heldStream(t *testing.T, w *world, header ...string) (*http.Response, *bufio.Reader) {
	t.Helper()
	resp, err := http.DefaultClient.Do(w.request(t.Context(), "POST", "/v1/chat/completions", strings.NewReader(chat),
		append(header, "Content-Type", "application/json")...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	lines := bufio.NewReader(resp.Body)
	line, err := lines.ReadString('\n')
	if err != nil || line != ": pilotlight phase=decide position=1\n" || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%q %v %d %v", line, err, resp.StatusCode, resp.Header)
	}
	return resp, lines
}

func TestAHeldStreamGetsHeartbeatsThenItsAnswerAndWhatWereHeadersAsTrailers(t *testing.T) {
	w := newWorld(t, beatingPolicy)
	resp, lines := heldStream(t, w, "X-Request-Id", "mine")
	w.replica("chat", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		rw.Header().Set("X-Made-By", "replica")
		_, _ = io.WriteString(rw, "data: {\"n\":1}\n\ndata: [DONE]\n\n")
	})
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.HasSuffix(string(rest), "\ndata: {\"n\":1}\n\ndata: [DONE]\n\n") {
		t.Errorf("%q %v", rest, err)
	}
	if h := resp.Trailer; h.Get("Pilotlight-Replica") != "r1" || h.Get("Pilotlight-Cold-Start") != "true" || h.Get("X-Made-By") != "replica" || h.Get("Content-Type") != "" {
		t.Errorf("trailers %v", h)
	}
	if resp.Header.Get("X-Request-Id") != "mine" {
		t.Errorf("headers %v", resp.Header)
	}
}

func TestAFailureAfterTheFirstHeartbeatIsAnEventAndTheEnd(t *testing.T) {
	w := newWorld(t, beatingPolicy)
	_, lines := heldStream(t, w, "Pilotlight-Deadline", "1500ms")
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.Contains(string(rest), `data: {"error":{"code":"deadline-passed"`) || !strings.HasSuffix(string(rest), "\n\n") {
		t.Errorf("%q %v", rest, err)
	}
	w.untilHeld("chat", 0)
	for body, want := range map[string]string{
		`{"error":{"message":"too long"}}`: "\ndata: {\"error\":{\"message\":\"too long\"}}\n\n",
		"plain":                            `data: {"error":{"code":"400","message":"the replica answered 400: plain"`,
	} {
		_, lines := heldStream(t, w)
		replica := w.replica("chat", fmt.Sprint(len(body)), 1, func(rw http.ResponseWriter, r *http.Request) { http.Error(rw, body, 400) })
		rest, err := io.ReadAll(lines)
		if err != nil || !strings.Contains(string(rest), want) {
			t.Errorf("%q %v", rest, err)
		}
		replica.Close()
		w.offers = nil
		w.offer("chat")
		w.until("the replica is gone", func() bool { return len(w.act.cfg.Queue.Offers("chat")) == 0 })
	}
}

func TestOnlyThoseWhoReadAStreamGetHeartbeats(t *testing.T) {
	for _, test := range []struct {
		accept, media, body string
		want                bool
	}{
		{"text/event-stream", "", "", true},
		{"application/json, text/event-stream;q=0.5", "", "", true},
		{"*/*", "application/json", `{"stream":true}`, true},
		{"*/*", "application/json; charset=utf-8", `{"stream": true}`, true},
		{"*/*", "application/json", `{"stream":false}`, false},
		{"*/*", "application/json", `{"stream":"yes"}`, false},
		{"*/*", "text/plain", `{"stream":true}`, false},
		{"", "", "", false},
	} {
		if got := streams(http.Header{"Accept": {test.accept}, "Content-Type": {test.media}}, []byte(test.body)); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
	w := newWorld(t, beatingPolicy)
	held := w.async("POST", "/v1/chat/completions", `{"model":"m"}`, "Pilotlight-Deadline", "1500ms", "Content-Type", "application/json")
	if a := w.get(held); a.StatusCode != 504 || strings.Contains(a.body, "pilotlight phase") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	var n atomic.Int64
	w.replica("chat", "r1", 1, echo(&n))
	if a := w.do("POST", "/v1/chat/completions", chat, "Content-Type", "application/json"); a.body != chat {
		t.Errorf("warm: %q", a.body)
	}
}
