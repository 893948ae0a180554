package nomaddouble

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// stream answers the event stream: one JSON object a line, {} first and at
// every heartbeat, from ?index on, inclusive, or from the oldest that is kept.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var topics []topic
	for _, text := range q["topic"] {
		t, ok := parseTopic(text)
		if !ok {
			refuse(w, 400, "Invalid topic query: error parsing topics: Invalid key value pair for topic, topic: %s", text)
			return
		}
		topics = append(topics, t)
	}
	var from uint64
	if text := q.Get("index"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			refuse(w, 400, "Unable to parse index: %v", err)
			return
		}
		from = uint64(n)
	}

	s.mu.Lock()
	muted, cut, guarded := s.faults.muted, s.faults.cut, s.tokens != nil
	next := from
	switch n := len(s.entries); {
	case n > 0 && s.faults.replay > 0:
		next = s.entries[max(n-s.faults.replay, 0)].Index
	case n > 0 && from > s.entries[n-1].Index:
		// A future index starts at the newest that is kept, and does not wait.
		next = s.entries[n-1].Index
	}
	s.mu.Unlock()
	if len(topics) == 0 {
		topics = []topic{{"*", "*"}}
	}

	control := begin(w)
	if muted { // as Nomad refuses a stream: 200 and then nothing
		select {
		case <-r.Context().Done():
		case <-cut:
		}
		return
	}
	line := func(v any) bool {
		text, err := json.Marshal(v)
		if err != nil {
			return false
		}
		s.mu.Lock()
		torn := s.faults.torn
		s.mu.Unlock()
		if torn {
			_, _ = w.Write(text[:len(text)/2])
			_ = control.Flush()
			return false
		}
		if _, err := w.Write(append(text, '\n')); err != nil {
			return false
		}
		return control.Flush() == nil
	}
	if !line(document{}) {
		return
	}
	heartbeat := time.NewTicker(s.delays.Heartbeat)
	defer heartbeat.Stop()
	for {
		s.mu.Lock()
		moved := s.moved
		i, _ := slices.BinarySearchFunc(s.entries, next, func(e entry, n uint64) int {
			switch {
			case e.Index < n:
				return -1
			case e.Index > n:
				return 1
			}
			return 0
		})
		fresh := slices.Clone(s.entries[i:])
		deaf := s.faults.deaf || s.faults.leaderless
		revoked := guarded && !allowed(s.rights(r), r)
		s.mu.Unlock()
		if revoked { // no word, and the end at some time
			sleep(r.Context(), streamRefusal)
			return
		}
		for _, e := range fresh {
			next = e.Index + 1
			if deaf {
				continue
			}
			e.Events = slices.DeleteFunc(slices.Clone(e.Events), func(ev event) bool {
				return !slices.ContainsFunc(topics, func(t topic) bool { return t.matches(ev) }) ||
					(ev.Namespace != "" && !in(r, ev.Namespace))
			})
			if len(e.Events) > 0 && !line(e) {
				return
			}
		}
		select {
		case <-moved:
		case <-heartbeat.C:
			if !line(document{}) {
				return
			}
		case <-cut:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// begin answers 200 with the headers of a stream.
func begin(w http.ResponseWriter) *http.ResponseController {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Connection", "close")
	control := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	_ = control.Flush()
	return control
}

// silence refuses a stream as Nomad does: 200, nothing, and the end at some
// time.
func (s *Server) silence(w http.ResponseWriter, r *http.Request) {
	begin(w)
	sleep(r.Context(), streamRefusal)
}

// topic is what a stream is asked for: a kind, and a key or "*".
type topic struct{ kind, key string }

func parseTopic(text string) (topic, bool) {
	parts := strings.Split(text, ":")
	switch len(parts) {
	case 1:
		return topic{parts[0], "*"}, true
	case 2:
		return topic{parts[0], parts[1]}, true
	}
	return topic{}, false
}

func (t topic) matches(e event) bool {
	if t.kind != "*" && t.kind != e.Topic {
		return false
	}
	return t.key == "*" || t.key == e.Key || slices.Contains(e.FilterKeys, t.key)
}
