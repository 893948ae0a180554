package simulate_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pilotlight/pilotlight/activator"
	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/internal/redistest"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler"
	"github.com/pilotlight/pilotlight/scaler/history"
	"github.com/pilotlight/pilotlight/scaler/lease"
	"github.com/pilotlight/pilotlight/scaler/simulate"
)

// street is a network without sockets: an address is a server.
type street struct {
	mu      sync.Mutex
	servers map[string]*listener
}

type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// open serves h at an address until the returned function is called.
func (s *street) open(address string, h http.Handler) (shut func()) {
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	s.mu.Lock()
	s.servers[address] = l
	s.mu.Unlock()
	go func() { _ = server.Serve(l) }()
	return func() { _ = server.Close() }
}

func (s *street) dial(ctx context.Context, _, address string) (net.Conn, error) {
	s.mu.Lock()
	l := s.servers[address]
	s.mu.Unlock()
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// secondsHeader says how long a replica takes for a request.
const secondsHeader = "Test-Seconds"

// cluster is a fleet of one job whose replicas take their time to start, and
// then for each request what it says. It keeps the bill.
type cluster struct {
	street *street
	starts time.Duration

	mu      sync.Mutex
	count   int
	known   bool
	allocs  []jobs.Allocation
	shut    map[string]func()
	bill    time.Duration // of those that are gone
	made    int
	changed func(jobs.Ref)
	ref     jobs.Ref
}

func (c *cluster) Ensure(_ context.Context, _ *jobs.Spec, ref jobs.Ref, _ bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known, c.ref = true, ref
	return nil
}

func (c *cluster) Revive(context.Context, *jobs.Spec, jobs.Ref, string) error { return nil }
func (c *cluster) Note(context.Context, jobs.Ref, string, map[string]string) error {
	return nil
}
func (c *cluster) GPUs(context.Context, jobs.Ref) (map[string]jobs.GPU, error) { return nil, nil }

func (c *cluster) Observe(context.Context, jobs.Ref) (jobs.Observation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return jobs.Observation{}, jobs.ErrUnknownJob
	}
	return jobs.Observation{Count: c.count, At: time.Now(), Allocations: slices.Clone(c.allocs)}, nil
}

func (c *cluster) Watch(ctx context.Context, changed func(jobs.Ref)) error {
	c.mu.Lock()
	c.changed = changed
	c.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (c *cluster) Scale(_ context.Context, ref jobs.Ref, count int, _ string, _ map[string]string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count = count
	slices.SortFunc(c.allocs, func(a, b jobs.Allocation) int { return cmp.Compare(a.Index, b.Index) })
	for len(c.allocs) > count {
		c.end(len(c.allocs) - 1)
	}
	for index := 0; len(c.allocs) < count; index++ {
		if index < len(c.allocs) && c.allocs[index].Index == index {
			continue
		}
		c.made++
		a := jobs.Allocation{
			ID: fmt.Sprintf("alloc-%d", c.made), Ref: ref, Index: index, Node: "node", Desired: jobs.DesiredRun, Client: jobs.ClientRunning,
			Address: fmt.Sprintf("10.0.0.%d:80", c.made), Created: time.Now(), Started: time.Now(),
		}
		c.allocs = slices.Insert(c.allocs, index, a)
		time.AfterFunc(c.starts, func() { c.listen(a) })
	}
	go c.changed(ref)
	return nil
}

func (c *cluster) listen(a jobs.Allocation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(c.allocs, func(b jobs.Allocation) bool { return b.ID == a.ID }) {
		c.shut[a.ID] = c.street.open(a.Address, http.HandlerFunc(take))
	}
}

// take answers a probe at once, and anything else after the seconds it names.
func take(w http.ResponseWriter, r *http.Request) {
	if seconds, err := strconv.ParseFloat(r.Header.Get(secondsHeader), 64); err == nil {
		w.Header().Set("Test-Began", strconv.FormatInt(time.Now().UnixNano(), 10))
		time.Sleep(time.Duration(seconds * float64(time.Second)))
	}
}

// end stops an allocation and adds it to the bill; c.mu is held.
func (c *cluster) end(i int) {
	a := c.allocs[i]
	c.bill += time.Since(a.Created)
	if shut := c.shut[a.ID]; shut != nil {
		go shut()
	}
	c.allocs = slices.Delete(c.allocs, i, i+1)
}

// total is the bill up to now, and how many were launched.
func (c *cluster) total() (time.Duration, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := c.bill
	for _, a := range c.allocs {
		sum += time.Since(a.Created)
	}
	return sum, c.made
}

// silence is what the activator reads of a scaler that has nothing to say.
type silence struct{}

func (silence) Status(string) (jobs.Status, bool)               { return jobs.Status{}, false }
func (silence) Watch(ctx context.Context, _ func(string)) error { <-ctx.Done(); return nil }

// reality is what the requests met in the real house.
type reality struct {
	gpuSeconds float64
	launches   int
	waits      []float64 // seconds, of those that were answered
	cold       int       // answered, and held while no replica was ready
	refused    int       // the hold was full
	timedOut   int       // held for hold.max_wait
	failed     int       // anything else
}

func (r *reality) mean() (sum float64) {
	for _, w := range r.waits {
		sum += w
	}
	return sum / float64(max(1, len(r.waits)))
}

func (r *reality) quantile(q float64) float64 {
	sorted := slices.Sorted(slices.Values(r.waits))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(max(0, int(math.Ceil(q*float64(len(sorted))))-1), len(sorted)-1)]
}

// live plays the requests of one service to the real activator, queue, ledger,
// lease and scaler over an embedded Redis. It has to run in a bubble.
func live(t *testing.T, p *policies.Policy, starts time.Duration, requests []simulate.Request) reality {
	_, client := redistest.Redis(t)
	log := slog.New(slog.DiscardHandler)
	road := &street{servers: map[string]*listener{}}
	fleet := &cluster{street: road, starts: starts, shut: map[string]func(){}, changed: func(jobs.Ref) {}}
	store := policies.NewMemory()
	if _, err := store.Put(t.Context(), p.Name, string(policies.Format(p)), 0, "test", ""); err != nil {
		t.Fatal(err)
	}
	q, err := queue.New(queue.Config{Redis: client, Activator: "a"})
	if err != nil {
		t.Fatal(err)
	}
	act, err := activator.New(activator.Config{Policies: store, Queue: q, Statuses: silence{}, Registerer: prometheus.NewRegistry(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	redial(act, road.dial)
	spec := &jobs.Spec{ID: p.Job, Type: "service", Groups: []jobs.Group{{Name: "server", Tasks: []jobs.Task{{Name: "model"}}}}}
	s, err := scaler.New(scaler.Config{
		Fleet: fleet, Ledger: queue.NewLedger(client, log), Policies: store, History: history.New(client), Logger: log,
		Specs: func(job string) (*jobs.Spec, bool) { return spec, job == p.Job },
		Lease: lease.New(client, "scaler", log), Client: &http.Client{Transport: &http.Transport{DialContext: road.dial, IdleConnTimeout: time.Second}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	begin := time.Now().Truncate(time.Second).Add(5 * time.Second)
	// The scaler reads counters a little before it looks, on whole seconds, and half
	// a second after they are published: the mean of what may be.
	for _, loop := range []struct {
		before time.Duration
		run    func(context.Context) error
	}{{4100 * time.Millisecond, s.Run}, {3600 * time.Millisecond, q.Run}, {3600 * time.Millisecond, act.Run}} {
		time.Sleep(time.Until(begin.Add(-loop.before)))
		loops.Go(func() {
			if err := loop.run(ctx); err != nil {
				t.Errorf("a loop ended: %v", err)
			}
		})
	}
	front := road.open("activator:80", act)
	defer func() {
		front()
		cancel()
		loops.Wait()
		fleet.mu.Lock()
		for len(fleet.allocs) > 0 {
			fleet.end(len(fleet.allocs) - 1)
		}
		fleet.mu.Unlock()
		time.Sleep(time.Minute) // whatever still sleeps ends
	}()
	time.Sleep(time.Until(begin))

	var out reality
	callers := &http.Client{Transport: &http.Transport{DialContext: road.dial, DisableKeepAlives: true}}
	var mu sync.Mutex
	var calls sync.WaitGroup
	for i, r := range requests {
		time.Sleep(time.Until(begin.Add(r.At)))
		calls.Go(func() {
			got, err := ask(callers, r.Seconds)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				out.failed++
				t.Logf("request %d: %v", i, err)
			case got.status == http.StatusOK:
				out.waits = append(out.waits, got.waited.Seconds())
				if got.cold {
					out.cold++
				}
			case got.status == http.StatusTooManyRequests:
				out.refused++
			case got.status == http.StatusGatewayTimeout:
				out.timedOut++
			default:
				out.failed++
				t.Logf("request %d: status %d: %s", i, got.status, got.text)
			}
		})
	}
	calls.Wait()
	bill, made := fleet.total()
	out.gpuSeconds, out.launches = bill.Seconds(), made
	return out
}

// answer is what came of one request.
type answer struct {
	status int
	waited time.Duration // for its replica
	cold   bool
	text   []byte
}

// ask sends one request.
func ask(client *http.Client, seconds float64) (answer, error) {
	arrived := time.Now()
	req, err := http.NewRequest(http.MethodGet, "http://activator:80/truth/x", nil)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set(secondsHeader, strconv.FormatFloat(seconds, 'g', -1, 64))
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	got := answer{status: resp.StatusCode, cold: resp.Header.Get("Pilotlight-Cold-Start") == "true"}
	if got.text, err = io.ReadAll(resp.Body); err != nil || got.status != http.StatusOK {
		return got, err
	}
	began, err := strconv.ParseInt(resp.Header.Get("Test-Began"), 10, 64)
	got.waited = time.Unix(0, began).Sub(arrived)
	return got, err
}

// redial makes the activator reach replicas without sockets, which a bubble
// cannot have: it dials TCP, and nothing else of it is touched.
func redial(a *activator.Activator, dial func(context.Context, string, string) (net.Conn, error)) {
	transport := reflect.ValueOf(a).Elem().FieldByName("tries").Elem().FieldByName("transport")
	(*http.Transport)(transport.UnsafePointer()).DialContext = dial
}
