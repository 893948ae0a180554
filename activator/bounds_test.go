package activator

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const modelsPolicy = `
policy "gemma" {
  job = "gemma"
  route { models = ["gemma"] }
  hold { max_body = "4MiB" }
}`

func TestWhatIsAnnouncedReservesNoMemory(t *testing.T) {
	w := newWorld(t, strings.Replace(plainPolicy, `max_body = "4MiB"`, `max_body = "4MiB"
    max_bytes = "8MiB"`, 1))
	w.act.cfg.ClientPace.Grace = time.Minute // they are slow, and stay
	for range 20 {                           // 80 MiB
		w.raw("POST /recognize HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\nx")
	}
	account := &w.act.routes.Load().services["plain"].buffered.bytes
	w.until("all are being read", func() bool { return account.Load() >= 20*smallBody })
	ch := w.async("POST", "/recognize", strings.Repeat("x", 1<<20))
	w.untilHeld("plain", 1)
	var n atomic.Int64
	w.replica("plain", "r1", 1, echo(&n))
	if a := w.get(ch); a.StatusCode != 200 {
		t.Errorf("%d %s: 20 clients that send next to nothing keep out one that does", a.StatusCode, a.body)
	}
}

func TestBodiesInMemoryAreBoundedOverAllServices(t *testing.T) {
	w := newWorld(t, translatePolicy, plainPolicy)
	w.act.cfg.MaxBuffered = 1 << 20
	big := strings.Repeat("x", 700<<10)
	first := w.async("POST", "/recognize", big)
	w.untilHeld("plain", 1)
	a := w.do("POST", "/translate", `{"target_lang":"es","text":"`+big+`"}`)
	if a.StatusCode != 429 || a.Header.Get("Retry-After") == "" || !strings.Contains(a.body, "all services in this activator") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	var n atomic.Int64
	w.replica("plain", "r1", 1, echo(&n))
	if a := w.get(first); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	w.until("all is given back", func() bool { return w.act.buffered.Load() == 0 })
}

// onlyX is a body that takes no memory in the client.
type onlyX struct{}

func (onlyX) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestAHeldBodyIsInMemoryOnce(t *testing.T) {
	const size = 4 << 20 // a call to the store takes less than its time also where it is slow
	for _, c := range []struct {
		name   string
		header []string
		own    bool // by the activator; else by the store
	}{
		{"of a connection", nil, true},
		{"with a key", []string{"Idempotency-Key", "k"}, false},
		{"asynchronous", []string{"Prefer", "respond-async"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, plainPolicy)
			// What the first request of its kind sets up for good is not the body's.
			w.do("POST", "/recognize", "x", append(c.header, "Pilotlight-Deadline", "100ms")...)
			w.untilHeld("plain", 0)
			before := liveHeap()
			req := w.request(t.Context(), "POST", "/recognize", io.LimitReader(onlyX{}, size), c.header...)
			req.ContentLength = size
			ch := make(chan answer, 1)
			go func() { ch <- w.send(req) }()
			w.untilHeld("plain", 1)
			w.until("the embedded store's own copies are gone", func() bool { return liveHeap()-before < size*3/2 })
			if got := w.act.buffered.Load(); c.own && got != size || !c.own && got != 0 {
				t.Errorf("%d bytes are counted as in this activator's memory", got)
			}
			var n atomic.Int64
			w.replica("plain", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
				got, _ := io.Copy(io.Discard, r.Body)
				n.Store(got)
			})
			w.until("it has been sent whole", func() bool { return n.Load() == size })
			w.get(ch)
		})
	}
}

func TestALargeBodyStreamsThroughWithoutBeingKept(t *testing.T) {
	const size = 16 << 20
	w := newWorld(t, strings.Replace(plainPolicy, `max_body = "4MiB"`, `max_body = "16MiB"`, 1))
	most, before := int64(0), int64(0)
	w.replica("plain", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 1<<20)
		for {
			if _, err := io.ReadFull(r.Body, buf); err != nil {
				return
			}
			most = max(most, liveHeap()-before)
		}
	})
	w.do("POST", "/recognize", "warm up")
	before = liveHeap()
	req := w.request(t.Context(), "POST", "/recognize", io.LimitReader(onlyX{}, size))
	req.ContentLength = size
	if a := w.send(req); a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if most > 4<<20 {
		t.Errorf("%d KiB more in memory while %d KiB streamed", most>>10, size>>10)
	}
}

func TestAModelIsFoundWithoutACopyOfItsBody(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`{"a":0`)
	for i := range 200_000 {
		fmt.Fprintf(&b, `,"%d":[]`, i)
	}
	b.WriteString(`,"model":"gemma","messages":"` + strings.Repeat("x", 1<<20) + `"}`)
	body := b.Bytes()
	if got, err := modelOf(body); got != "gemma" || err != nil {
		t.Fatalf("%q %v", got, err)
	}
	if n := testing.AllocsPerRun(3, func() { _, _ = modelOf(body) }); n > 20 {
		t.Errorf("%.0f allocations for a body of 200,000 fields", n)
	}
}

func FuzzAModelIsReadAsEncodingJSONReadsIt(f *testing.F) {
	for _, s := range []string{`{"model":"a"}`, `{"model":"a","model":"b"}`, ` { "x" : [1,{"model":"no"}] , "model" : "\"}" } `, `{"mod\u0065l":"a"}`,
		`{"Model":"a"}`, `{}`, `[]`, `"model"`, `{"model":1}`, `{"model":null}`, `{"a":-1.5e3,"model":"x"}`, `{"a":true,"b":"\\","model":"x"}`, `1`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := modelOf(body)
		var fields map[string]json.RawMessage
		want := ""
		bad := json.Unmarshal(body, &fields) != nil
		if raw, ok := fields["model"]; ok && !bad {
			bad = json.Unmarshal(raw, &want) != nil
		}
		if got != want && !bad || (err == nil) != (!bad && want != "") {
			t.Errorf("%q: %q, %v; want %q", body, got, err, want)
		}
	})
}

func TestNothingIsDecompressed(t *testing.T) {
	w := newWorld(t, strings.Replace(translatePolicy, `["gemma"]`, `["other"]`, 1), modelsPolicy)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = io.Copy(z, io.LimitReader(onlyX{}, 64<<20))
	_ = z.Close()
	for _, path := range []string{"/v1/completions", "/translate"} {
		a := w.do("POST", path, bomb.String(), "Content-Encoding", "gzip", "Content-Type", "application/json")
		if a.StatusCode != 400 {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	if n := w.held("gemma") + w.held("translate"); n != 0 {
		t.Errorf("%d held", n)
	}
}

func TestAHeaderOfTooManyFieldsIsRefused(t *testing.T) {
	w := newWorld(t, translatePolicy)
	many := func(n int) []string {
		var h []string
		for i := range n {
			h = append(h, fmt.Sprintf("X-%d", i), "y")
		}
		return h
	}
	a := w.do("GET", "/health", "", many(maxFields)...)
	if a.StatusCode != 431 || !strings.Contains(a.body, "header-too-large") || !strings.Contains(a.body, "at most 128") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := w.do("GET", "/health", "", many(maxFields-10)...); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestOnlyWebSocketsAreUpgraded(t *testing.T) {
	w := newWorld(t, plainPolicy)
	var seen atomic.Value
	w.replica("plain", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		seen.Store(strings.Join([]string{r.Header.Get("Upgrade"), r.Header.Get("Http2-Settings"), r.Header.Get("Connection")}, "|"))
	})
	for _, upgrade := range []string{"h2c", "TLS/1.0", "websocket, h2c"} {
		a := w.do("GET", "/stream", "", "Connection", "Upgrade, HTTP2-Settings", "Upgrade", upgrade, "HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA")
		if a.StatusCode != 200 || seen.Load() != "||" {
			t.Errorf("%s: %d; the replica saw %q", upgrade, a.StatusCode, seen.Load())
		}
	}
	conn := w.raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode < 400 {
		t.Errorf("HTTP/2 without TLS: %v %v, want a refusal in HTTP/1.1", resp, err)
	}
}

func TestAReplicasHeaderIsBounded(t *testing.T) {
	w := newWorld(t, plainPolicy)
	w.replica("plain", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		conn, _, _ := rw.(http.Hijacker).Hijack()
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		for range 1000 {
			if _, err := fmt.Fprintf(conn, "X-A: %s\r\n", strings.Repeat("y", 1000)); err != nil {
				return
			}
		}
	})
	if a := w.do("GET", "/stream", ""); a.StatusCode != 502 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestALargeEventOfAReplicaIsPassedOnInParts(t *testing.T) {
	const size = 16 << 20
	w := newWorld(t, plainPolicy)
	w.replica("plain", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: ")
		_, _ = io.Copy(rw, io.LimitReader(onlyX{}, size))
		_, _ = io.WriteString(rw, "\n\n")
	})
	before := liveHeap()
	resp, err := http.DefaultClient.Do(w.request(t.Context(), "GET", "/stream", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	buf, total := make([]byte, 1<<20), 0
	for {
		n, err := io.ReadFull(resp.Body, buf)
		total += n
		if err != nil {
			break
		}
		if more := liveHeap() - before; more > 4<<20 {
			t.Fatalf("%d KiB more in memory", more>>10)
		}
	}
	if total < size {
		t.Errorf("%d bytes", total)
	}
}

func TestAClientThatTricklesIsCutOffAndHoldsNothing(t *testing.T) {
	w := newWorld(t, plainPolicy)
	for _, length := range []int{1000, 200_000} { // read before it is held; streamed, or read to be held
		conn := w.raw(fmt.Sprintf("POST /recognize HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", length))
		stop := make(chan struct{})
		go trickle(conn, stop)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		close(stop)
		if err != nil || resp.StatusCode != 400 {
			t.Fatalf("%d bytes: %v %v, want 400", length, resp, err)
		}
		if b, _ := io.ReadAll(resp.Body); !bytes.Contains(b, []byte("240 bytes per second")) {
			t.Errorf("%s", b)
		}
	}
	w.until("nothing is held or counted", func() bool { return w.held("plain") == 0 && w.act.buffered.Load() == 0 })
}

// trickle sends a byte every 20 ms: never a pause that would be long.
func trickle(conn net.Conn, stop <-chan struct{}) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			if _, err := conn.Write([]byte("x")); err != nil {
				return
			}
		}
	}
}

func TestAChunkedBodyWithoutEndIsCutAtItsLimit(t *testing.T) {
	w := newWorld(t, translatePolicy, plainPolicy)
	var n atomic.Int64
	w.replica("plain", "r1", 1, echo(&n))
	for _, path := range []string{"/translate", "/recognize"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		a := w.send(w.request(ctx, "POST", path, onlyX{}))
		cancel()
		if ctx.Err() != nil && a.err != nil && strings.Contains(a.err.Error(), "deadline") {
			t.Errorf("%s: it is read for ever", path)
		}
		if a.err == nil && a.StatusCode != 413 {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	w.until("nothing is counted", func() bool { return w.act.buffered.Load() == 0 })
}
