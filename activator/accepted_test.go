package activator

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestWhoWaitsToHearOfAnAcceptedRequestIsAnsweredWhenTheActivatorStops(t *testing.T) {
	w := newWorld(t)
	accepted := w.async("POST", "/translate", hello, "Prefer", "wait=60")
	w.untilHeld("translate", 1)
	location := w.do("POST", "/translate", hello, "Prefer", "respond-async").Header.Get("Location")
	poll := w.async("GET", location+"?wait=60", "")
	resp, err := http.DefaultClient.Do(w.request(t.Context(), "GET", location+"/events", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	events := make(chan string, 1)
	go func() { b, _ := io.ReadAll(resp.Body); events <- string(b) }()
	w.act.StopHolding()
	if a := w.get(accepted); a.StatusCode != 202 || a.Header.Get("Location") == "" || !strings.Contains(a.body, `"state":"held"`) {
		t.Errorf("who prefers to wait: %d %s", a.StatusCode, a.body)
	}
	if a := w.get(poll); a.StatusCode != 202 || !strings.Contains(a.body, `"state":"held"`) {
		t.Errorf("who polls: %d %s", a.StatusCode, a.body)
	}
	select {
	case s := <-events:
		if !strings.Contains(s, "event: phase") || strings.Contains(s, "event: done") {
			t.Errorf("who reads events: %q", s)
		}
	case <-time.After(10 * time.Second):
		t.Error("who reads events waits on")
	}
	if w.held("translate") != 2 {
		t.Errorf("%d are held, want both left to others", w.held("translate"))
	}
}

func TestAFinalStateHasTheStatusOfItsResultAndNobodyIsToldToComeBackForAnother(t *testing.T) {
	w := newWorld(t, strings.Replace(translatePolicy, "  hold {", "  result { max_size = \"1KiB\" }\n  hold {", 1))
	accept := func(header ...string) string {
		return w.do("POST", "/translate", hello, append(header, "Prefer", "respond-async")...).Header.Get("Location")
	}
	var late string
	w.until("one is accepted before its deadline", func() bool {
		late = accept("Pilotlight-Deadline", "50ms")
		return late != ""
	})
	cancelled := accept()
	if a := w.do("DELETE", cancelled, ""); a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	w.until("the deadline has passed", func() bool { _, s := w.stateAt(late); return s.State == "failed" })
	w.replica("translate", "r1", 1, func(rw http.ResponseWriter, r *http.Request) { _, _ = rw.Write(make([]byte, 2000)) })
	large := accept()
	for what, c := range map[string]struct {
		at     string
		status int
	}{"late": {late, 504}, "cancelled": {cancelled, 409}, "too large": {large, 502}} {
		w.until(what+" is final", func() bool { code, _ := w.stateAt(c.at); return code == 200 })
		_, s := w.stateAt(c.at)
		a := w.do("GET", c.at+"/result", "")
		if s.Status != c.status || a.StatusCode != c.status {
			t.Errorf("%s: its state says %d, its result is %d, want %d", what, s.Status, a.StatusCode, c.status)
		}
		if a.Header.Get("Retry-After") != "" || strings.Contains(a.body, "eta_s") {
			t.Errorf("%s: %v %s", what, a.Header, a.body)
		}
	}
}

// lastAccepted is when the store took the last of its durable requests.
func (w *world) lastAccepted() (at time.Time) {
	for _, key := range w.redis.Keys() {
		if strings.Contains(key, "}:ticket:") {
			ms, _ := strconv.ParseInt(w.redis.HGet(key, "at"), 10, 64)
			if t := time.UnixMilli(ms); t.After(at) {
				at = t
			}
		}
	}
	return at
}

// holdsTold is how many holds the metrics have counted.
func (w *world) holdsTold() (n uint64) {
	all, _ := w.act.cfg.Registerer.(prometheus.Gatherer).Gather()
	for _, family := range all {
		if family.GetName() == "pilotlight_hold_duration_seconds" {
			for _, m := range family.GetMetric() {
				n += m.GetHistogram().GetSampleCount()
			}
		}
	}
	return n
}

func TestTheTimeADurableRequestIsHeldIsNotToldAsItsReplicas(t *testing.T) {
	w := newWorld(t)
	const wait, run = 1000, 100 // ms
	for what, header := range map[string][]string{
		"202 after a wait":           {"Prefer", "wait=1"},
		"a deadline that has passed": {"Idempotency-Key", "k", "Pilotlight-Deadline", "1s"},
	} {
		sent := time.Now()
		a := w.do("POST", "/translate", hello, header...)
		// What passed before the store had it is no part of the hold.
		least := wait - float64(w.lastAccepted().Sub(sent).Milliseconds()) - 2 // both are cut to ms
		if _, cold, _ := timings(t, a.Header.Get("Server-Timing")); cold < least {
			t.Errorf("%s: %d %s, want cold at least %.0f", what, a.StatusCode, a.Header.Get("Server-Timing"), least)
		}
	}
	waiting := w.async("POST", "/translate", hello, "Prefer", "wait=60")
	w.untilHeld("translate", 2)
	before := w.holdsTold()
	w.replica("translate", "r1", 2, func(rw http.ResponseWriter, r *http.Request) {
		for w.holdsTold() == before && r.Context().Err() == nil { // what passes until it is seen to run counts as held
			<-time.After(time.Millisecond)
		}
		<-time.After(run * time.Millisecond)
	})
	if a := w.get(waiting); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	} else if _, _, upstream := timings(t, a.Header.Get("Server-Timing")); upstream < run {
		t.Errorf("the replica took %d ms, but: %s", run, a.Header.Get("Server-Timing"))
	}
}

func TestAStoredAnswerMayBeReadMoreSlowlyThanAReplicaMayWrite(t *testing.T) {
	w := newWorld(t, strings.Replace(translatePolicy, "hold {", "request {\n    idle = \"1s\"\n  }\n  hold {", 1))
	const size = 7 << 20 // more than the buffers on the way
	w.replica("translate", "r1", 1, func(rw http.ResponseWriter, r *http.Request) { _, _ = rw.Write(make([]byte, size)) })
	if a := w.do("POST", "/translate", hello, "Idempotency-Key", "k"); a.err != nil || len(a.body) != size {
		t.Fatalf("%v, %d bytes", a.err, len(a.body))
	}
	conn := w.raw(fmt.Sprintf("POST /translate HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Length: %d\r\n\r\n%s", len(hello), hello))
	<-time.After(1500 * time.Millisecond)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); resp.StatusCode != 200 || n != size || err != nil {
		t.Errorf("%d, %d bytes of %d, %v", resp.StatusCode, n, size, err)
	}
}
