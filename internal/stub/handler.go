package stub

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// Handler serves every route. While the model loads all of them answer 503,
// except /stub/stats.
func (s *Server) Handler() http.Handler {
	model := http.NewServeMux()
	model.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "healthy"})
	})
	model.HandleFunc("GET /metrics", s.metrics)
	model.HandleFunc("GET /v1/models", s.models)
	model.HandleFunc("GET /listPairs", listPairs)
	model.HandleFunc("POST /translate", s.execute(s.translate))
	model.HandleFunc("POST /v1/completions", s.execute(s.completions))
	model.HandleFunc("POST /v1/chat/completions", s.execute(s.chatCompletions))
	model.HandleFunc("POST /recognize", s.execute(s.recognize))
	model.HandleFunc("POST /work", s.execute(s.work))

	all := http.NewServeMux()
	all.HandleFunc("GET /stub/stats", s.stats)
	all.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if !s.ready() {
			w.Header().Set("Retry-After", "1")
			writeError(w, http.StatusServiceUnavailable, "loading the model")
			return
		}
		model.ServeHTTP(w, r)
	})
	return all
}

// Stats is what GET /stub/stats answers.
type Stats struct {
	Replica     string  `json:"replica"`
	Ready       bool    `json:"ready"`
	UptimeS     float64 `json:"uptime_s"`
	Executions  int64   `json:"executions"`    // begun
	Finished    int64   `json:"finished"`      // answered, with whatever status
	Cancelled   int64   `json:"cancelled"`     // begun, then the client had gone
	Abandoned   int64   `json:"abandoned"`     // client gone before they were begun
	InFlight    int64   `json:"in_flight"`     // running and waiting
	MaxInFlight int64   `json:"max_in_flight"` // highest InFlight ever
	Concurrency int     `json:"concurrency"`   // of these, computed at once
}

// Stats tells the counts of this moment.
func (s *Server) Stats() Stats {
	return Stats{
		Replica:     s.cfg.Replica,
		Ready:       s.ready(),
		UptimeS:     time.Since(s.started).Seconds(),
		Executions:  s.counts.executions.Load(),
		Finished:    s.counts.finished.Load(),
		Cancelled:   s.counts.cancelled.Load(),
		Abandoned:   s.counts.abandoned.Load(),
		InFlight:    s.inFlight.Load(),
		MaxInFlight: s.highest.Load(),
		Concurrency: s.cfg.Concurrency,
	}
}

func (s *Server) stats(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.Stats())
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that has gone does not mind
}

// writeError answers in the envelope of OpenAI's API, which is what engines do.
func writeError(w http.ResponseWriter, status int, message string) {
	type detail struct {
		Message string `json:"message"`
		Type    string `json:"type"`
		Code    int    `json:"code"`
	}
	writeJSON(w, status, map[string]detail{"error": {message, http.StatusText(status), status}})
}

// writeReadError answers a request whose body could not be read.
func writeReadError(w http.ResponseWriter, err error) {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		writeError(w, http.StatusRequestEntityTooLarge, "the body is too large")
		return
	}
	writeError(w, http.StatusBadRequest, "the body cannot be read")
}
