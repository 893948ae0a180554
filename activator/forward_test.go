package activator

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestAReplicaThatDiesIsReplacedByAnotherWhereThatIsSafe(t *testing.T) {
	w := newWorld(t, translatePolicy, plainPolicy)
	var n atomic.Int64
	dies := func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, _ := rw.(http.Hijacker).Hijack()
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
	w.replica("translate", "bad", 1, dies)
	w.replica("translate", "good", 1, echo(&n))
	for i := range 5 {
		if a := w.do("POST", "/translate", hello); a.StatusCode != 200 || a.Header.Get("Pilotlight-Replica") != "good" {
			t.Fatalf("%d: %d from %s: %s", i, a.StatusCode, a.Header.Get("Pilotlight-Replica"), a.body)
		}
	}
	w.offers = nil
	w.replica("plain", "bad", 1, dies)
	a := w.do("POST", "/recognize", "picture")
	if a.StatusCode != 502 || !strings.Contains(a.body, "upstream-failed") {
		t.Errorf("not repeatable: %d %s", a.StatusCode, a.body)
	}
	if a := w.do("POST", "/recognize", "picture", "Idempotency-Key", "k", "Pilotlight-Deadline", "100ms"); a.StatusCode != 504 {
		t.Errorf("keyed, so repeatable, but nobody else is there: %d %s", a.StatusCode, a.body)
	}
}

func TestARequestThatWasNeverSentIsAlwaysTriedAgain(t *testing.T) {
	w := newWorld(t, plainPolicy)
	var n atomic.Int64
	w.offers = []jobs.SlotOffer{{ID: "gone", Index: 0, Address: refused(t), Slots: 1}}
	w.replica("plain", "good", 1, echo(&n))
	if a := w.do("POST", "/recognize", "picture"); a.StatusCode != 200 || a.body != "picture" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	// A body too large to keep is not lost either: nothing of it had been read.
	big := bytes.Repeat([]byte("x"), 1<<20)
	if a := w.send(w.request(t.Context(), "POST", "/recognize", bytes.NewReader(big))); a.StatusCode != 200 || len(a.body) != len(big) {
		t.Errorf("%d, %d bytes", a.StatusCode, len(a.body))
	}
}

func TestReplicasThatAreNotReachedCostNoAttempt(t *testing.T) {
	for path, header := range map[string][]string{"/translate": nil, "/translate ": {"Idempotency-Key", "k"}, "/recognize": nil} {
		path, service, policy := strings.TrimSpace(path), "translate", translatePolicy
		if path == "/recognize" {
			service, policy = "plain", plainPolicy // not to be repeated
		}
		w := newWorld(t, policy)
		for i := range 5 { // retry.attempts is 3
			w.offers = append(w.offers, jobs.SlotOffer{ID: fmt.Sprint("gone", i), Index: i, Address: refused(t), Slots: 1})
		}
		var n atomic.Int64
		w.replica(service, "good", 1, echo(&n))
		a := w.do("POST", path, hello, header...)
		if a.StatusCode != 200 || a.body != hello || a.Header.Get("Pilotlight-Replica") != "good" || n.Load() != 1 {
			t.Errorf("%s %v: %d %s, after %d executions", path, header, a.StatusCode, a.body, n.Load())
		}
		s := w.act.routes.Load().services[service]
		w.until("its slot is back", func() bool { return s.inFlight.Load() == 0 }) // and it was counted before
		if s.completed.Load() != 1 || s.failed.Load() != 0 {
			t.Errorf("%s %v: %d counted, %d as failed", path, header, s.completed.Load(), s.failed.Load())
		}
	}
}

func TestWhoIsHeldUntilItsDeadlineBecauseItsReplicaRefusesIsToldSo(t *testing.T) {
	w := newWorld(t)
	w.offers = []jobs.SlotOffer{{ID: "gone", Address: refused(t), Slots: 1}}
	w.offer("translate")
	w.until("one that was sent before its deadline", func() bool {
		a := w.do("POST", "/translate", hello, "Pilotlight-Deadline", "300ms")
		if a.StatusCode != 504 || !strings.Contains(a.body, "deadline-passed") {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		return strings.Contains(a.body, "replica gone was not reached: dial tcp")
	})
}

func TestAttemptsAreBounded(t *testing.T) {
	w := newWorld(t)
	var tries atomic.Int64
	for i := range 2 { // one that refuses costs none, and gives none back
		w.offers = append(w.offers, jobs.SlotOffer{ID: fmt.Sprint("gone", i), Index: i, Address: refused(t), Slots: 1})
	}
	for i := range 5 {
		w.replica("translate", fmt.Sprintf("r%d", i), 1, func(rw http.ResponseWriter, r *http.Request) {
			tries.Add(1)
			panic(http.ErrAbortHandler)
		})
	}
	a := w.do("POST", "/translate", hello)
	if a.StatusCode != 502 || tries.Load() != 3 {
		t.Errorf("%d after %d tries, want 502 after 3: %s", a.StatusCode, tries.Load(), a.body)
	}
}

func TestAClientThatGoesCancelsItsRequestAtTheReplica(t *testing.T) {
	w := newWorld(t)
	began, cancelled := make(chan struct{}), make(chan struct{})
	w.replica("translate", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(began)
		<-r.Context().Done()
		close(cancelled)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go w.send(w.request(ctx, "POST", "/translate", strings.NewReader(hello)))
	<-began
	cancel()
	select {
	case <-cancelled:
	case <-time.After(10 * time.Second):
		t.Fatal("the replica computes on")
	}
}

func TestAClientThatGoesWhileHeldLeavesNoTicket(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	go w.send(w.request(ctx, "POST", "/translate", strings.NewReader(hello)))
	w.untilHeld("translate", 1)
	cancel()
	w.untilHeld("translate", 0)
}

func TestAStreamIsPassedOnAsItComes(t *testing.T) {
	w := newWorld(t, plainPolicy)
	more := make(chan struct{})
	w.replica("plain", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: one\n\n")
		rw.(http.Flusher).Flush()
		<-more
		_, _ = io.WriteString(rw, "data: two\n\n")
	})
	resp, err := http.DefaultClient.Do(w.request(t.Context(), "GET", "/stream", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewReader(resp.Body)
	if line, err := lines.ReadString('\n'); line != "data: one\n" {
		t.Fatalf("%q %v", line, err)
	}
	close(more)
	if rest, _ := io.ReadAll(lines); !strings.Contains(string(rest), "data: two") {
		t.Errorf("rest %q", rest)
	}
}

func TestALargeBodyStreamsWhileASlotIsFreeAndIsHeldOtherwise(t *testing.T) {
	w := newWorld(t, plainPolicy)
	var n atomic.Int64
	big := bytes.Repeat([]byte("0123456789"), 300_000) // 3 MB
	req := w.request(t.Context(), "POST", "/recognize", bytes.NewReader(big))
	ch := make(chan answer, 1)
	go func() { ch <- w.send(req) }()
	w.untilHeld("plain", 1)
	w.replica("plain", "r1", 1, echo(&n))
	if a := w.get(ch); a.StatusCode != 200 || a.body != string(big) {
		t.Fatalf("held: %d, %d bytes", a.StatusCode, len(a.body))
	}
	if a := w.send(w.request(t.Context(), "POST", "/recognize", bytes.NewReader(big))); a.StatusCode != 200 || a.body != string(big) {
		t.Fatalf("warm: %d, %d bytes", a.StatusCode, len(a.body))
	}
	// Without a length, over the limit: known only while it streams.
	over := io.MultiReader(bytes.NewReader(big), bytes.NewReader(big))
	if a := w.send(w.request(t.Context(), "POST", "/recognize", struct{ io.Reader }{over})); a.err == nil && a.StatusCode != 413 {
		t.Errorf("over the limit: %d", a.StatusCode)
	}
}

func TestAnUpgradedConnectionCarriesBothWaysAndHoldsItsSlot(t *testing.T) {
	w := newWorld(t, plainPolicy)
	w.replica("plain", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		conn, buf, _ := rw.(http.Hijacker).Hijack()
		defer func() { _ = conn.Close() }()
		_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = buf.Flush()
		line, _ := buf.ReadString('\n')
		_, _ = buf.WriteString("echo " + line)
		_ = buf.Flush()
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET /stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Pilotlight-Replica") != "r1" {
		t.Fatalf("%v %v", resp, err)
	}
	if n := w.act.cfg.Queue.Standings()[0].InFlight; n != 1 {
		t.Errorf("in flight = %d while the connection is open", n)
	}
	_, _ = io.WriteString(conn, "hello\n")
	if line, _ := r.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("got %q", line)
	}
	_ = conn.Close()
	w.until("the slot is back", func() bool { return w.act.cfg.Queue.Standings()[0].InFlight == 0 })
}

func TestAReplicaThatIsSilentIsCutOff(t *testing.T) {
	w := newWorld(t, strings.Replace(translatePolicy, "hold {", "request {\n    first_byte = \"1s\"\n  }\n  hold {", 1))
	w.replica("translate", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	if a := w.do("POST", "/translate", hello); a.StatusCode != 504 || !strings.Contains(a.body, "upstream-timeout") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}
