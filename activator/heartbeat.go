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
	committed bool        // status 200 and a comment were sent
	late      http.Header // set after that
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

// during sends a comment at each hold.heartbeat while a streaming client waits,
// until the function it returns is called.
func (a *Activator) during(ctx context.Context, c *call, req *http.Request) (stop func()) {
	if c.out == nil || !streams(req.Header, c.body) {
		return func() {}
	}
	tally := c.service.tally
	mine := tally.entered.Load()
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
				// Of the requests that this activator holds, as they leave in their
				// order: no call to the store, however many wait.
				position := int(max(1, mine-tally.left.Load()))
				phase, eta := a.forecast(queue.Entry{Service: c.service.name, State: queue.StateHeld, Position: position})
				c.out.beat(c, phase, eta, position)
			}
		}
	})
	return func() { cancel(); beats.Wait() }
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
// begun to read one: of an error what OpenAI's clients take for one.
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
	var object map[string]json.RawMessage
	isObject := json.Unmarshal(body, &object) == nil
	var event []byte
	switch {
	case resp.StatusCode < 400 && isObject, isObject && object["error"] != nil:
		event = compact(body)
	default:
		event, err = json.Marshal(map[string]any{"error": map[string]any{
			"message": fmt.Sprintf("the replica answered %d: %s", resp.StatusCode, clip(strings.TrimSpace(string(body)), 1000)),
			"type":    "upstream_error", "param": nil, "code": strconv.Itoa(resp.StatusCode), "request_id": c.id}})
		if err != nil {
			return err
		}
	}
	event = append(append([]byte("data: "), event...), "\n\n"...)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(event)), int64(len(event))
	return nil
}

func compact(body []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, body) != nil {
		return body
	}
	return b.Bytes()
}
