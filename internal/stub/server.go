package stub

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// ErrLoadFailed is what Run returns when --fail-load strikes.
var ErrLoadFailed = errors.New("the model could not be loaded")

// lastWords is what a real engine would leave on stderr.
const lastWords = `stub: loading weights: shard 2 of 4
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.02 GiB is free.
RuntimeError: Engine core initialization failed.
`

// crashCode is the exit code of --crash-after: as if aborted by signal 6.
const crashCode = 134

// Server is the scripted model server. It starts to load when it is made.
type Server struct {
	cfg         Config
	started     time.Time
	utilization utilization
	invalid     error // of cfg, told by Run
	failsLoad   bool
	log         executionLog

	slots    chan struct{} // one token per running request
	stopping chan struct{} // closed when Run begins to stop: hung requests give up
	running  atomic.Int64
	inFlight atomic.Int64 // running and waiting
	highest  atomic.Int64 // of inFlight
	counts   counts
}

// counts are cumulative.
type counts struct {
	executions atomic.Int64 // begun: finished + cancelled + running
	finished   atomic.Int64 // answered, with whatever status
	cancelled  atomic.Int64 // begun, and given up because the client had gone
	abandoned  atomic.Int64 // client gone before the request was begun
}

// New returns a server that is loading from now on. It does no I/O; a
// configuration that is not valid is told by Run.
func New(cfg Config) *Server {
	invalid := cfg.Validate()
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = defaultConcurrency
	}
	if cfg.Model == "" {
		cfg.Model = "stub"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Stderr == nil {
		cfg.Stderr = io.Discard
	}
	if cfg.Exit == nil {
		cfg.Exit = os.Exit
	}
	s := &Server{
		cfg:      cfg,
		started:  time.Now(),
		invalid:  invalid,
		log:      executionLog{replica: cfg.Replica},
		slots:    make(chan struct{}, cfg.Concurrency),
		stopping: make(chan struct{}),
	}
	if cfg.Log != nil {
		s.log.writers = append(s.log.writers, cfg.Log)
	}
	s.utilization, _ = parseUtilization(cfg.GPUUtil) // its error is in invalid
	s.failsLoad = s.dice(0) < cfg.FailLoad
	return s
}

// dice returns the nth number in [0,1) of this replica: the same in every run
// with the same seed and replica id.
func (s *Server) dice(n uint64) float64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, s.cfg.Replica)
	return rand.New(rand.NewPCG(s.cfg.Seed^h.Sum64(), n)).Float64()
}

// ready reports whether the model is loaded.
func (s *Server) ready() bool { return !s.failsLoad && time.Since(s.started) >= s.cfg.Load }

// Run listens on Config.Listen and serves until ctx ends, then finishes what is
// in flight and returns nil. It returns ErrLoadFailed when --fail-load strikes.
// Run may be called once.
func (s *Server) Run(ctx context.Context) error {
	if s.invalid != nil {
		return s.invalid
	}
	if s.cfg.Listen == "" { // net would take it for every interface
		return errors.New("no address to listen on: give --listen, or set NOMAD_PORT_http")
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return s.Serve(ctx, l)
}

// Serve is Run on a listener that is already open, and closes it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if s.invalid != nil {
		return errors.Join(s.invalid, l.Close())
	}
	if s.cfg.LogFile != "" {
		f, err := os.OpenFile(s.cfg.LogFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return errors.Join(fmt.Errorf("open the log of executions: %w", err), l.Close())
		}
		defer func() { _ = f.Close() }()
		s.log.writers = append(s.log.writers, f)
	}
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	s.cfg.Logger.Info("stub listening", "addr", l.Addr().String(), "replica", s.cfg.Replica, "load", s.cfg.Load)

	var dies <-chan time.Time
	if s.failsLoad {
		timer := time.NewTimer(s.cfg.Load / 2)
		defer timer.Stop()
		dies = timer.C
	}
	var failure error
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-dies:
		_, _ = io.WriteString(s.cfg.Stderr, lastWords)
		failure = errors.Join(ErrLoadFailed, srv.Close())
	case <-ctx.Done():
		close(s.stopping)
		// How long in-flight requests may take is for the supervisor's kill
		// timeout to say.
		failure = srv.Shutdown(context.WithoutCancel(ctx))
	}
	<-served
	return failure
}
