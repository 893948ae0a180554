package activator

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// world is one activator over an embedded Redis, with replicas that are test
// servers and a scaler that is the test.
type world struct {
	t        *testing.T
	redis    *miniredis.Miniredis
	ledger   *queue.Ledger
	act      *Activator
	url      string
	store    policies.Store
	statuses *fakeStatuses
	offers   []jobs.SlotOffer
}

const translatePolicy = `
policy "translate" {
  job = "translate-apertium"
  route {
    path_prefixes = ["/translate"]
    models        = ["gemma"]
  }
  translate { backend = "passthrough" }
  hold {
    max_body = "1MiB"
  }
}
`

const plainPolicy = `
policy "plain" {
  job = "plain"
  route {
    path_prefixes = ["/recognize", "/stream"]
    hosts = []
  }
  hold {
    max_body = "4MiB"
  }
}
policy "byhost" {
  job = "byhost"
  route { hosts = ["model.example.org"] }
}
`

func newWorld(t *testing.T, texts ...string) *world {
	t.Helper()
	m := miniredis.RunT(t)
	client := func() redis.UniversalClient {
		c := redis.NewClient(&redis.Options{Addr: m.Addr(), MaxRetries: -1,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	w := &world{t: t, redis: m, ledger: queue.NewLedger(client(), nil), store: policies.NewMemory(),
		statuses: &fakeStatuses{now: map[string]jobs.Status{}, changes: make(chan string, 10)}}
	if len(texts) == 0 {
		texts = []string{translatePolicy}
	}
	for _, text := range texts {
		w.put(text)
	}
	q, err := queue.New(queue.Config{Redis: client(), Activator: "a",
		Execute: func(ctx context.Context, e *queue.Execution) error { return w.act.Execute(ctx, e) }})
	if err != nil {
		t.Fatal(err)
	}
	w.act, err = New(Config{Policies: w.store, Queue: q, Statuses: w.statuses, Registerer: prometheus.NewRegistry(),
		Logger: slog.New(slog.DiscardHandler), Publish: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	loops.Go(func() { _ = q.Run(ctx) })
	loops.Go(func() { _ = w.act.Run(ctx) })
	server := httptest.NewServer(w.act)
	w.url = server.URL
	t.Cleanup(func() {
		w.act.StopHolding()
		server.Close()
		cancel()
		loops.Wait()
	})
	w.until("policies are read", w.act.Ready)
	return w
}

// put saves every policy of a text.
func (w *world) put(text string) {
	w.t.Helper()
	ps, err := policies.Parse("test.hcl", []byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range ps {
		base := 0
		if v, err := w.store.Get(w.t.Context(), p.Name); err == nil {
			base = v.Version
		}
		if _, err := w.store.Put(w.t.Context(), p.Name, string(policies.Format(p)), base, "test", ""); err != nil {
			w.t.Fatal(err)
		}
	}
}

// until polls a condition of something that runs beside the test.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			w.t.Fatalf("not within 10s: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// replica starts a server and offers it with so many slots.
func (w *world) replica(service, id string, slots int, h http.HandlerFunc) *httptest.Server {
	w.t.Helper()
	s := httptest.NewServer(h)
	w.t.Cleanup(s.Close)
	w.offers = append(w.offers, jobs.SlotOffer{ID: id, Index: len(w.offers), Address: s.Listener.Addr().String(), Slots: slots})
	w.offer(service)
	return s
}

func (w *world) offer(service string) {
	w.t.Helper()
	if err := w.ledger.Offer(w.t.Context(), service, 1, w.offers); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) held(service string) int {
	w.t.Helper()
	d, err := w.ledger.Demand(context.Background(), service)
	if err != nil {
		w.t.Fatal(err)
	}
	return d.Held
}

func (w *world) untilHeld(service string, n int) {
	w.t.Helper()
	w.until("requests held", func() bool { return w.held(service) == n })
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body string
	err  error
}

func (w *world) do(method, path, body string, header ...string) answer {
	w.t.Helper()
	return w.send(w.request(context.Background(), method, path, strings.NewReader(body), header...))
}

func (w *world) request(ctx context.Context, method, path string, body io.Reader, header ...string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

func (w *world) send(req *http.Request) answer {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return answer{Response: resp, body: string(b), err: err}
}

// async sends in the background.
func (w *world) async(method, path, body string, header ...string) <-chan answer {
	ch := make(chan answer, 1)
	go func() { ch <- w.do(method, path, body, header...) }()
	return ch
}

func (w *world) get(ch <-chan answer) answer {
	w.t.Helper()
	select {
	case a := <-ch:
		if a.err != nil {
			w.t.Fatal(a.err)
		}
		return a
	case <-time.After(10 * time.Second):
		w.t.Fatal("no answer within 10s")
		panic("unreachable")
	}
}

// fakeStatuses is what the scaler would publish.
type fakeStatuses struct {
	mu      sync.Mutex
	now     map[string]jobs.Status
	changes chan string
}

func (f *fakeStatuses) Status(service string) (jobs.Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	st, ok := f.now[service]
	return st, ok
}

func (f *fakeStatuses) Watch(ctx context.Context, changed func(string)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case name := <-f.changes:
			changed(name)
		}
	}
}

func (f *fakeStatuses) set(st jobs.Status) {
	f.mu.Lock()
	f.now[st.Name] = st
	f.mu.Unlock()
	f.changes <- st.Name
}

// echo answers with the body it got, and counts.
func echo(count *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	}
}

// refused is an address where nobody listens, nor will while the test lasts: it is taken.
func refused(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(at.(*syscall.SockaddrInet4).Port))
}

func pausedStatus(service string) jobs.Status {
	return jobs.Status{Name: service, State: jobs.StatePaused}
}

func zeroStatus(service string) jobs.Status { return jobs.Status{Name: service, State: jobs.StateZero} }
