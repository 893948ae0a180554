package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// controlFlags of every command that talks to a running control plane.
type controlFlags struct {
	Control string `default:"http://127.0.0.1:8081" help:"Control plane of a running Pilotlight." placeholder:"URL"`
}

// outputFlags of every command that lists something.
type outputFlags struct {
	Output string `short:"o" default:"text" enum:"text,json" help:"Format: text or json." placeholder:"FORMAT"`
}

func (o outputFlags) json() bool { return o.Output == "json" }

const (
	callTimeout = 15 * time.Second // of one call to the control plane
	maxReply    = 64 << 20         // bytes; 500 versions of a large policy

	mediaJSON = "application/json"
	mediaHCL  = "text/hcl"
)

// serviceName is what the control plane takes as a name.
var serviceName = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

func checkName(name string) error {
	if !serviceName.MatchString(name) {
		return usageError{fmt.Errorf("%q is not a name; allowed: 1 to 63 of a-z, 0-9 and -", name)}
	}
	return nil
}

// control is a client of the control plane's API.
type control struct {
	base *url.URL
	http *http.Client
}

func (f controlFlags) client() (*control, error) {
	base, err := baseURL("control", f.Control)
	if err != nil {
		return nil, err
	}
	return &control{base: base, http: &http.Client{Timeout: callTimeout}}, nil
}

// baseURL reads the address of a server; host:port alone is http.
func baseURL(flag, text string) (*url.URL, error) {
	full := text
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usageError{fmt.Errorf("--%s %q: want http://HOST:PORT or https://HOST:PORT", flag, text)}
	}
	return u, nil
}

// call is one request to the API.
type call struct {
	method string
	path   []string // below /api/v1
	query  url.Values
	header map[string]string
	media  string // of body
	body   []byte
}

// reply is a successful answer.
type reply struct {
	header http.Header
	body   []byte
}

// version of the policy answered, from its ETag; 0 if there is none.
func (r reply) version() int {
	v, err := strconv.Atoi(strings.Trim(r.header.Get("ETag"), `"`))
	if err != nil {
		return 0
	}
	return v
}

// do carries out a call. An answer that is no success is a *problemError.
func (c *control) do(ctx context.Context, call call) (reply, error) {
	u := c.base.JoinPath(append([]string{"api", "v1"}, call.path...)...)
	u.RawQuery = call.query.Encode()
	req, err := http.NewRequestWithContext(ctx, call.method, u.String(), bytes.NewReader(call.body))
	if err != nil {
		return reply{}, err
	}
	if call.media != "" {
		req.Header.Set("Content-Type", call.media)
	}
	for name, value := range call.header {
		req.Header.Set(name, value)
	}
	if call.method != http.MethodGet {
		req.Header.Set("From", whoami())
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return reply{}, unreachable(ctx, "control plane", "control", c.base, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return reply{}, unreachable(ctx, "control plane", "control", c.base, err)
	}
	if len(body) > maxReply {
		return reply{}, fmt.Errorf("%s answered more than %d MiB", u.Redacted(), maxReply>>20)
	}
	if resp.StatusCode >= 300 {
		return reply{}, problemOf(resp, body)
	}
	return reply{resp.Header, body}, nil
}

// get reads JSON into v, and returns it as it came too.
func (c *control) get(ctx context.Context, v any, path ...string) ([]byte, error) {
	r, err := c.do(ctx, call{method: http.MethodGet, path: path, header: map[string]string{"Accept": mediaJSON}})
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(r.body, v); err != nil {
		return nil, fmt.Errorf("%s does not answer as a control plane of Pilotlight does: %w", c.base.Redacted(), err)
	}
	return r.body, nil
}

// unreachable says what to do about a server that does not answer.
func unreachable(ctx context.Context, what, flag string, base *url.URL, err error) error {
	if ctx.Err() != nil {
		return errCancelled
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // without the method and the URL, which may hold a password
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("nothing listens at %s: is Pilotlight running? Its %s is chosen with --%s", base.Redacted(), what, flag)
	}
	return fmt.Errorf("%s %s does not answer: %w", what, base.Redacted(), err)
}

// whoami is the author of a change, until there are log-ins.
func whoami() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

// writeIndented writes JSON as it was answered, for people and programs alike.
func writeIndented(w io.Writer, body []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(body), "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := b.WriteTo(w)
	return err
}
