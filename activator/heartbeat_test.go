package activator

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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

// firstBeat reads the first heartbeat of a stream.
func firstBeat(t *testing.T, w *world, path, body string, header ...string) (*http.Response, *bufio.Reader, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	resp, err := http.DefaultClient.Do(w.request(ctx, "POST", path, strings.NewReader(body), header...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	lines := bufio.NewReader(resp.Body)
	line, err := lines.ReadString('\n')
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || !strings.HasPrefix(line, ": pilotlight phase=") {
		t.Fatalf("%q %v %d %v", line, err, resp.StatusCode, resp.Header)
	}
	return resp, lines, line
}

// untilData reads comments and empty lines, up to the first line of an event.
func untilData(t *testing.T, lines *bufio.Reader) string {
	t.Helper()
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("%q %v", line, err)
		}
		if strings.HasPrefix(line, "data: ") {
			return line
		}
	}
}

func TestAKeyedStreamHasHeartbeatsAndWhoeverJoinsItGetsWhatIsStoredThenWhatComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, beatingPolicy)
	keyed := []string{"Content-Type", "application/json", "Idempotency-Key", "k"}
	one, lines, beat := firstBeat(t, w, "/v1/chat/completions", chat, keyed...)
	if beat != ": pilotlight phase=decide position=1\n" {
		t.Errorf("first heartbeat %q", beat)
	}
	_, joined, beat := firstBeat(t, w, "/v1/chat/completions", chat, keyed...)
	if beat != ": pilotlight phase=decide position=1\n" {
		t.Errorf("first heartbeat of who joined %q", beat)
	}
	var executed atomic.Int64
	goOn := make(chan struct{})
	w.replica("chat", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		executed.Add(1)
		rw.Header().Set("Content-Type", "text/event-stream")
		rw.Header().Set("X-Made-By", "replica")
		_, _ = io.WriteString(rw, "data: 1\n\n")
		_ = http.NewResponseController(rw).Flush()
		<-goOn
		_, _ = io.WriteString(rw, "data: 2\n\ndata: [DONE]\n\n")
	})
	for name, of := range map[string]*bufio.Reader{"first": lines, "joined while held": joined} {
		if got := untilData(t, of); got != "data: 1\n" {
			t.Errorf("%s: %q", name, got)
		}
	}
	late, err := http.DefaultClient.Do(w.request(t.Context(), "POST", "/v1/chat/completions", strings.NewReader(chat), keyed...))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = late.Body.Close() }()
	stored := bufio.NewReader(late.Body)
	if got := untilData(t, stored); got != "data: 1\n" {
		t.Errorf("joined while it runs: %q", got)
	}
	close(goOn)
	for name, of := range map[string]*bufio.Reader{"first": lines, "joined while held": joined, "joined while it runs": stored} {
		if rest, err := io.ReadAll(of); err != nil || string(rest) != "\ndata: 2\n\ndata: [DONE]\n\n" {
			t.Errorf("%s: %q %v", name, rest, err)
		}
	}
	if h := one.Trailer; h.Get("Pilotlight-Replica") != "r1" || h.Get("Pilotlight-Cold-Start") != "true" || h.Get("X-Made-By") != "replica" || h.Get("Server-Timing") == "" {
		t.Errorf("trailers %v", h)
	}
	if h := late.Header; h.Get("X-Made-By") != "replica" || h.Get("Content-Type") != "text/event-stream" {
		t.Errorf("headers of who had no heartbeat %v", h)
	}
	if executed.Load() != 1 {
		t.Errorf("executed %d times", executed.Load())
	}
}

func TestAKeyedStreamThatFailsAfterAHeartbeatIsToldByAnEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, beatingPolicy)
	resp, lines, _ := firstBeat(t, w, "/v1/chat/completions", chat, "Content-Type", "application/json", "Idempotency-Key", "k", "Pilotlight-Deadline", "1500ms")
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.Contains(string(rest), `data: {"error":{"code":"deadline-passed"`) || !strings.HasSuffix(string(rest), "\n\n") || resp.Trailer.Get("Server-Timing") == "" {
		t.Errorf("%q %v %v", rest, err, resp.Trailer)
	}
	w.untilHeld("chat", 0)
	_, lines, _ = firstBeat(t, w, "/v1/chat/completions", chat, "Content-Type", "application/json", "Idempotency-Key", "k")
	w.replica("chat", "r1", 1, func(rw http.ResponseWriter, r *http.Request) { http.Error(rw, `{"error":{"message":"too long"}}`, 400) })
	if rest, err := io.ReadAll(lines); err != nil || !strings.HasSuffix(string(rest), "data: {\"error\":{\"message\":\"too long\"}}\n\n") {
		t.Errorf("%q %v", rest, err)
	}
}

func TestAStreamThatBreaksOffBetweenTwoEventsEndsWithAnEvent(t *testing.T) {
	t.Parallel()
	for name, header := range map[string][]string{"plain": nil, "keyed": {"Idempotency-Key", "k"}} {
		for sent, want := range map[string]string{"data: 1\n\n": `"upstream-failed"`, "data: {\"n\"": ""} {
			w := newWorld(t, beatingPolicy)
			_, lines, _ := firstBeat(t, w, "/v1/chat/completions", chat, append(header, "Content-Type", "application/json")...)
			goOn := make(chan struct{})
			w.replica("chat", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(rw, sent)
				_ = http.NewResponseController(rw).Flush()
				<-goOn
				panic(http.ErrAbortHandler)
			})
			for b := byte(0); b != 'd'; { // of "data": the client has the beginning
				var err error
				if b, err = lines.ReadByte(); err != nil {
					t.Fatal(err)
				} else if b == ':' {
					_, _ = lines.ReadString('\n')
				}
			}
			close(goOn)
			rest, err := io.ReadAll(lines)
			if whole := want != ""; whole != (err == nil) || !strings.Contains(string(rest), want) {
				t.Errorf("%s after %q: %q %v", name, sent, rest, err)
			}
		}
	}
}

func TestAHeartbeatTellsThePlaceAmongAllThatWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t, beatingPolicy)
	for range 2 { // no connection of this activator waits for them
		w.do("POST", "/v1/chat/completions", chat, "Prefer", "respond-async")
	}
	w.untilHeld("chat", 2)
	if _, _, beat := firstBeat(t, w, "/v1/chat/completions", chat, "Content-Type", "application/json"); beat != ": pilotlight phase=decide position=3\n" {
		t.Errorf("%q", beat)
	}
}

func TestATranslationForWhoReadsAStreamIsOneEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, strings.NewReplacer("passthrough", "apertium", `max_body = "1MiB"`, `heartbeat = "1s"`).Replace(translatePolicy))
	for name, header := range map[string][]string{"plain": nil, "keyed": {"Idempotency-Key", "k"}} {
		_, lines, _ := firstBeat(t, w, "/translate", hello, append(header, "Accept", "text/event-stream")...)
		replica := w.replica("translate", name, 1, func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(rw, `{"responseData":{"translatedText":"hola"},"responseStatus":200}`)
		})
		got := untilData(t, lines)
		rest, err := io.ReadAll(lines)
		if !strings.Contains(got, `"translation":"hola"`) || err != nil || string(rest) != "\n" {
			t.Errorf("%s: %q %q %v", name, got, rest, err)
		}
		replica.Close()
		w.offers = nil
		w.offer("translate")
		w.until("the replica is gone", func() bool { return len(w.act.cfg.Queue.Offers("translate")) == 0 })
	}
}
