package activator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pilotlight/pilotlight/activator/queue"
)

// heartbeat is the ResponseWriter of a request that is forwarded. While a
// streaming client is held, it sends comments that tell how long it may take, so
// that neither the client nor a proxy on the way takes the silence for death.
//
// The first comment commits status 200. From then on a failure can only be an
// event, and what would have been the header of the answer comes as trailers.
type heartbeat struct {
	http.ResponseWriter
	asked     http.Header // of the client
	committed bool        // status 200 and a comment were sent
	late      http.Header // set after that
	tail      []byte      // the last bytes sent since
}

// Unwrap is for http.ResponseController.
func (h *heartbeat) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Header is the answer's; once that was sent, what comes as trailers.
func (h *heartbeat) Header() http.Header {
	if h.committed {
		return h.late
	}
	return h.ResponseWriter.Header()
}

// WriteHeader does nothing once status 200 was sent.
func (h *heartbeat) WriteHeader(status int) {
	if !h.committed {
		h.ResponseWriter.WriteHeader(status)
	}
}

// Write notes where the events end, once there may be any of ours.
func (h *heartbeat) Write(p []byte) (int, error) {
	n, err := h.ResponseWriter.Write(p)
	if h.committed && n > 0 {
		h.tail = append(h.tail, p[max(0, n-4):n]...)
		h.tail = h.tail[max(0, len(h.tail)-4):]
	}
	return n, err
}

// between reports whether the last event is whole, so that another can follow.
func (h *heartbeat) between() bool {
	return h.committed && (len(h.tail) == 0 || bytes.HasSuffix(h.tail, []byte("\n\n")) || bytes.HasSuffix(h.tail, []byte("\r\n\r\n")))
}

// beat sends one comment.
func (h *heartbeat) beat(c *call, phase string, eta *float64, position int) {
	conn := http.NewResponseController(h.ResponseWriter)
	if !h.committed {
		head := h.ResponseWriter.Header()
		head.Set("Content-Type", "text/event-stream")
		head.Set("Cache-Control", "no-store")
		head.Set("X-Accel-Buffering", "no") // nginx would keep the comments back
		head.Set("X-Request-Id", c.id)
		h.ResponseWriter.WriteHeader(http.StatusOK)
		h.committed, h.late = true, http.Header{}
	}
	line := ": pilotlight phase=" + phase
	if eta != nil {
		line += " eta_s=" + strconv.FormatFloat(*eta, 'f', 0, 64)
	}
	if position > 0 {
		line += " position=" + strconv.Itoa(position)
	}
	// A client whose buffers are full has not read for very long; it must not keep
	// the slot that comes meanwhile.
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(h.ResponseWriter, line+"\n\n")
	_ = conn.Flush()
	_ = conn.SetWriteDeadline(time.Time{})
}

// end sends the trailers.
func (h *heartbeat) end() {
	if !h.committed {
		return
	}
	head := h.ResponseWriter.Header()
	for name, values := range h.late {
		switch {
		case strings.HasPrefix(name, http.TrailerPrefix):
			head[name] = values
		case !notTrailers[name]:
			head[http.TrailerPrefix+name] = values
		}
	}
}

// notTrailers are of the header alone.
var notTrailers = map[string]bool{"Content-Type": true, "Content-Length": true, "Content-Encoding": true, "Transfer-Encoding": true,
	"Connection": true, "Trailer": true, "Cache-Control": true, "Date": true, "Set-Cookie": true, "X-Request-Id": true}

// during sends a comment at each hold.heartbeat while a streaming client is held,
// until the function it returns is called. where says where its request stands.
// Once the status is sent they go on until the answer begins.
func (a *Activator) during(ctx context.Context, c *call, where func(context.Context) queue.Entry) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var beats sync.WaitGroup
	beats.Go(func() {
		tick := time.NewTicker(c.service.policy.Hold.Heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			e := where(ctx)
			if ctx.Err() != nil || e.State != queue.StateHeld && !c.out.committed {
				continue
			}
			phase, eta := a.forecast(e)
			c.out.beat(c, phase, eta, e.Position)
		}
	})
	return func() { cancel(); beats.Wait() }
}

// heldHere says where a connection's request stands: among all that wait, or, while
// the store does not answer, among those of this activator.
func (a *Activator) heldHere(c *call, t *queue.Ticket) func(context.Context) queue.Entry {
	mine := c.service.entered.Load()
	e := queue.Entry{Service: c.service.name, State: queue.StateHeld, At: time.Now()}
	id := t.ID // the rest of it is the queue's by now
	return func(ctx context.Context) queue.Entry {
		place, err := a.cfg.Queue.Place(ctx, e.Service, id)
		if err != nil || place == 0 {
			place = int(max(1, mine-c.service.left.Load()))
		}
		e.Position = place
		return e
	}
}

// heldInStore says where a durable request stands, as last heard.
func (a *Activator) heldInStore(e queue.Entry) func(context.Context) queue.Entry {
	return func(ctx context.Context) queue.Entry {
		if now, err := a.cfg.Queue.Find(ctx, e.ID); err == nil {
			e = now
		}
		return e
	}
}

// streams reports whether a client reads an event stream: it accepts one, or asks
// for one in its JSON body as OpenAI's do.
func streams(h http.Header, body []byte) bool {
	for part := range strings.SplitSeq(h.Get("Accept"), ",") {
		if media, _, err := mime.ParseMediaType(part); err == nil && media == "text/event-stream" {
			return true
		}
	}
	if media, _, err := mime.ParseMediaType(h.Get("Content-Type")); err != nil || media != "application/json" {
		return false
	}
	var asked struct {
		Stream bool `json:"stream"`
	}
	return json.Unmarshal(body, &asked) == nil && asked.Stream
}

// maxLate bounds what is read of a replica's answer to be told as one event.
const maxLate = 1 << 20

// asEvent makes one event of an answer that is no stream, for a client that has
// begun to read one.
func asEvent(c *call, resp *http.Response) error {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode == http.StatusOK && media == "text/event-stream" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxLate))
	_ = resp.Body.Close()
	if err != nil {
		return err
	}
	if body, err = event(c, resp.StatusCode, media, body); err != nil {
		return err
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return nil
}

// event is a whole answer as one event: of an error what OpenAI's clients take for
// one.
func event(c *call, status int, media string, body []byte) ([]byte, error) {
	var object map[string]json.RawMessage
	isObject := json.Unmarshal(body, &object) == nil
	var told any
	var p problem
	switch {
	case media == mediaProblem && json.Unmarshal(body, &p) == nil: // a failure of ours that was stored
		told = openAIError(&p)
	case isObject && (status < 400 || object["error"] != nil):
		told = json.RawMessage(body)
	default:
		told = map[string]any{"error": map[string]any{
			"message": fmt.Sprintf("the replica answered %d: %s", status, clip(strings.TrimSpace(string(body)), 1000)),
			"type":    "upstream_error", "param": nil, "code": strconv.Itoa(status), "request_id": c.id}}
	}
	line, err := json.Marshal(told) // in one line, also what was not
	if err != nil {
		return nil, err
	}
	return append(append([]byte("data: "), line...), "\n\n"...), nil
}
