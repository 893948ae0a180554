package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/pilotlight/pilotlight/activator"
	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// fixedStatus is what a scaler has published of one service.
type fixedStatus struct {
	mu  sync.Mutex
	now jobs.Status
}

func (f *fixedStatus) Status(service string) (jobs.Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now, service == f.now.Name
}

func (f *fixedStatus) Watch(ctx context.Context, _ func(string)) error {
	<-ctx.Done()
	return nil
}

func (f *fixedStatus) set(s jobs.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = s
}

// told is a writer that says when it is written to.
type told struct {
	bytes.Buffer
	once sync.Once
	ch   chan struct{}
}

func (t *told) Write(p []byte) (int, error) {
	defer t.once.Do(func() { close(t.ch) })
	return t.Buffer.Write(p)
}

// TestTranslateUnderstandsARealActivator reads its errors, then is held until
// its progress has been shown, and answered by a replica.
func TestTranslateUnderstandsARealActivator(t *testing.T) {
	const policy = `policy "translate" {
  job = "any"
  route {
    path_prefixes = ["/translate"]
  }
  translate {
    backend = "passthrough"
  }
}`
	m := miniredis.RunT(t)
	client := func() redis.UniversalClient {
		c := redis.NewClient(&redis.Options{Addr: m.Addr(), MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	store := policies.NewMemory()
	if _, err := store.Put(t.Context(), "translate", policy, 0, "test", ""); err != nil {
		t.Fatal(err)
	}
	q, err := queue.New(queue.Config{Redis: client()})
	if err != nil {
		t.Fatal(err)
	}
	eta := 41.3
	waking := jobs.Status{Name: "translate", State: jobs.StateWaking, Coming: []jobs.Coming{{Phase: jobs.PhaseLoad, Slots: 8, Left: &jobs.Estimate{P10: eta, P50: eta, P90: eta}}}, Demand: jobs.DemandCounts{Held: 1}, At: time.Now()}
	status := &fixedStatus{}
	act, err := activator.New(activator.Config{Policies: store, Queue: q, Statuses: status, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var loops sync.WaitGroup
	loops.Go(func() { _ = q.Run(ctx) })
	loops.Go(func() { _ = act.Run(ctx) })
	front := httptest.NewServer(act)
	replica := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != `{"text":"Hello","source_lang":"en","target_lang":"es"}` {
			t.Errorf("the replica is asked %s", body)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"translation":"Hola","source_lang":"en","target_lang":"es"}`)
	}))
	t.Cleanup(func() {
		act.StopHolding()
		front.Close()
		cancel()
		loops.Wait()
		replica.Close()
	})
	for !act.Ready() {
		select {
		case <-t.Context().Done():
			t.Fatal("the activator has not read its policies")
		case <-time.After(time.Millisecond):
		}
	}
	translate := func(out, errs io.Writer, args ...string) int {
		return run(append([]string{"translate", "--url", front.URL, "--from", "en"}, args...), streams{strings.NewReader(""), out, errs})
	}

	var errs bytes.Buffer
	if c := translate(io.Discard, &errs, "--to", "no language", "Hello"); c != exitFailure {
		t.Errorf("exit code %d", c)
	}
	if want := "pilotlight: the request cannot be understood (400): target_lang: "; !strings.HasPrefix(errs.String(), want) {
		t.Errorf("said %q, want %q", &errs, want)
	}

	broken, until := "CUDA error: out of memory", time.Now().Add(time.Hour)
	status.set(jobs.Status{Name: "translate", State: jobs.StateBlocked, Blocked: &broken, BlockedUntil: &until, At: time.Now()})
	errs.Reset()
	if c := translate(io.Discard, &errs, "--to", "es", "Hello"); c != exitFailure {
		t.Errorf("exit code %d", c)
	}
	for _, want := range []string{"the model does not start (503)", broken, "try again in "} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("%q is not said:\n%s", want, &errs)
		}
	}

	status.set(waking)
	var out bytes.Buffer
	shown := &told{ch: make(chan struct{})}
	code := make(chan int, 1)
	go func() { code <- translate(&out, shown, "--to", "es", "Hello") }()
	select {
	case <-shown.ch:
	case c := <-code:
		t.Fatalf("it ended with %d before anything was shown: %s%s", c, &out, &shown.Buffer)
	}
	offer := []jobs.SlotOffer{{ID: "r1", Address: strings.TrimPrefix(replica.URL, "http://"), Slots: 1}}
	if err := queue.NewLedger(client(), nil).Offer(t.Context(), "translate", 1, offer); err != nil {
		t.Fatal(err)
	}
	if c := <-code; c != exitDone || out.String() != "Hola\n" {
		t.Errorf("exit code %d, translation %q", c, &out)
	}
	if diff := cmp.Diff("starting, about 40 s\n", shown.String()); diff != "" {
		t.Error(diff)
	}
}
