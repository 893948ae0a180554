package activator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/jobs"
)

const hello = `{"text":"Hello","source_lang":"en","target_lang":"es"}`

func TestAColdRequestIsHeldAndAnsweredAndTheNextOneIsWarm(t *testing.T) {
	w := newWorld(t)
	var n atomic.Int64
	began := time.Now()
	ch := w.async("POST", "/translate", hello, "X-Request-Id", "mine")
	w.untilHeld("translate", 1)
	w.replica("translate", "r1", 2, echo(&n))
	a := w.get(ch)
	total := time.Since(began)
	if a.StatusCode != 200 || a.body != hello {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	for name, want := range map[string]string{"Pilotlight-Cold-Start": "true", "Pilotlight-Replica": "r1", "X-Request-Id": "mine"} {
		if got := a.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	hold, cold, upstream := timings(t, a.Header.Get("Server-Timing"))
	if sum := hold + cold + upstream; cold <= 0 || sum > total.Seconds()*1000 {
		t.Errorf("hold %v + cold %v + upstream %v = %v ms of %v", hold, cold, upstream, sum, total)
	}
	// The slot goes back by way of Redis, because somebody had waited, and is leased then.
	w.until("the next one is not held", func() bool {
		a = w.do("POST", "/translate", hello)
		hold, cold, _ := timings(t, a.Header.Get("Server-Timing"))
		if got := a.Header.Get("Pilotlight-Cold-Start"); got != "false" || a.StatusCode != 200 || cold != 0 {
			t.Fatalf("next: %d, cold %s, %v ms", a.StatusCode, got, cold)
		}
		return hold == 0
	})
}

func timings(t *testing.T, s string) (hold, cold, upstream float64) {
	t.Helper()
	m := regexp.MustCompile(`^hold;dur=([\d.]+), cold;dur=([\d.]+), upstream;dur=([\d.]+)$`).FindStringSubmatch(s)
	if m == nil {
		t.Fatalf("Server-Timing = %q", s)
	}
	f := func(i int) float64 { v, _ := strconv.ParseFloat(m[i], 64); return v }
	return f(1), f(2), f(3)
}

func TestTheWarmPathSendsNothingToRedis(t *testing.T) {
	w := newWorld(t)
	var n atomic.Int64
	ch := w.async("POST", "/translate", hello)
	w.untilHeld("translate", 1)
	w.replica("translate", "r1", 4, echo(&n))
	w.get(ch)
	w.until("the slots are leased", func() bool {
		for _, st := range w.act.cfg.Queue.Standings() {
			return st.Owned == 4
		}
		return false
	})
	// Publishing, subscriptions and heartbeats go on beside the requests; so the
	// hold scripts are counted, and with them everything a request could send.
	before := w.redis.CommandCount()
	w.redis.SetError("ERR no request may need Redis")
	for range 50 {
		if a := w.do("POST", "/translate", hello); a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
	w.redis.SetError("")
	if held := w.held("translate"); held != 0 {
		t.Errorf("%d requests were held", held)
	}
	t.Logf("%d commands of background loops during 50 warm requests", w.redis.CommandCount()-before)
}

func TestTwoHundredAtOnceNeverExceedTheSlots(t *testing.T) {
	w := newWorld(t)
	var done sync.WaitGroup
	var wrong atomic.Int64
	for i := range 200 {
		done.Go(func() {
			body := fmt.Sprintf(`{"text":"n%d","source_lang":"en","target_lang":"es"}`, i)
			if a := w.do("POST", "/translate", body); a.err != nil || a.StatusCode != 200 || a.body != body {
				wrong.Add(1)
			}
		})
	}
	w.untilHeld("translate", 200)
	var over atomic.Int64
	var served [3]atomic.Int64
	for i := range 3 {
		var inFlight atomic.Int64
		w.replica("translate", fmt.Sprintf("r%d", i), 2, func(rw http.ResponseWriter, r *http.Request) {
			if inFlight.Add(1) > 2 {
				over.Add(1)
			}
			defer inFlight.Add(-1)
			served[i].Add(1)
			b, _ := io.ReadAll(r.Body)
			<-time.After(2 * time.Millisecond)
			_, _ = rw.Write(b)
		})
	}
	done.Wait()
	if wrong.Load() != 0 || over.Load() != 0 {
		t.Errorf("%d wrong answers, %d times more than 2 in flight at a replica", wrong.Load(), over.Load())
	}
	for i := range served {
		if served[i].Load() == 0 {
			t.Errorf("replica %d served nothing", i)
		}
	}
}

func TestWhatIsWrongIsRefusedWithoutAWake(t *testing.T) {
	w := newWorld(t, translatePolicy, plainPolicy)
	big := strings.Repeat("x", 1<<20+1)
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		problem, field           string
	}{
		{"unknown path", "POST", "/nobody", "{}", nil, 404, "unknown-service", ""},
		{"a prefix is whole segments", "POST", "/translated", "{}", nil, 404, "unknown-service", ""},
		{"an engine's private endpoint", "POST", "/sleep", "", []string{"Host", "model.example.org"}, 404, "unknown-service", ""},
		{"a private endpoint behind dots", "POST", "/translate/../sleep", "", nil, 400, "bad-request", "path"},
		{"malformed JSON", "POST", "/translate", `{"text":`, nil, 400, "bad-request", "body"},
		{"missing text", "POST", "/translate", `{"target_lang":"es"}`, nil, 400, "bad-request", "text"},
		{"missing target", "POST", "/translate", `{"text":"x"}`, nil, 400, "bad-request", "target_lang"},
		{"unknown language", "POST", "/translate", `{"text":"x","source_lang":"en","target_lang":"xx-nope-1"}`, nil, 400, "bad-request", "target_lang"},
		{"body over the limit", "POST", "/translate", `{"text":"` + big + `"}`, nil, 413, "body-too-large", ""},
		{"bad deadline", "POST", "/translate", hello, []string{"Pilotlight-Deadline", "soon"}, 400, "bad-request", "Pilotlight-Deadline"},
		{"deadline of nothing", "POST", "/translate", hello, []string{"Pilotlight-Deadline", "-1s"}, 400, "bad-request", "Pilotlight-Deadline"},
		{"wrong method", "GET", "/translate", "", nil, 400, "bad-request", "method"},
		{"unknown model", "POST", "/v1/chat/completions", `{"model":"nope"}`, nil, 404, "unknown-service", ""},
		{"no model", "POST", "/v1/completions", `{}`, nil, 400, "bad-request", "model"},
		{"body is no JSON", "POST", "/v1/embeddings", `model`, nil, 400, "bad-request", "body"},
		{"reserved", "GET", "/pilotlight/v1", "", nil, 404, "unknown-service", ""},
		{"unknown request", "GET", "/pilotlight/v1/requests/x", "", nil, 404, "unknown-request", ""},
		{"a key with a line break", "POST", "/translate", hello, []string{"Idempotency-Key", "a\tb"}, 400, "bad-request", "Idempotency-Key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.do(c.method, c.path, c.body, c.header...)
			if a.StatusCode != c.status {
				t.Fatalf("status %d, want %d: %s", a.StatusCode, c.status, a.body)
			}
			if strings.HasPrefix(c.path, "/v1") {
				var e struct {
					Error struct {
						Message, Type, Code string
						Param               *string
					}
				}
				if err := json.Unmarshal([]byte(a.body), &e); err != nil || e.Error.Code != c.problem || e.Error.Message == "" {
					t.Fatalf("%v: %s", err, a.body)
				}
				if c.field != "" && (e.Error.Param == nil || *e.Error.Param != c.field) {
					t.Errorf("param of %s, want %s", a.body, c.field)
				}
				return
			}
			var p problem
			if err := json.Unmarshal([]byte(a.body), &p); err != nil {
				t.Fatal(err)
			}
			if p.Type != "urn:pilotlight:problem:"+c.problem || p.Field != c.field || p.Detail == "" || p.RequestID == "" || p.Status != c.status {
				t.Errorf("%s", a.body)
			}
			if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("Content-Type %s", got)
			}
		})
	}
	for _, s := range []string{"translate", "plain", "byhost"} {
		if n := w.held(s); n != 0 {
			t.Errorf("%s was woken: %d held", s, n)
		}
	}
}

func TestAFullQueueAnswers429WithAComputedRetryAfter(t *testing.T) {
	w := newWorld(t, strings.Replace(translatePolicy, `max_body = "1MiB"`, `max_requests = 2`, 1))
	w.async("POST", "/translate", hello)
	w.async("POST", "/translate", hello)
	w.untilHeld("translate", 2)
	a := w.do("POST", "/translate", hello)
	if a.StatusCode != 429 || a.Header.Get("Retry-After") != "10" || strings.Contains(a.body, "eta_s") {
		t.Errorf("nothing is known: %d Retry-After %s: %s", a.StatusCode, a.Header.Get("Retry-After"), a.body)
	}
	st := startingStatus("translate", 41)
	st.Coming[0].Slots, st.Service = 1, &[]float64{5}[0]
	w.statuses.set(st)
	a = w.do("POST", "/translate", hello)
	// 41 s until a replica is ready, and two before it that take 5 s each.
	after, _ := strconv.Atoi(a.Header.Get("Retry-After"))
	if a.StatusCode != 429 || after > 51 || after < 41 || !strings.Contains(a.body, "queue-full") || !strings.Contains(a.body, `"eta_s":`) {
		t.Errorf("%d Retry-After %d: %s", a.StatusCode, after, a.body)
	}
}

func TestADeadlineThatPassesWhileHeldIs504AndTheTicketGoes(t *testing.T) {
	w := newWorld(t)
	a := w.do("POST", "/translate", hello, "Pilotlight-Deadline", "30ms")
	if a.StatusCode != 504 || !strings.Contains(a.body, "deadline-passed") {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	w.untilHeld("translate", 0)
}

func TestAFailedStartAnswersTheWaitingAndTheNewWithTheTasksLastWords(t *testing.T) {
	w := newWorld(t)
	ch := w.async("POST", "/translate", hello)
	w.untilHeld("translate", 1)
	reason, until := "exit code 127: apertium-apy: command not found", time.Now().Add(30*time.Second)
	w.statuses.set(jobs.Status{Name: "translate", State: jobs.StateBlocked, Blocked: &reason, BlockedUntil: &until,
		Replicas: jobs.ReplicaCounts{Wanted: 1}})
	for _, a := range []answer{w.get(ch), w.do("POST", "/translate", hello)} {
		after, _ := strconv.Atoi(a.Header.Get("Retry-After"))
		if a.StatusCode != 503 || !strings.Contains(a.body, "start-failed") || !strings.Contains(a.body, "command not found") || after < 25 || after > 30 {
			t.Errorf("%d Retry-After %d: %s", a.StatusCode, after, a.body)
		}
	}
	w.untilHeld("translate", 0)
}

func TestAStartThatGoesOnIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	ch := w.async("POST", "/translate", hello)
	w.untilHeld("translate", 1)
	reason, until := "one died", time.Now().Add(30*time.Second)
	w.statuses.set(jobs.Status{Name: "translate", State: jobs.StateBlocked, Blocked: &reason, BlockedUntil: &until,
		Replicas: jobs.ReplicaCounts{Wanted: 2, Starting: 1}})
	var n atomic.Int64
	w.replica("translate", "r1", 1, echo(&n))
	if a := w.get(ch); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestStoppingAnswersWhoWaitsAndLetsWhoRunsFinish(t *testing.T) {
	w := newWorld(t)
	began, finish := make(chan struct{}), make(chan struct{})
	w.replica("translate", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		close(began)
		<-finish
		_, _ = rw.Write(b)
	})
	running := w.async("POST", "/translate", hello)
	<-began
	waiting := w.async("POST", "/translate", hello)
	w.untilHeld("translate", 1)
	w.act.StopHolding()
	if a := w.get(waiting); a.StatusCode != 503 || !strings.Contains(a.body, "shutting-down") || a.Header.Get("Retry-After") == "" {
		t.Errorf("waiting: %d %s", a.StatusCode, a.body)
	}
	close(finish)
	if a := w.get(running); a.StatusCode != 200 {
		t.Errorf("running: %d %s", a.StatusCode, a.body)
	}
}

func TestOwnRoutesWakeNothing(t *testing.T) {
	w := newWorld(t, translatePolicy, plainPolicy)
	if a := w.do("GET", "/v1/models", ""); a.StatusCode != 200 || !strings.Contains(a.body, `"id":"gemma"`) {
		t.Errorf("models: %d %s", a.StatusCode, a.body)
	}
	if a := w.do("GET", "/health", ""); a.StatusCode != 200 || !strings.Contains(a.body, `"status":"healthy"`) {
		t.Errorf("health: %d %s", a.StatusCode, a.body)
	}
	if a := w.do("GET", "/health?service=translate", ""); a.StatusCode != 200 || !strings.Contains(a.body, `"state":"zero"`) {
		t.Errorf("health of one: %d %s", a.StatusCode, a.body)
	}
	if a := w.do("GET", "/health?service=nope", ""); a.StatusCode != 404 {
		t.Errorf("health of nobody: %d", a.StatusCode)
	}
	for _, s := range []string{"translate", "plain"} {
		if w.held(s) != 0 {
			t.Errorf("%s was woken", s)
		}
	}
}

func TestAModelFindsItsServiceAndAHostToo(t *testing.T) {
	w := newWorld(t, translatePolicy, plainPolicy)
	var n atomic.Int64
	w.replica("translate", "t", 1, echo(&n))
	body := `{"model":"gemma","prompt":"x"}`
	if a := w.do("POST", "/v1/completions", body); a.StatusCode != 200 || a.body != body {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	w.offers = nil
	w.replica("byhost", "h", 1, echo(&n))
	if a := w.do("POST", "/anything/at/all", "x", "Host", "model.example.org"); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestANewPolicyVersionIsObeyedAndTheOldOneStaysOnAnError(t *testing.T) {
	w := newWorld(t)
	w.put(strings.Replace(translatePolicy, "1MiB", "1KiB", 1))
	long := `{"text":"` + strings.Repeat("x", 2000) + `","source_lang":"en","target_lang":"es"}`
	w.until("the new limit", func() bool { // under the old one it is held
		return w.do("POST", "/translate", long, "Pilotlight-Deadline", "100ms").StatusCode == 413
	})
}

func TestAPassedThroughTranslationIsSentAsTheJSONItIs(t *testing.T) {
	w := newWorld(t)
	w.replica("translate", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, r.Header.Get("Content-Type"))
	})
	if a := w.do("POST", "/translate", hello, "Content-Type", "application/x-www-form-urlencoded"); a.body != "application/json" {
		t.Errorf("Content-Type %s", a.body)
	}
}

func TestCountersSayWhatHappened(t *testing.T) {
	w := newWorld(t)
	var n atomic.Int64
	w.replica("translate", "r1", 2, echo(&n))
	for range 7 {
		w.do("POST", "/translate", hello)
	}
	var c jobs.ServiceCounters
	w.until("7 are counted", func() bool {
		all, err := w.ledger.Counters(t.Context())
		if err != nil || len(all) != 1 {
			return false
		}
		c = all[0].Services["translate"]
		return c.Completed == 7
	})
	var inBuckets uint64
	for _, b := range c.Latency {
		inBuckets += b.Count
		if len(b.Sketch) == 0 {
			t.Error("a bucket without a sketch")
		}
	}
	if c.Arrivals != 7 || c.Failed != 0 || inBuckets != 7 || c.LastDemand.IsZero() {
		t.Errorf("%+v", c)
	}
	var first []jobs.FirstAnswer
	w.until("the replica's first answer is told", func() bool { // apart from the request's own way
		var err error
		first, err = w.ledger.FirstAnswers(t.Context(), "translate")
		return err != nil || len(first) > 0
	})
	if len(first) != 1 || first[0].Replica != "r1" {
		t.Errorf("first answers %+v", first)
	}
}

func TestAServiceThatComesBackCountsOnlyWhatIsNew(t *testing.T) {
	w := newWorld(t)
	w.replica("translate", "r1", 2, echo(new(atomic.Int64)))
	for range 7 {
		w.do("POST", "/translate", hello)
	}
	w.until("none is in flight", func() bool { return w.act.countersNow(time.Now()).Services["translate"].InFlight == 0 })
	if c, there := w.act.countersNow(time.Now().Add(idleAfter + time.Minute)).Services["translate"]; there {
		t.Fatalf("nobody has asked for longer than %v, and it is told as %+v", idleAfter, c)
	}
	w.do("POST", "/translate", hello)
	c := w.act.countersNow(time.Now()).Services["translate"]
	if c.Arrivals != 1 || c.Completed > 1 || c.ServiceSeconds < 0 {
		t.Errorf("one more request after the service was left out is told as %+v", c)
	}
}

func TestAClockThatIsSetBackMakesNoDemand(t *testing.T) {
	w := newWorld(t)
	w.replica("translate", "r1", 2, echo(new(atomic.Int64)))
	w.do("POST", "/translate", hello)
	w.until("none is in flight", func() bool { return w.act.countersNow(time.Now()).Services["translate"].InFlight == 0 })
	s := w.act.routes.Load().services["translate"]
	latest := s.policy.Hold.MaxWait.Seconds()
	s.promise(time.Now(), &latest)
	back := time.Now().Add(-time.Hour)
	for _, step := range []struct {
		what     string
		at, want time.Time
	}{
		{"somebody was told to come back", back, back},
		{"the time is over in which they may", back.Add(s.policy.Hold.MaxWait + time.Minute), back},
	} {
		if got := w.act.countersNow(step.at).Services["translate"].LastDemand; !got.Equal(step.want) {
			t.Errorf("%s: last demand %v before now, want %v", step.what, step.at.Sub(got), step.at.Sub(step.want))
		}
	}
}

func TestEveryErrorOfThePackageHasItsProblem(t *testing.T) {
	for err, want := range map[error]kind{
		ErrUnknownService: unknownService, ErrDeadline: deadlinePassed, ErrRequestTimeout: upstreamTimeout,
		ErrFirstByte: upstreamTimeout, ErrIdle: upstreamTimeout, ErrPaused: paused, ErrJobStopped: jobStopped,
		&BadRequestError{}: badRequest, &StartFailedError{}: startFailed, &UpstreamError{Err: io.EOF}: upstreamFailed,
		&http.MaxBytesError{}: bodyTooLarge, queue.ErrKeyReused: keyReused, queue.ErrUnknownRequest: unknownRequest,
		ErrExpired: expired, ErrCancelled: cancelled, queue.ErrStoreUnavailable: storeAway,
	} {
		if got := kindOf(fmt.Errorf("wrapped: %w", err)); got != want {
			t.Errorf("%v is %v, want %v", err, got, want)
		}
	}
}

func FuzzNothingThatAClientSendsPanicsOrWakes(f *testing.F) {
	f.Add("POST", "/translate", `{"text":"x","target_lang":"es"}`, "5s", "id")
	f.Add("GET", "/v1/models", "", "", "")
	f.Add("POST", "/v1/completions", `{"model":{}}`, "-1", "\"")
	f.Fuzz(func(t *testing.T, method, path, body, deadline, id string) {
		if err := cleanPath(path); err == nil && !strings.HasPrefix(path, "/") {
			t.Errorf("accepted path %q", path)
		}
		_, _ = modelOf([]byte(body))
		r, err := http.NewRequest(method, "http://x/", strings.NewReader(body))
		if err != nil {
			return
		}
		r.URL.Path = path
		r.Header = http.Header{"X-Request-Id": {id}, "Pilotlight-Deadline": {deadline}}
		if got := requestID(r); got == "" || strings.ContainsAny(got, "\r\n\"") {
			t.Errorf("request id %q", got)
		}
		rt := &routes{hosts: map[string]*service{}, models: map[string]*service{}}
		if s, _ := rt.find(r); s != nil {
			t.Error("no policy, but a service")
		}
	})
}
