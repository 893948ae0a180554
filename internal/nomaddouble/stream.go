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
	muted, cut := s.faults.muted, s.faults.cut
	next := from
	if len(s.entries) > 0 && from > s.entries[len(s.entries)-1].Index {
		// A future index starts at the newest that is kept, and does not wait.
		next = s.entries[len(s.entries)-1].Index
	}
	s.mu.Unlock()

	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Connection", "close")
	control := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	if muted { // as Nomad refuses a stream: 200 and then nothing
		_ = control.Flush()
		select {
		case <-r.Context().Done():
		case <-cut:
		}
		return
	}
	line := func(v any) bool {
		if json.NewEncoder(w).Encode(v) != nil {
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
		s.mu.Unlock()
		for _, e := range fresh {
			next = e.Index + 1
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
