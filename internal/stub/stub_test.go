package stub

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestEveryRouteAnswers503UntilTheModelIsLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{Load: 3 * time.Second})
		time.Sleep(3*time.Second - time.Nanosecond)
		for _, path := range []string{"/health", "/v1/models", "/metrics", "/listPairs", "/nowhere"} {
			if got := s.get(path); got.status != http.StatusServiceUnavailable {
				t.Errorf("%s while loading: %+v, want 503", path, got)
			}
		}
		if got := s.translate(t.Context(), "hi"); got.status != http.StatusServiceUnavailable {
			t.Errorf("/translate while loading: %+v, want 503", got)
		}
		if got := s.get("/stub/stats"); got.status != http.StatusOK || !strings.Contains(got.body, `"ready":false`) {
			t.Errorf("/stub/stats while loading: %+v", got)
		}
		time.Sleep(time.Nanosecond)
		if got := s.get("/health"); got.status != http.StatusOK {
			t.Errorf("/health when loaded: %+v, want 200", got)
		}
		if n := s.Stats().Executions; n != 0 {
			t.Errorf("%d executions, want none: nothing was computed while loading", n)
		}
	})
}

func TestAnAnswerTakesLatencyAndTheTimeOfItsTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{Latency: 50 * time.Millisecond, MsPerToken: 2.5})
		begun := time.Now()
		got := s.translate(t.Context(), "one two three") // "[es] one two three": four tokens
		if took := time.Since(begun); took != 60*time.Millisecond {
			t.Errorf("took %s, want 60ms", took)
		}
		if want := `{"source_lang":"en","target_lang":"es","translation":"[es] one two three"}` + "\n"; got.body != want {
			t.Errorf("answer %+v, want %s", got, want)
		}
	})
}

func TestRequestsBeyondConcurrencyWaitAndAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{Latency: time.Second, Concurrency: 2})
		begun := time.Now()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if got := s.translate(t.Context(), "hi"); got.status != http.StatusOK {
					t.Errorf("answer %+v", got)
				}
			})
		}
		time.Sleep(500 * time.Millisecond)
		metrics := s.get("/metrics").body
		for _, want := range []string{
			"vllm:num_requests_running{engine=\"0\",model_name=\"stub\"} 2\n",
			"vllm:num_requests_waiting{engine=\"0\",model_name=\"stub\"} 3\n",
			"stub_max_in_flight 5\n",
		} {
			if !strings.Contains(metrics, want) {
				t.Errorf("metrics have no %q:\n%s", want, metrics)
			}
		}
		wg.Wait()
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("five requests, two at once, took %s, want 3s", took)
		}
		stats := s.Stats()
		if stats.MaxInFlight != 5 || stats.InFlight != 0 || stats.Executions != 5 || stats.Finished != 5 {
			t.Errorf("stats: %+v", stats)
		}
	})
}

func TestAClientThatGoesStopsTheComputation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{Latency: time.Hour, Concurrency: 1})
		var wg sync.WaitGroup
		var leave [2]context.CancelFunc
		for i := range leave { // the first is computed, the second waits
			var ctx context.Context
			ctx, leave[i] = context.WithCancel(t.Context())
			wg.Go(func() {
				if got := s.translate(ctx, "hi"); got.err == nil {
					t.Errorf("an answer to a client that has gone: %+v", got)
				}
			})
			synctest.Wait()
		}
		leave[1]()
		synctest.Wait()
		if stats := s.Stats(); stats.Abandoned != 1 || stats.InFlight != 1 {
			t.Errorf("stats: %+v; want one abandoned, one in flight", stats)
		}
		leave[0]()
		wg.Wait()
		synctest.Wait()
		stats := s.Stats()
		if stats.Cancelled != 1 || stats.Abandoned != 1 || stats.InFlight != 0 || stats.Executions != 1 {
			t.Errorf("stats: %+v; want one cancelled, one abandoned, none in flight", stats)
		}
		log := s.executions()
		if len(log) != 2 || log[1].Event != EventCancelled || log[1].N != log[0].N {
			t.Errorf("log: %+v; want started, cancelled", log)
		}
	})
}

func TestEveryExecutionIsLoggedWithItsRequestAndReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{Replica: "alloc-1", Latency: time.Second})
		s.translate(t.Context(), "hi")
		s.send(t.Context(), http.MethodPost, "/translate", "application/json", `{}`)
		log := s.executions()
		if len(log) != 4 {
			t.Fatalf("log: %+v; want four lines", log)
		}
		for i, want := range []Execution{
			{Event: EventStarted, N: 1},
			{Event: EventFinished, N: 1, Status: 200},
			{Event: EventStarted, N: 2},
			{Event: EventFinished, N: 2, Status: 400},
		} {
			want.RequestID, want.Path, want.Replica, want.Time = "req-/translate", "/translate", "alloc-1", log[i].Time
			if log[i] != want {
				t.Errorf("line %d: %+v, want %+v", i, log[i], want)
			}
		}
		if took := log[1].Time.Sub(log[0].Time); took != time.Second {
			t.Errorf("the log says it took %s, want 1s", took)
		}
		if strings.Contains(s.log.String(), "hi") {
			t.Error("the log has the text")
		}
	})
}

func TestFailLoadDiesHalfwayThroughTheLoadWithLastWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		s := start(t, Config{Load: 10 * time.Second, FailLoad: 1})
		err := <-s.result
		if err == nil || !strings.Contains(err.Error(), ErrLoadFailed.Error()) {
			t.Errorf("Run returned %v, want %v", err, ErrLoadFailed)
		}
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("died after %s, want 5s", took)
		}
		if !strings.Contains(s.stderr.String(), "CUDA out of memory") {
			t.Errorf("last words: %q", s.stderr.String())
		}
	})
}

func TestFailLoadFollowsItsProbability(t *testing.T) {
	failures := 0
	for seed := range uint64(1000) {
		if New(Config{FailLoad: 0.3, Seed: seed, Replica: "r"}).failsLoad {
			failures++
		}
	}
	if failures < 250 || failures > 350 {
		t.Errorf("%d of 1000 failed, want about 300", failures)
	}
	same := func(seed uint64, replica string) bool {
		return New(Config{FailLoad: 0.5, Seed: seed, Replica: replica}).failsLoad
	}
	different := 0
	for seed := range uint64(64) {
		if same(seed, "a") != same(seed, "a") {
			t.Fatalf("seed %d: the same replica has two fates", seed)
		}
		if same(seed, "a") != same(seed, "b") {
			different++
		}
	}
	if different == 0 {
		t.Error("two replicas with one seed always share their fate")
	}
}

func TestCrashAfterDiesWhenTheNextRequestBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exited := 0
		s := start(t, Config{CrashAfter: 2, Exit: func(code int) { exited = code }})
		for i := range 2 {
			if got := s.translate(t.Context(), "hi"); got.status != http.StatusOK || exited != 0 {
				t.Fatalf("request %d: %+v, exit code %d; want an answer", i+1, got, exited)
			}
		}
		if got := s.translate(t.Context(), "hi"); got.err == nil {
			t.Errorf("request 3: %+v; want no answer", got)
		}
		if exited != crashCode {
			t.Errorf("exit code %d, want %d", exited, crashCode)
		}
		log := s.executions()
		if last := log[len(log)-1]; last.N != 3 || last.Event != EventStarted {
			t.Errorf("the log ends with %+v, want the start of the third", last)
		}
	})
}

func TestErrorAnswers500(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{Error: 0.5, Seed: 7})
		codes := make(map[int]int)
		for range 100 {
			codes[s.translate(t.Context(), "hi").status]++
		}
		if codes[200]+codes[500] != 100 || codes[500] < 30 || codes[500] > 70 {
			t.Errorf("codes %v, want about as many 500 as 200", codes)
		}
	})
}

func TestAHungRequestIsNeverAnsweredUntilItsClientGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{Hang: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begun := time.Now()
		if got := s.translate(ctx, "hi"); got.err == nil {
			t.Errorf("answer %+v; want none", got)
		}
		if took := time.Since(begun); took != time.Hour {
			t.Errorf("it ended after %s, want when the client went, 1h", took)
		}
		synctest.Wait()
		if got := s.get("/health"); got.status != http.StatusOK {
			t.Errorf("/health: %+v; want 200 in spite of it", got)
		}
		if stats := s.Stats(); stats.Cancelled != 1 || stats.InFlight != 0 {
			t.Errorf("stats: %+v; want one cancelled, none in flight", stats)
		}
	})
}

func TestItFinishesWhatIsInFlightWhenItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{Latency: 10 * time.Second})
		var got answer
		var wg sync.WaitGroup
		wg.Go(func() { got = s.translate(t.Context(), "hi") })
		time.Sleep(time.Second)
		s.stop()
		synctest.Wait()
		if refused := s.translate(t.Context(), "too late"); refused.err == nil {
			t.Errorf("a new request while stopping: %+v; want none taken", refused)
		}
		if err := <-s.result; err != nil {
			t.Errorf("Run returned %v", err)
		}
		wg.Wait()
		if got.status != http.StatusOK {
			t.Errorf("the one in flight: %+v; want its answer", got)
		}
	})
}

func TestAHungRequestDoesNotKeepItFromStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{Hang: 1})
		var wg sync.WaitGroup
		wg.Go(func() {
			if got := s.translate(t.Context(), "hi"); got.err == nil {
				t.Errorf("answer %+v; want none", got)
			}
		})
		synctest.Wait()
		s.stop()
		if err := <-s.result; err != nil {
			t.Errorf("Run returned %v", err)
		}
		wg.Wait()
	})
}
