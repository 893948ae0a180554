package stub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Events of the execution log. Every execution has one EventStarted, and one
// other unless the process died.
const (
	EventStarted   = "started"
	EventFinished  = "finished"  // answered, with Execution.Status
	EventCancelled = "cancelled" // the client had gone
)

// Execution is one line of the log.
type Execution struct {
	Time      time.Time `json:"time"`
	Event     string    `json:"event"`
	N         int64     `json:"n"`          // of this process, from 1
	RequestID string    `json:"request_id"` // X-Request-Id
	Path      string    `json:"path"`
	Replica   string    `json:"replica"`
	Status    int       `json:"status,omitempty"` // of the answer, for EventFinished
}

// executionLog writes a line with a single Write, so that several stubs may
// append to one file.
type executionLog struct {
	replica string
	writers []io.Writer
}

func (l *executionLog) write(e Execution) {
	if len(l.writers) == 0 {
		return
	}
	e.Time, e.Replica = time.Now().UTC(), l.replica
	line, err := json.Marshal(e)
	if err != nil {
		return // strings and numbers cannot fail
	}
	line = append(line, '\n')
	for _, w := range l.writers {
		_, _ = w.Write(line) // a full disk must not change what the model does
	}
}

// maxBodyBytes bounds what one request may bring.
const maxBodyBytes = 32 << 20

type executionKey struct{}

// executionOf a request under way names its execution: replica#n.
func executionOf(ctx context.Context) string {
	name, _ := ctx.Value(executionKey{}).(string)
	return name
}

// An answerer writes the answer to one request, whose body has been read. It
// returns an error only if it stopped because its context ended.
type answerer func(w http.ResponseWriter, r *http.Request, body []byte) error

// execute runs one request through the model: it waits for one of the
// concurrency slots, suffers the scripted fate, and calls answer. If the client
// goes it ends, at any point.
func (s *Server) execute(answer answerer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.enter()
		defer s.inFlight.Add(-1)
		// The whole body first: net/http notices that a client has gone only
		// when nothing is left to read.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
		if err != nil {
			writeReadError(w, err)
			return
		}
		ctx := r.Context()
		if s.acquire(ctx) != nil {
			s.counts.abandoned.Add(1)
			panic(http.ErrAbortHandler)
		}
		defer s.release()

		n := s.counts.executions.Add(1)
		if s.cfg.ComputeOn {
			ctx = context.WithoutCancel(ctx)
		}
		ctx = context.WithValue(ctx, executionKey{}, fmt.Sprintf("%s#%d", s.cfg.Replica, n))
		r = r.WithContext(ctx)
		e := Execution{Event: EventStarted, N: n, RequestID: r.Header.Get("X-Request-Id"), Path: r.URL.Path}
		s.log.write(e)
		if s.cfg.CrashAfter > 0 && n > int64(s.cfg.CrashAfter) {
			s.cfg.Exit(crashCode)
			panic(http.ErrAbortHandler) // only where a test's Exit returns
		}

		sw := &statusWriter{ResponseWriter: w}
		if s.fate(ctx, sw, n, func() error { return answer(sw, r, body) }) != nil {
			s.counts.cancelled.Add(1)
			e.Event = EventCancelled
			s.log.write(e)
			panic(http.ErrAbortHandler) // half an answer must not look whole
		}
		s.counts.finished.Add(1)
		e.Event, e.Status = EventFinished, sw.status
		s.log.write(e)
	}
}

// enter counts a request in and keeps the highest count.
func (s *Server) enter() {
	n := s.inFlight.Add(1)
	for {
		highest := s.highest.Load()
		if n <= highest || s.highest.CompareAndSwap(highest, n) {
			return
		}
	}
}

// acquire waits for one of the concurrency slots. A client that has gone gets
// none, even if one is free.
func (s *Server) acquire(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		<-s.slots
		return err
	}
	s.running.Add(1)
	return nil
}

func (s *Server) release() {
	s.running.Add(-1)
	<-s.slots
}

// errHung says that a hung request came to its end without an answer.
var errHung = errors.New("hung")

// fate lets the dice choose for the nth request: a 500, no answer until its
// client goes or the server stops, or the model's answer.
func (s *Server) fate(ctx context.Context, w http.ResponseWriter, n int64, answer func() error) error {
	switch p := s.dice(uint64(n)); {
	case p < s.cfg.Error:
		writeError(w, http.StatusInternalServerError, "scripted error")
		return nil
	case p < s.cfg.Error+s.cfg.Hang:
		select {
		case <-ctx.Done():
		case <-s.stopping:
		}
		return errHung
	}
	return answer()
}

// compute takes the time that the first token or another of them takes, or less
// if the client goes.
func compute(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// computeAll takes the time of a whole answer of that many tokens.
func (s *Server) computeAll(ctx context.Context, tokens int) error {
	return compute(ctx, s.cfg.Latency+time.Duration(tokens)*s.cfg.tokenTime())
}

// statusWriter remembers the status that was written.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController flush.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
