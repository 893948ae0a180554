package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pilotlight/pilotlight/activator/front"
)

// lifecycle starts everything at once and ends it in order: firsts, servers,
// loops, lasts. So whoever watches /livez of the servers sees a live process
// while requests of the firsts finish.
type lifecycle struct {
	log     *slog.Logger
	firsts  []*server
	servers []*server
	loops   []func(context.Context) error
	lasts   []func(context.Context) error
}

// first is a server whose requests in flight finish, upgraded ones too; hurry
// ends what would keep them waiting.
func (l *lifecycle) first(at net.Listener, h http.Handler, conns *front.Connections, hurry func()) {
	s := newServer(at, h, conns)
	s.hurry = hurry
	l.firsts = append(l.firsts, s)
}

// serve is a server whose requests are quick, or event streams that do not end
// by themselves.
func (l *lifecycle) serve(at net.Listener, h http.Handler) {
	l.servers = append(l.servers, newServer(at, h, front.NewConnections(front.Config{Max: controlConnections})))
}

func (l *lifecycle) loop(run func(context.Context) error) { l.loops = append(l.loops, run) }

// last is a loop that ends only after the others have.
func (l *lifecycle) last(run func(context.Context) error) { l.lasts = append(l.lasts, run) }

func (l *lifecycle) close() {
	for _, s := range l.all() {
		_ = s.listener.Close()
	}
}

func (l *lifecycle) all() []*server { return slices.Concat(l.firsts, l.servers) }

// run runs everything until ctx ends or a part fails. Requests of the firsts get
// grace to finish.
func (l *lifecycle) run(ctx context.Context, stopping interface{ Store(bool) }, grace time.Duration) error {
	failed, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stage := func(runs []func(context.Context) error) (stop func() error) {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		var g errgroup.Group
		for _, run := range runs {
			g.Go(func() error {
				err := run(ctx)
				if ctx.Err() != nil && errors.Is(err, context.Canceled) {
					err = nil // told to end, and says so
				}
				if err != nil {
					fail(err)
				} else if ctx.Err() == nil {
					fail(errors.New("a part of the process ended by itself"))
				}
				return err
			})
		}
		return func() error { cancel(); return g.Wait() }
	}
	stopLasts := stage(l.lasts)
	stopLoops := stage(l.loops)
	var serving errgroup.Group
	for _, s := range l.all() {
		serving.Go(func() error {
			err := s.http.Serve(s.listener)
			if !errors.Is(err, http.ErrServerClosed) {
				fail(err)
				return err
			}
			return nil
		})
	}
	<-failed.Done()
	stopping.Store(true)
	if cut := endAll(l.firsts, grace); cut > 0 {
		l.log.Warn("requests were cut", "count", cut, "reason", "they outlasted the grace of "+grace.String())
	}
	endAll(l.servers, time.Second)
	err := errors.Join(serving.Wait(), stopLoops(), stopLasts())
	if cause := context.Cause(failed); err == nil && ctx.Err() == nil {
		return cause
	}
	return err
}

// endAll ends servers side by side and returns how many requests were cut.
func endAll(servers []*server, grace time.Duration) int64 {
	var ending sync.WaitGroup
	var cut atomic.Int64
	for _, s := range servers {
		ending.Go(func() { cut.Add(s.end(grace)) })
	}
	ending.Wait()
	return cut.Load()
}

// server is one listener with what answers there.
type server struct {
	listener net.Listener
	http     *http.Server
	requests *inFlight
	cut      context.CancelFunc // ends the context of every request
	hurry    func()             // nil: nothing to hurry
}

func newServer(at net.Listener, h http.Handler, conns *front.Connections) *server {
	ctx, cut := context.WithCancel(context.Background())
	requests := &inFlight{next: h, none: make(chan struct{}, 1)}
	srv := newHTTPServer(requests)
	srv.BaseContext = func(net.Listener) context.Context { return ctx }
	srv.ConnState = conns.State
	return &server{listener: conns.Listen(at), http: srv, requests: requests, cut: cut}
}

// cutPatience is how long requests that were cut have to say so and count it.
const cutPatience = time.Second

// end takes no new requests, gives those in flight grace to finish, and cuts the
// rest: it returns how many those were.
func (s *server) end(grace time.Duration) int64 {
	if s.hurry != nil {
		s.hurry()
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	left := s.http.Shutdown(ctx) // it neither waits for connections taken over nor closes them
	if left == nil {
		left = s.requests.wait(ctx)
	}
	n := s.requests.count.Load()
	s.cut()
	if left == nil {
		return 0
	}
	_ = s.http.Close()
	ctx, cancel = context.WithTimeout(context.Background(), cutPatience)
	defer cancel()
	_ = s.requests.wait(ctx) // what does not heed its context ends with the process
	return n
}

// inFlight counts the requests that a handler has, also those whose connections
// it has taken over (WebSockets).
type inFlight struct {
	next  http.Handler
	count atomic.Int64
	none  chan struct{} // holds one mark when count has fallen to 0
}

// ServeHTTP passes the request on.
func (f *inFlight) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.count.Add(1)
	defer f.leave() // also when the handler panics, as proxies do
	f.next.ServeHTTP(w, r)
}

func (f *inFlight) leave() {
	if f.count.Add(-1) > 0 {
		return
	}
	select {
	case f.none <- struct{}{}:
	default: // the mark is there
	}
}

// wait returns nil when there is no request, or the error of ctx.
func (f *inFlight) wait(ctx context.Context) error {
	for f.count.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.none: // perhaps an old mark
		}
	}
	return nil
}
