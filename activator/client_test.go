package activator

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// raw sends bytes as they are and returns the connection.
func (w *world) raw(text string) *net.TCPConn {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		w.t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

func TestABodyThatEndsEarlyIsTheClientsFault(t *testing.T) {
	w := newWorld(t, translatePolicy, plainPolicy)
	var n atomic.Int64
	w.replica("plain", "r1", 1, echo(&n))
	for _, c := range []struct{ name, request string }{
		{"buffered", "POST /recognize HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab"},
		{"streamed", "POST /recognize HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\nab"},
		{"translation", "POST /translate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"},
		{"bad chunk", "POST /recognize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := w.raw(c.request)
			_ = conn.CloseWrite()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil && resp.StatusCode != 400 {
				t.Errorf("status %d, want 400 or no answer at all", resp.StatusCode)
			}
		})
	}
	w.untilHeld("plain", 0)
	w.untilHeld("translate", 0)
}

func TestAClientThatPausesInItsBodyIsCutOffAndHoldsNoSlot(t *testing.T) {
	w := newWorld(t, plainPolicy)
	w.act.cfg.ClientPace.Grace = 300 * time.Millisecond
	var n atomic.Int64
	w.replica("plain", "r1", 1, echo(&n))
	for _, length := range []int{100, 200_000} {
		conn := w.raw(fmt.Sprintf("POST /recognize HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\nab", length))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 400 {
			t.Errorf("%d bytes: %v %v, want 400", length, resp, err)
		}
	}
	if a := w.do("POST", "/recognize", "x"); a.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", a.StatusCode, a.body)
	}
}

func TestAClientThatDoesNotReadLosesItsSlot(t *testing.T) {
	w := newWorld(t, strings.Replace(plainPolicy, "hold {", "request {\n    idle = \"1s\"\n  }\n  hold {", 1))
	w.replica("plain", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		chunk := bytes.Repeat([]byte("x"), 64<<10)
		for r.Context().Err() == nil {
			if _, err := rw.Write(chunk); err != nil {
				return
			}
		}
	})
	w.raw("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n") // and never reads
	w.until("it has the slot", func() bool {
		st := w.act.cfg.Queue.Standings()
		return len(st) == 1 && st[0].InFlight == 1
	})
	w.until("the slot is back", func() bool { return w.act.cfg.Queue.Standings()[0].InFlight == 0 })
}

func TestBodiesInMemoryAreBoundedBeforeTheyAreRead(t *testing.T) {
	w := newWorld(t, strings.Replace(plainPolicy, `max_body = "4MiB"`, `max_body = "1MiB"
    max_bytes = "1MiB"`, 1))
	half := strings.Repeat("x", 600<<10)
	first := w.async("POST", "/recognize", half)
	w.untilHeld("plain", 1)
	if a := w.do("POST", "/recognize", half); a.StatusCode != 429 {
		t.Errorf("second: %d %s", a.StatusCode, a.body)
	}
	var n atomic.Int64
	w.replica("plain", "r1", 1, echo(&n))
	if a := w.get(first); a.StatusCode != 200 {
		t.Errorf("first: %d", a.StatusCode)
	}
	if b := w.act.routes.Load().services["plain"].buffered.bytes.Load(); b != 0 {
		w.until("the account is empty", func() bool { return w.act.routes.Load().services["plain"].buffered.bytes.Load() == 0 })
	}
}

func TestAnEnginesPrivateEndpointsAreNotReachedThroughAPrefix(t *testing.T) {
	w := newWorld(t, `
policy "stripped" {
  job = "x"
  route {
    path_prefixes = ["/e"]
    strip_prefix  = true
  }
}`)
	var seen atomic.Value
	w.replica("stripped", "r1", 1, func(rw http.ResponseWriter, r *http.Request) { seen.Store(r.URL.Path) })
	for _, path := range []string{"/e/sleep", "/e/v1/load_lora_adapter", "/e/metrics", "/e/collective_rpc/x", "/e%2fsleep", "/e/health", "/e/pilotlight/x"} {
		if a := w.do("POST", path, "{}"); a.StatusCode != 404 {
			t.Errorf("%s: %d; the replica saw %v", path, a.StatusCode, seen.Load())
		}
	}
	if a := w.do("POST", "/e/v1/predict", "{}"); a.StatusCode != 200 || seen.Load() != "/v1/predict" {
		t.Errorf("%d; the replica saw %v", a.StatusCode, seen.Load())
	}
}

func TestTheRequestIDSurvivesInformationalAnswers(t *testing.T) {
	w := newWorld(t, plainPolicy)
	w.replica("plain", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Link", "</x>; rel=preload")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Set("X-Request-Id", "the engine's own")
		_, _ = io.WriteString(rw, "ok")
	})
	a := w.do("GET", "/stream", "", "X-Request-Id", "mine")
	if got := a.Header.Values("X-Request-Id"); len(got) != 1 || got[0] != "mine" {
		t.Errorf("X-Request-Id %q", got)
	}
}

func TestACallersDeadlineBoundsTheWholeRequest(t *testing.T) {
	w := newWorld(t)
	w.replica("translate", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	a := w.do("POST", "/translate", hello, "Pilotlight-Deadline", "200ms")
	if a.StatusCode != 504 || !strings.Contains(a.body, "deadline-passed") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestNothingBelowModelsWakesAnything(t *testing.T) {
	w := newWorld(t, `
policy "all" {
  job = "x"
  route {
    path_prefixes = ["/v1"]
    models        = ["org/gemma"]
  }
}`)
	for path, status := range map[string]int{"/v1/models": 200, "/v1/models/": 200, "/v1/models/org/gemma": 200, "/v1/models/nope": 404} {
		if a := w.do("GET", path, ""); a.StatusCode != status {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
	if n := w.held("all"); n != 0 {
		t.Errorf("%d held", n)
	}
}

func TestALargeBodyMayTakeLongerThanFirstByteToArrive(t *testing.T) {
	w := newWorld(t, strings.Replace(plainPolicy, "hold {", "request {\n    first_byte = \"2s\"\n  }\n  hold {", 1))
	w.replica("plain", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(rw, n)
	})
	if a := w.do("POST", "/recognize", "x"); a.body != "1" { // warm: the large one is not held first, but streams
		t.Fatalf("%v %s", a.err, a.body)
	}
	const parts, size = 10, 20_000
	conn := w.raw(fmt.Sprintf("POST /recognize HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", parts*size))
	for range parts {
		if _, err := conn.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		<-time.After(250 * time.Millisecond)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 || string(b) != "200000" {
		t.Errorf("%d %s", resp.StatusCode, b)
	}
}
