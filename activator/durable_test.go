package activator

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// stateAt reads a request's state.
func (w *world) stateAt(location string) (int, requestState) {
	w.t.Helper()
	a := w.do("GET", location, "")
	if a.err != nil {
		w.t.Fatal(a.err)
	}
	var s requestState
	if err := json.Unmarshal([]byte(a.body), &s); err != nil {
		w.t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	return a.StatusCode, s
}

func TestTheSameKeyIsExecutedOnceAndItsAnswerReplayedWithStatusHeadersAndBody(t *testing.T) {
	w := newWorld(t, translatePolicy, plainPolicy)
	var n atomic.Int64
	w.replica("plain", "r1", 2, func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Header.Get("Idempotency-Key") != "" || r.Header.Get("X-Request-Id") == "" || r.URL.RawQuery != "a=b" || r.Host != "x.example.org" {
			rw.WriteHeader(http.StatusInternalServerError)
			return
		}
		rw.Header().Set("X-Made-By", "replica")
		rw.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprintf(rw, "%d: %s", n.Add(1), b)
	})
	send := func(body string, header ...string) answer {
		return w.do("POST", "/recognize?a=b", body, append(header, "Host", "x.example.org", "X-Request-Id", "mine")...)
	}
	for i := range 3 {
		a := send("picture", "Idempotency-Key", "k")
		if a.err != nil || a.StatusCode != http.StatusTeapot || a.body != "1: picture" || a.Header.Get("X-Made-By") != "replica" ||
			a.Header.Get("Pilotlight-Replica") != "r1" || a.Header.Get("X-Request-Id") != "mine" || a.ContentLength != 10 {
			t.Fatalf("%d: %v %d %q %v", i, a.err, a.StatusCode, a.body, a.Header)
		}
	}
	if a := send("another", "Idempotency-Key", "k"); a.StatusCode != 422 || !strings.Contains(a.body, "urn:pilotlight:problem:key-reused") {
		t.Errorf("another body: %d %s", a.StatusCode, a.body)
	}
	if a := send("picture", "Idempotency-Key", "other"); a.body != "2: picture" {
		t.Errorf("another key: %q", a.body)
	}
	if a := send("picture", "Idempotency-Key", strings.Repeat("k", 256)); a.StatusCode != 400 {
		t.Errorf("a key too long: %d %s", a.StatusCode, a.body)
	}
}

func TestAClientThatDropsAndComesBackJoinsItsRequestAtItsPlace(t *testing.T) {
	w := newWorld(t)
	ctx, drop := context.WithCancel(t.Context())
	gone := make(chan answer, 1)
	go func() {
		gone <- w.send(w.request(ctx, "POST", "/translate", strings.NewReader(hello), "Idempotency-Key", "k"))
	}()
	w.untilHeld("translate", 1)
	later := w.async("POST", "/translate", hello)
	w.untilHeld("translate", 2)
	drop()
	if a := <-gone; a.err == nil {
		t.Fatal("it was answered")
	}
	w.until("it has left", func() bool { return w.waits("translate") == 0 })
	again := w.async("POST", "/translate", hello, "Idempotency-Key", "k")
	w.until("it waits again", func() bool { return w.waits("translate") == 1 })
	if w.held("translate") != 2 {
		t.Fatalf("%d are held, want 2: the keyed one stays", w.held("translate"))
	}
	var n atomic.Int64
	w.replica("translate", "r1", 1, func(rw http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(rw, n.Add(1)) })
	if a := w.get(again); a.body != "1" || a.Header.Get("Pilotlight-Cold-Start") != "true" {
		t.Errorf("the keyed one got %q, cold %s", a.body, a.Header.Get("Pilotlight-Cold-Start"))
	}
	if a := w.get(later); a.body != "2" {
		t.Errorf("the later one got %q", a.body)
	}
}

func TestOurOwnRefusalsFreeTheKey(t *testing.T) {
	w := newWorld(t)
	if a := w.do("POST", "/translate", hello, "Idempotency-Key", "k", "Pilotlight-Deadline", "100ms"); a.StatusCode != 504 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	w.untilHeld("translate", 0)
	var n atomic.Int64
	w.replica("translate", "r1", 1, echo(&n))
	if a := w.do("POST", "/translate", hello, "Idempotency-Key", "k"); a.StatusCode != 200 || n.Load() != 1 {
		t.Errorf("%d %s, %d executions", a.StatusCode, a.body, n.Load())
	}
}

func TestAStreamWithAKeyArrivesChunkByChunkAndIsReplayedWhole(t *testing.T) {
	w := newWorld(t, plainPolicy)
	more := make(chan struct{})
	w.replica("plain", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			_, _ = fmt.Fprintf(rw, "data: %d\n\n", i)
			_ = http.NewResponseController(rw).Flush()
			<-more
		}
	})
	resp, err := http.DefaultClient.Do(w.request(t.Context(), "POST", "/stream", strings.NewReader("x"), "Idempotency-Key", "k"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewReader(resp.Body)
	for i := range 3 {
		line, err := lines.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("%q %v", line, err)
		}
		_, _ = lines.ReadString('\n')
		more <- struct{}{} // it goes on only when this part has arrived
	}
	if a := w.do("POST", "/stream", "x", "Idempotency-Key", "k"); a.body != "data: 0\n\ndata: 1\n\ndata: 2\n\n" || a.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("replayed: %q", a.body)
	}
}

func TestAnAnswerLargerThanIsKeptIsAFailureThatSaysSo(t *testing.T) {
	w := newWorld(t, strings.Replace(translatePolicy, "  hold {", "  result { max_size = \"1KiB\" }\n  hold {", 1))
	w.replica("translate", "r1", 1, func(rw http.ResponseWriter, r *http.Request) { _, _ = rw.Write(make([]byte, 2000)) })
	a := w.do("POST", "/translate", hello, "Idempotency-Key", "k")
	if a.StatusCode != 502 || !strings.Contains(a.body, "result.max_size") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestAKeyedRequestIsSentAgainWhereThatIsSafeAndItsFailureIsToldOnce(t *testing.T) {
	w := newWorld(t)
	var tries atomic.Int64
	for i := range 3 {
		w.replica("translate", fmt.Sprintf("r%d", i), 1, func(rw http.ResponseWriter, r *http.Request) {
			tries.Add(1)
			panic(http.ErrAbortHandler)
		})
	}
	a := w.do("POST", "/translate", hello, "Idempotency-Key", "k")
	if a.StatusCode != 502 || !strings.Contains(a.body, "upstream-failed") || tries.Load() != 3 {
		t.Errorf("%d %s after %d tries", a.StatusCode, a.body, tries.Load())
	}
}

func TestThoseWhoWaitForAKeyedRequestAreToldWhenTheServiceIsPausedOrTheActivatorStops(t *testing.T) {
	w := newWorld(t)
	first := w.async("POST", "/translate", hello, "Idempotency-Key", "k")
	w.untilHeld("translate", 1)
	w.statuses.set(pausedStatus("translate"))
	if a := w.get(first); a.StatusCode != 503 || !strings.Contains(a.body, "problem:paused") || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	w.untilHeld("translate", 0)
	w.statuses.set(zeroStatus("translate"))
	second := w.async("POST", "/translate", hello, "Idempotency-Key", "k")
	w.untilHeld("translate", 1)
	w.act.StopHolding()
	if a := w.get(second); a.StatusCode != 503 || !strings.Contains(a.body, "problem:shutting-down") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if w.held("translate") != 1 {
		t.Error("the keyed request is not left to others")
	}
}

func TestAnAsyncRequestIsAcceptedPolledAndItsResultFetched(t *testing.T) {
	w := newWorld(t)
	a := w.do("POST", "/translate", hello, "Prefer", "respond-async")
	location := a.Header.Get("Location")
	if a.StatusCode != 202 || a.Header.Get("Preference-Applied") != "respond-async" || !strings.HasPrefix(location, "/pilotlight/v1/requests/translate.") {
		t.Fatalf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
	if code, s := w.stateAt(location); code != 202 || s.State != "held" || s.Position != 1 || s.Phase == "" || !strings.HasSuffix(location, s.ID) {
		t.Errorf("%d %+v", code, s)
	}
	if a := w.do("GET", location+"/result", ""); a.StatusCode != 202 {
		t.Errorf("no result yet, but %d %s", a.StatusCode, a.body)
	}
	poll := w.async("GET", location+"?wait=30", "")
	finish := make(chan struct{})
	w.replica("translate", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		<-finish
		rw.Header().Set("X-Made-By", "replica")
		rw.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(rw, "hola")
	})
	w.until("it runs", func() bool { _, s := w.stateAt(location); return s.State == "running" })
	close(finish)
	if a := w.get(poll); a.StatusCode != 200 || !strings.Contains(a.body, `"state":"succeeded","status":201`) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	for range 2 {
		if a := w.do("GET", location+"/result", ""); a.StatusCode != 201 || a.body != "hola" || a.Header.Get("X-Made-By") != "replica" {
			t.Errorf("%d %q", a.StatusCode, a.body)
		}
	}
}

func TestWhoPrefersToWaitGetsTheAnswerOr202ForTheSameExecution(t *testing.T) {
	w := newWorld(t)
	a := w.do("POST", "/translate", hello, "Prefer", "wait=1")
	if a.StatusCode != 202 || a.Header.Get("Preference-Applied") != "wait=1" {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	var n atomic.Int64
	w.replica("translate", "r1", 1, echo(&n))
	if got := w.do("GET", a.Header.Get("Location")+"?wait=10", ""); got.StatusCode != 200 || n.Load() != 1 {
		t.Errorf("%d %s, %d executions", got.StatusCode, got.body, n.Load())
	}
	if a := w.do("POST", "/translate", hello, "Prefer", "wait=20"); a.StatusCode != 200 || a.body != hello || n.Load() != 2 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := w.do("POST", "/translate", hello, "Prefer", "wait=soon"); a.StatusCode != 400 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestADeletedRequestIsCancelledAndStopsAtItsReplica(t *testing.T) {
	w := newWorld(t)
	begun, stopped := make(chan struct{}), make(chan struct{})
	w.replica("translate", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(begun)
		<-r.Context().Done()
		close(stopped)
	})
	location := w.do("POST", "/translate", hello, "Prefer", "respond-async").Header.Get("Location")
	<-begun
	if a := w.do("DELETE", location, ""); a.StatusCode != 200 || !strings.Contains(a.body, `"state":"cancelled"`) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	select {
	case <-stopped:
	case <-time.After(10 * time.Second):
		t.Fatal("the replica still computes")
	}
	if a := w.do("GET", location+"/result", ""); a.StatusCode != 409 || !strings.Contains(a.body, "request-cancelled") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestTheEventsOfARequestTellItsPhaseAndItsEnd(t *testing.T) {
	w := newWorld(t)
	location := w.do("POST", "/translate", hello, "Prefer", "respond-async").Header.Get("Location")
	resp, err := http.DefaultClient.Do(w.request(t.Context(), "GET", location+"/events", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewReader(resp.Body)
	if line, _ := lines.ReadString('\n'); line != "event: phase\n" {
		t.Errorf("%q", line)
	}
	if line, _ := lines.ReadString('\n'); !strings.Contains(line, `"state":"held"`) || !strings.Contains(line, `"position":1`) {
		t.Errorf("%q", line)
	}
	var n atomic.Int64
	w.replica("translate", "r1", 1, echo(&n))
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.Contains(string(rest), "event: done\ndata: {") || !strings.Contains(string(rest), `"state":"succeeded"`) {
		t.Errorf("%s %v", rest, err)
	}
}

func TestARequestThatNeverWasIs404AndOneThatHasExpiredIs410(t *testing.T) {
	w := newWorld(t)
	for id, want := range map[string]int{
		"x": 404, "translate.x": 404, "other.x-1": 404,
		newRequestID("translate", time.Now()):                    404,
		newRequestID("translate", time.Now().Add(-25*time.Hour)): 410,
		newRequestID("translate", time.Now()) + "{}":             404,
		newRequestID("translate", time.Now()) + "/nothing":       404,
	} {
		if a := w.do("GET", requestsPath+"/"+id, ""); a.StatusCode != want {
			t.Errorf("%s: %d, want %d: %s", id, a.StatusCode, want, a.body)
		}
	}
}

func TestWithoutTheStoreNothingDurableIsAccepted(t *testing.T) {
	w := newWorld(t)
	w.redis.SetError("LOADING Redis is loading")
	defer w.redis.SetError("")
	for _, header := range [][]string{{"Idempotency-Key", "k"}, {"Prefer", "respond-async"}} {
		a := w.do("POST", "/translate", hello, header...)
		if a.StatusCode != 503 || !strings.Contains(a.body, "store-unavailable") || a.Header.Get("Retry-After") == "" {
			t.Errorf("%v: %d %s", header, a.StatusCode, a.body)
		}
	}
}
