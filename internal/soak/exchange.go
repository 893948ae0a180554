package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/pilotlight/pilotlight/internal/stub"
)

// newClient dials anew for each call, so that a refused connection means that
// nothing was sent, and nothing is repeated behind our back.
func newClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// patience of a client with one call: longer than any pause.
const patience = 90 * time.Second

// errHungUp is why a client goes.
var errHungUp = errors.New("the client hangs up")

// message is one HTTP request.
type message struct {
	what, method, path string
	header             map[string]string
	body               []byte
	hangUp             time.Duration // 0: never
}

// exchange sends a message to an activator and notes all that came of it.
func (h *house) exchange(ctx context.Context, activator int, m message) (Call, []byte, http.Header) {
	c := Call{What: m.what, Activator: activator, At: time.Now()}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	if m.hangUp > 0 {
		timer := time.AfterFunc(m.hangUp, func() { leave(errHungUp) })
		defer timer.Stop()
	}
	body, header, err := h.send(ctx, &c, m)
	c.Until = time.Now()
	if err != nil {
		c.HungUp = errors.Is(context.Cause(ctx), errHungUp)
		c.Refused = errors.Is(err, syscall.ECONNREFUSED)
		c.Err = err.Error()
		return c, body, header
	}
	c.Sum = crc32.ChecksumIEEE(withoutComments(header, body))
	if c.Status >= 400 {
		c.Problem, c.Detail = problemOf(body)
	}
	return c, body, header
}

func (h *house) send(ctx context.Context, c *Call, m message) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, m.method, "http://"+h.activators[c.Activator].data+m.path, bytes.NewReader(m.body))
	if err != nil {
		return nil, nil, err
	}
	for name, value := range m.header {
		req.Header.Set(name, value)
	}
	resp, err := h.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	c.Status = resp.StatusCode
	body, err := io.ReadAll(resp.Body)
	return body, resp.Header, err
}

// withoutComments is an event stream's events alone: comments that tell a reader
// how long it may take are its own.
func withoutComments(header http.Header, body []byte) []byte {
	if header.Get("Content-Type") != "text/event-stream" {
		return body
	}
	var events []byte
	for block := range bytes.SplitAfterSeq(body, []byte("\n\n")) {
		if !bytes.HasPrefix(block, []byte(":")) {
			events = append(events, block...)
		}
	}
	return events
}

// problemOf names the problem of an answer of Pilotlight's own, and what it says; "" if
// a replica gave it.
func problemOf(body []byte) (name, detail string) {
	var p struct{ Type, Detail string }
	if json.Unmarshal(body, &p) != nil {
		return "", ""
	}
	name, ok := strings.CutPrefix(p.Type, "urn:pilotlight:problem:")
	if !ok {
		return "", ""
	}
	return name, p.Detail
}

// judge reads whose answer it is, and whether it is whole and right.
func (c *Call) judge(r *Request, body, answer []byte) {
	if !c.Answered() {
		if c.Err == "" && !c.HungUp && c.Status >= 400 && c.Problem == "" {
			c.Wrong = fmt.Sprintf("status %d without a problem: %.200q", c.Status, answer)
		}
		return
	}
	if r.Service == "translate" {
		c.Wrong = wrongTranslation(r, answer)
		return
	}
	c.judgeParts(r, body, answer)
}

func wrongTranslation(r *Request, answer []byte) string {
	var got struct {
		Translation string `json:"translation"`
	}
	if err := json.Unmarshal(answer, &got); err != nil || got.Translation != "[es] "+r.ID {
		return fmt.Sprintf("%.200q is not the translation of %q", answer, r.ID)
	}
	return ""
}

// judgeParts of an answer of POST /work. A stream may have comments, and may end
// with an error in place of what is missing.
func (c *Call) judgeParts(r *Request, body, answer []byte) {
	want := stub.Part{RequestID: r.ID, Bytes: len(body), Sum: crc32.ChecksumIEEE(body)}
	for line := range strings.Lines(string(answer)) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "data: ")
		if line == "" || strings.HasPrefix(line, ":") {
			continue
		}
		if strings.HasPrefix(line, "{") {
			c.Problem, c.Detail = eventProblem(line)
			return
		}
		part, err := stub.ParsePart(line)
		if err != nil {
			c.Wrong = err.Error()
			return
		}
		if want.Number == 0 {
			want.Execution, want.Of, c.Execution = part.Execution, part.Of, part.Execution
		}
		want.Number++
		if part != want {
			c.Wrong = fmt.Sprintf("part %+v, want %+v", part, want)
			return
		}
	}
	if want.Number == 0 || want.Number != want.Of {
		c.Wrong = fmt.Sprintf("%d parts of %d", want.Number, want.Of)
	}
}

// eventProblem is problemOf an error that came as an event.
func eventProblem(line string) (name, detail string) {
	var event struct {
		Error struct{ Code, Message string }
	}
	if json.Unmarshal([]byte(line), &event) != nil || event.Error.Code == "" {
		return "unreadable event " + line, ""
	}
	return event.Error.Code, event.Error.Message
}
