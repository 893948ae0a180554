package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pilotlight/pilotlight/activator"
	"github.com/pilotlight/pilotlight/activator/front"
	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/internal/redisdb"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// The parts of benchmarks, each a process.
const (
	PartUpstream  = "upstream"  // a net/http server that reads the body and answers at once
	PartBare      = "bare"      // a bare httputil.ReverseProxy in front of it
	PartPooled    = "pooled"    // the same with a BufferPool
	PartActivator = "activator" // Pilotlight's activator in front of it
	PartNomad     = "nomad"     // a Nomad that is none, with the delays of a dev agent
)

// RunPart is one part of a benchmark: it says on out where it listens,
// then answers each line from in with what the process has used so far, as a
// JSON usage, until in or ctx ends. upstream is the address that a proxy
// forwards to.
func RunPart(ctx context.Context, part, upstream string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var h http.Handler
	var conns *front.Connections // as pilotlight serve bounds those of its data plane
	var loops sync.WaitGroup
	defer loops.Wait()
	defer cancel()
	switch part {
	case PartUpstream:
		h = http.HandlerFunc(answerAtOnce)
	case PartBare:
		h = bareProxy(upstream)
	case PartPooled:
		p := bareProxy(upstream)
		p.BufferPool = &buffers{sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}}
		h = p
	case PartActivator:
		act, q, close, err := warmActivator(ctx, upstream)
		if err != nil {
			return err
		}
		defer close()
		loops.Go(func() { _ = q.Run(ctx) })
		loops.Go(func() { _ = act.Run(ctx) })
		if err := untilReady(ctx, act); err != nil {
			return err
		}
		h, conns = front.Patience(front.DefaultPace.Grace, act), front.NewConnections(front.Config{Max: 1 << 16})
	case PartNomad:
		n, end, err := newNomadPart()
		if err != nil {
			return err
		}
		defer end()
		loops.Go(func() { _ = n.double.Run(ctx) })
		h = n
	default:
		return fmt.Errorf("part %q: allowed: %s", part, strings.Join([]string{PartUpstream, PartBare, PartPooled, PartActivator, PartNomad}, ", "))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	at := l
	if conns != nil {
		srv.ConnState, at = conns.State, conns.Listen(l)
	}
	loops.Go(func() { _ = srv.Serve(at) })
	defer srv.Close()
	if _, err := fmt.Fprintf(out, "listening %s\n", l.Addr()); err != nil {
		return err
	}
	return tellUsage(ctx, in, out)
}

// untilReady waits for the activator to have read its policies.
func untilReady(ctx context.Context, act *activator.Activator) error {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !act.Ready() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
	return nil
}

// usage of the process so far.
type usage struct {
	CPU time.Duration `json:"cpu_ns"` // user and system
}

// tellUsage answers each line of in. What reads in ends with it, or with the
// process.
func tellUsage(ctx context.Context, in io.Reader, out io.Writer) error {
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for lines := bufio.NewScanner(in); lines.Scan(); {
			select {
			case asked <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-asked:
			if !ok {
				return nil
			}
			used, err := cpu()
			if err != nil {
				return err
			}
			u := usage{CPU: used}
			if err := json.NewEncoder(out).Encode(u); err != nil {
				return err
			}
		}
	}
}

// cpu is what the process has used so far, user and system.
func cpu() (time.Duration, error) {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0, fmt.Errorf("read the usage of CPU: %w", err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), nil
}

const upstreamAnswer = `{"translation":"Hola, ¿cómo estás hoy?","source_lang":"en","target_lang":"es"}`

func answerAtOnce(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, upstreamAnswer)
}

// bareProxy is the yardstick: the standard reverse proxy as it comes, but for
// a transport that keeps its connections, without which it would measure how
// fast they are opened.
func bareProxy(upstream string) *httputil.ReverseProxy {
	target := &url.URL{Scheme: "http", Host: upstream}
	return &httputil.ReverseProxy{
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(target)
			pr.SetXForwarded()
		},
	}
}

// buffers is the plainest httputil.BufferPool.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte  { return *b.pool.Get().(*[]byte) }
func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

// Routes of the two services that the warm benchmark measures.
const (
	plainPath     = "/recognize"
	translatePath = "/translate"
)

var warmPolicies = map[string]string{
	"plain": `policy "plain" {
  job = "plain"
  route { path_prefixes = ["` + plainPath + `"] }
}`,
	"translate": `policy "translate" {
  job = "translate"
  route { path_prefixes = ["` + translatePath + `"] }
  translate { backend = "passthrough" }
}`,
}

// warmSlots of the one replica: more than there are connections.
const warmSlots = 64

// warmActivator returns an activator as a node has it, over a Redis embedded in
// this process, to which a scaler would have offered one replica at upstream.
func warmActivator(ctx context.Context, upstream string) (*activator.Activator, *queue.Queue, func(), error) {
	store := policies.NewMemory()
	db := redisdb.NewEmbedded()
	client := db.Client()
	close := func() {
		_ = client.Close()
		db.Close()
	}
	fail := func(err error) (*activator.Activator, *queue.Queue, func(), error) {
		close()
		return nil, nil, nil, err
	}
	ledger := queue.NewLedger(client, nil)
	for name, text := range warmPolicies {
		if _, err := store.Put(ctx, name, text, 0, "bench", ""); err != nil {
			return fail(err)
		}
		offer := jobs.SlotOffer{ID: name + "-0", Address: upstream, Slots: warmSlots}
		if err := ledger.Offer(ctx, name, 1, []jobs.SlotOffer{offer}); err != nil {
			return fail(err)
		}
	}
	q, err := queue.New(queue.Config{Redis: client})
	if err != nil {
		return fail(err)
	}
	act, err := activator.New(activator.Config{Policies: store, Queue: q, Statuses: noStatuses{},
		Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fail(err)
	}
	return act, q, close, nil
}

// noStatuses is a scaler that has published nothing.
type noStatuses struct{}

func (noStatuses) Status(string) (jobs.Status, bool) { return jobs.Status{}, false }

func (noStatuses) Watch(ctx context.Context, _ func(string)) error {
	<-ctx.Done()
	return nil
}
