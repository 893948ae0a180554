package activator

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// runs counts how often, and how often at once, each request is at replicas.
type runs struct {
	mu    sync.Mutex
	now   map[string]int
	most  map[string]int
	total map[string]int
}

func newRuns() *runs {
	return &runs{now: map[string]int{}, most: map[string]int{}, total: map[string]int{}}
}

// count a handler's runs by their request ids.
func (rs *runs) count(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		rs.mu.Lock()
		rs.now[id]++
		rs.total[id]++
		rs.most[id] = max(rs.most[id], rs.now[id])
		rs.mu.Unlock()
		defer func() {
			rs.mu.Lock()
			rs.now[id]--
			rs.mu.Unlock()
		}()
		h(w, r)
	}
}

func (rs *runs) of(id string) (total, most int) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.total[id], rs.most[id]
}

func aborts(rw http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	panic(http.ErrAbortHandler)
}

func TestWhetherARequestIsSentAgainIsForThePolicyToSay(t *testing.T) {
	for _, c := range []struct {
		repeat string // "": not named
		path   string
		keyed  bool
		tries  int
	}{
		{"never", "/translate", false, 1}, {"never", "/translate", true, 1},
		{"keyed", "/translate", false, 1}, {"keyed", "/translate", true, 3},
		{"always", "/recognize", false, 3}, {"always", "/recognize", true, 3},
		{"", "/translate", false, 3}, {"", "/recognize", false, 1}, {"", "/recognize", true, 3},
	} {
		t.Run(fmt.Sprintf("%s %s keyed %v", c.repeat, c.path, c.keyed), func(t *testing.T) {
			retry := ""
			if c.repeat != "" {
				retry = "retry {\n    repeat = \"" + c.repeat + "\"\n  }\n  "
			}
			service, policy := "translate", translatePolicy
			if c.path == "/recognize" {
				service, policy = "plain", plainPolicy
			}
			w := newWorld(t, strings.Replace(policy, "hold {", retry+"hold {", 1))
			rs := newRuns()
			for i := range 5 {
				w.replica(service, fmt.Sprint("r", i), 1, rs.count(aborts))
			}
			header := []string{"X-Request-Id", "mine"}
			if c.keyed {
				header = append(header, "Idempotency-Key", "k")
			}
			a := w.do("POST", c.path, hello, header...)
			if total, most := rs.of("mine"); a.StatusCode != 502 || total != c.tries || most != 1 {
				t.Errorf("%d after %d tries, %d at once; want 502 after %d, one at a time", a.StatusCode, total, most, c.tries)
			}
		})
	}
}

func TestReplicasThatAllDieWithinAMomentTakeNoMoreThanTwoAttempts(t *testing.T) {
	for _, header := range [][]string{nil, {"Idempotency-Key", "k"}} {
		w := newWorld(t)
		var n atomic.Int64
		began := sync.OnceValue(time.Now)
		for i := range 5 {
			w.replica("translate", fmt.Sprint("r", i), 1, func(rw http.ResponseWriter, r *http.Request) {
				if time.Since(began()) < restFor/2 {
					aborts(rw, r)
				}
				echo(&n)(rw, r) // another one, which has come in its place
			})
		}
		if a := w.do("POST", "/translate", hello, header...); a.StatusCode != 200 || a.body != hello {
			t.Errorf("%v: %d %s", header, a.StatusCode, a.body)
		}
	}
}

func TestNothingIsSentAgainOnceAByteOfTheAnswerHasCome(t *testing.T) {
	w := newWorld(t)
	rs := newRuns()
	for i := range 3 {
		w.replica("translate", fmt.Sprint("r", i), 1, rs.count(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(rw, "the beg")
			_ = http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		}))
	}
	a := w.do("POST", "/translate", hello, "X-Request-Id", "mine")
	if total, _ := rs.of("mine"); a.err == nil || a.body != "the beg" || total != 1 {
		t.Errorf("%q, %v after %d tries; want its beginning, broken off, after one", a.body, a.err, total)
	}
}

func TestNothingIsSentAgainPastTheDeadline(t *testing.T) {
	for _, header := range [][]string{nil, {"Idempotency-Key", "k"}} {
		w := newWorld(t)
		rs, first := newRuns(), atomic.Bool{}
		for i := range 5 {
			w.replica("translate", fmt.Sprint("r", i), 1, rs.count(func(rw http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if !first.CompareAndSwap(false, true) {
					<-r.Context().Done() // the activator gives up at the deadline
				}
				panic(http.ErrAbortHandler)
			}))
		}
		a := w.do("POST", "/translate", hello, append(header, "Pilotlight-Deadline", "4s", "X-Request-Id", "mine")...)
		if total, most := rs.of("mine"); a.StatusCode != 504 || most != 1 || total != 2 {
			t.Errorf("%v: %d after %d tries, %d at once; want 504 after the two that began in time, one at a time", header, a.StatusCode, total, most)
		}
	}
}

func TestOfSeveralWhoReadOneKeyOneMayGo(t *testing.T) {
	w := newWorld(t)
	rs, began, end := newRuns(), make(chan struct{}), make(chan struct{})
	w.replica("translate", "r1", 2, rs.count(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(began)
		select {
		case <-end:
			_, _ = io.WriteString(rw, "done")
		case <-r.Context().Done():
			t.Error("it was cancelled although somebody reads")
		}
	}))
	ctx, leave := context.WithCancel(t.Context())
	first := make(chan answer, 1)
	go func() {
		first <- w.send(w.request(ctx, "POST", "/translate", strings.NewReader(hello), "Idempotency-Key", "k", "X-Request-Id", "mine"))
	}()
	<-began
	second := w.async("POST", "/translate", hello, "Idempotency-Key", "k", "X-Request-Id", "another")
	// One more, whose own deadline passes: that is nothing to the others.
	if a := w.do("POST", "/translate", hello, "Idempotency-Key", "k", "Pilotlight-Deadline", "200ms"); a.StatusCode != 504 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	leave()
	<-first
	close(end)
	if a := w.get(second); a.StatusCode != 200 || a.body != "done" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if total, _ := rs.of("mine"); total != 1 {
		t.Errorf("%d executions", total)
	}
}

func TestACancelEndsARequestUnderAllWhoReadIt(t *testing.T) {
	w := newWorld(t)
	began, stopped := make(chan struct{}), make(chan struct{})
	w.replica("translate", "r1", 2, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(began)
		<-r.Context().Done()
		close(stopped)
	})
	a := w.do("POST", "/translate", hello, "Prefer", "respond-async", "Idempotency-Key", "k")
	location := a.Header.Get("Location")
	if a.StatusCode != 202 || location == "" {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	<-began
	// Who only looks is nobody that it goes on for: it goes on by itself.
	ctx, leave := context.WithTimeout(t.Context(), 100*time.Millisecond)
	w.send(w.request(ctx, "GET", location+"?wait=30", nil))
	leave()
	select {
	case <-stopped:
		t.Fatal("an asynchronous request ended with one who looked at it")
	default:
	}
	reader := w.async("POST", "/translate", hello, "Idempotency-Key", "k")
	poller := w.async("GET", location+"?wait=30", "")
	w.until("the reader has joined it", func() bool {
		return w.redis.HGet("pl:{translate}:ticket:"+strings.TrimPrefix(location, requestsPath+"/"), "joined") != ""
	})
	if a := w.do("DELETE", location, ""); a.StatusCode != 200 || !strings.Contains(a.body, "cancelled") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	select {
	case <-stopped:
	case <-time.After(10 * time.Second):
		t.Fatal("the replica computes on")
	}
	if a := w.get(reader); a.StatusCode != 409 || !strings.Contains(a.body, "request-cancelled") {
		t.Errorf("who read it: %d %s", a.StatusCode, a.body)
	}
	if a := w.get(poller); a.StatusCode != 200 || !strings.Contains(a.body, "cancelled") {
		t.Errorf("who polled it: %d %s", a.StatusCode, a.body)
	}
}
