package web

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	beatEvery    = 3 * time.Second  // so that a page knows that silence is not a dead connection
	writeTimeout = 10 * time.Second // for one event to a slow reader
)

// getEvents serves the stream until the reader goes, lags too far, or the feed
// ends.
func (s *Server) getEvents(c echo.Context) error {
	after := c.Request().Header.Get("Last-Event-ID")
	if after == "" {
		after = c.QueryParam("last_event_id")
	}
	var topics []string
	if text := c.QueryParam("topics"); text != "" {
		topics = strings.Split(text, ",")
	}
	r, missed, reset := s.feed.join(after, topics, c.QueryParam("service"))
	defer s.feed.leave(r)

	w := c.Response()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would collect it
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w.Writer)
	send := func(text []byte) bool {
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // not every writer has one
		if _, err := w.Write(text); err != nil {
			return false
		}
		return control.Flush() == nil
	}

	hello := []byte("retry: 1000\n\n")
	if reset {
		hello = append(hello, s.feed.wire(event{topic: topicReset, data: []byte(`{}`)}, s.feed.position())...)
	} else if after == "" { // an id to come back with, even if nothing has happened since
		hello = append(hello, s.feed.wire(event{topic: topicBeat, data: beat(time.Now())}, s.feed.position())...)
	}
	for _, e := range missed {
		hello = append(hello, s.feed.wire(e, "")...)
	}
	if !send(hello) {
		return nil
	}
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.Request().Context().Done():
			return nil
		case e, open := <-r.events:
			if !open || !send(s.feed.wire(e, "")) {
				return nil
			}
		case now := <-tick.C:
			if !send(s.feed.wire(event{topic: topicBeat, data: beat(now)}, "")) {
				return nil
			}
		}
	}
}

// wire is an event as it is sent; id "" is the event's own, if it has one.
func (f *feed) wire(e event, id string) []byte {
	var b bytes.Buffer
	if id == "" && e.sequence > 0 {
		id = f.id(e.sequence)
	}
	if id != "" {
		b.WriteString("id: " + id + "\n")
	}
	b.WriteString("event: " + e.topic + "\ndata: ")
	b.Write(e.data)
	b.WriteString("\n\n")
	return b.Bytes()
}

func beat(now time.Time) []byte {
	return []byte(`{"at":"` + now.UTC().Format(time.RFC3339) + `"}`)
}
