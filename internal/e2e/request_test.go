package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/stub"
)

// answer to one request.
type answer struct {
	err    error // no answer at all
	status int
	header http.Header
	body   string
	begun  time.Time
	took   time.Duration // to the last byte
}

// client keeps enough connections for a burst, and never follows or repeats
// anything by itself.
var client = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// send sends one request; a body is JSON unless header says otherwise.
func send(ctx context.Context, method, url, body string, header map[string]string) answer {
	a := answer{begun: time.Now()}
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	a.err, a.status, a.header, a.body, a.took = err, resp.StatusCode, resp.Header, string(text), time.Since(a.begun)
	return a
}

// text of a translation request into Spanish.
func wanted(text string) string {
	b, err := json.Marshal(map[string]string{"text": text, "source_lang": "en", "target_lang": "es"})
	if err != nil {
		panic(err) // a text is JSON
	}
	return string(b)
}

// translate asks for a translation; path is that of the service.
func (h *house) translate(ctx context.Context, path, text string) answer {
	return send(ctx, http.MethodPost, h.data+path, wanted(text), nil)
}

// check reports what is wrong with the stub's answer to a text.
func (a answer) check(text string) error {
	if a.err != nil {
		return a.err
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("status %d: %s", a.status, a.body)
	}
	var got struct {
		Translation string `json:"translation"`
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		return fmt.Errorf("%w in %q", err, a.body)
	}
	if want := "[es] " + text; got.Translation != want {
		return fmt.Errorf("translation %q, want %q", got.Translation, want)
	}
	return nil
}

// want ends the test unless the answer has this status.
func (a answer) want(t *testing.T, status int) {
	t.Helper()
	if a.err != nil {
		t.Fatalf("no answer: %v", a.err)
	}
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
}

// problem of RFC 9457, as far as tests look at it.
type problem struct {
	Type    string `json:"type"`
	Detail  string `json:"detail"`
	Service string `json:"service"`
	Reason  string `json:"reason"`
	Field   string `json:"field"`
	Allowed string `json:"allowed"`
	Errors  []struct {
		Field   string `json:"field"`
		Line    int    `json:"line"`
		Message string `json:"message"`
		Allowed string `json:"allowed"`
	} `json:"errors"`
}

// wantProblem wants this status and the problem with this name.
func (a answer) wantProblem(t *testing.T, status int, name string) problem {
	t.Helper()
	a.want(t, status)
	var p problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("the body is no problem document: %v: %s", err, a.body)
	}
	if p.Type != "urn:pilotlight:problem:"+name {
		t.Fatalf("problem %s, want %s: %s", p.Type, name, a.body)
	}
	return p
}

// later is an answer that is still to come.
type later chan answer

// inBackground sends with f at once.
func inBackground(f func() answer) later {
	ch := make(later, 1)
	go func() { ch <- f() }()
	return ch
}

// get waits for it.
func (l later) get(t *testing.T) answer {
	t.Helper()
	select {
	case a := <-l:
		l <- a
		return a
	case <-time.After(patience):
		t.Fatalf("no answer within %v", patience)
		return answer{}
	}
}

// pending reports an error if the answer has come already.
func (l later) pending() error {
	select {
	case a := <-l:
		l <- a
		if a.err != nil {
			return fmt.Errorf("it has failed already: %w", a.err)
		}
		return fmt.Errorf("it has been answered already: %d %s", a.status, a.body)
	default:
		return nil
	}
}

// statsOf a stub replica, as it counts itself.
func statsOf(t *testing.T, address string) stub.Stats {
	t.Helper()
	var st stub.Stats
	if err := readJSON("http://"+address+"/stub/stats", &st); err != nil {
		t.Fatal(err)
	}
	return st
}

// executions that stubs have logged to a file so far.
func executions(t *testing.T, file string) []stub.Execution {
	t.Helper()
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var list []stub.Execution
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var e stub.Execution
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("log of executions: %v in %q", err, lines.Text())
		}
		list = append(list, e)
	}
	return list
}

// count of the executions with this event and, unless it is "", this request id.
func count(list []stub.Execution, event, requestID string) int {
	n := 0
	for _, e := range list {
		if e.Event == event && (requestID == "" || e.RequestID == requestID) {
			n++
		}
	}
	return n
}
