package nomad

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// Checkup asks one Nomad what an operator wants to know before trusting it with
// a service, and plans job specs on it. Nothing that it does changes anything.
// Each request has a deadline of its own (7 s), on top of the caller's context.
type Checkup struct {
	cfg  Config
	base string // of URLs
	http *http.Client
}

// NewCheckup makes no connection yet. The error is one of the configuration.
func NewCheckup(cfg Config) (*Checkup, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.filled()
	httpClient, err := newHTTPClient(cfg)
	if err != nil {
		return nil, err
	}
	base := strings.TrimSuffix(cfg.Address, "/")
	if strings.HasPrefix(base, "unix:") {
		base = "http://127.0.0.1" // the dialer knows the socket
	}
	return &Checkup{cfg: cfg, base: base, http: httpClient}, nil
}

// Close gives idle connections back.
func (c *Checkup) Close() { c.http.CloseIdleConnections() }

// reply is one answer, whatever its status.
type reply struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
}

// denied reports whether Nomad refused for lack of a right. Some routes answer
// that with a 500.
func (r reply) denied() bool {
	return r.status == http.StatusForbidden || r.status >= 500 && bytes.Contains(r.body, []byte("Permission denied"))
}

// err of an answer that is not 200.
func (r reply) err() error {
	if r.status == http.StatusOK {
		return nil
	}
	text := strings.TrimSpace(string(r.body))
	if r.status == http.StatusForbidden {
		return fmt.Errorf("%w: the token may not do this", jobs.ErrDenied)
	}
	return fmt.Errorf("nomad answered %d: %s", r.status, cmp.Or(text, http.StatusText(r.status)))
}

// maxReply bounds what is read of one answer: a list of a large cluster has
// some tens of megabytes.
const maxReply = 256 << 20

// ask sends one request with the token, region and namespace; in is sent as
// JSON unless it is nil. The error is one of the connection.
func (c *Checkup) ask(ctx context.Context, method, path, namespace string, params url.Values, in any) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	start := time.Now()
	res, err := c.open(ctx, method, path, namespace, params, in)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if err != nil {
		return reply{}, fmt.Errorf("read the answer to %s: %w", path, err)
	}
	return reply{status: res.StatusCode, header: res.Header, body: body, took: time.Since(start)}, nil
}

// open sends one request and leaves its answer's body to be read.
func (c *Checkup) open(ctx context.Context, method, path, namespace string, params url.Values, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		body = bytes.NewReader(text)
	}
	query := url.Values{}
	for name, values := range params {
		query[name] = values
	}
	if c.cfg.Region != "" {
		query.Set("region", c.cfg.Region)
	}
	if namespace != "" {
		query.Set("namespace", namespace)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path+"?"+query.Encode(), body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if c.cfg.Token != "" {
		req.Header.Set("X-Nomad-Token", c.cfg.Token)
	}
	if c.cfg.Username != "" {
		req.SetBasicAuth(c.cfg.Username, c.cfg.Password)
	}
	res, err := c.http.Do(req)
	if err != nil {
		var u *url.Error // its text has the URL, which may have a password
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, err
	}
	return res, nil
}

// read decodes the answer to one GET. jobs.ErrDenied on a 403.
func (c *Checkup) read(ctx context.Context, path, namespace string, params url.Values, out any) error {
	r, err := c.ask(ctx, http.MethodGet, path, namespace, params, nil)
	if err == nil {
		err = r.err()
	}
	if err == nil {
		err = json.Unmarshal(r.body, out)
	}
	return err
}

// Clock is how another machine's clock stands to this one's.
type Clock struct {
	Ahead  time.Duration // negative: behind
	Within time.Duration // Ahead is right to ± this
}

// Off reports whether the clocks differ by more than limit for certain.
func (c Clock) Off(limit time.Duration) bool { return c.Ahead.Abs()-c.Within > limit }

// Reached is what an agent tells everybody.
type Reached struct {
	Address string
	Leader  string        // address of the servers' leader; "" none
	Regions []string      // that it knows
	Latency time.Duration // of a request without work, the least of several
	Clock   Clock         // of the agent; its answers tell whole seconds
}

// reaches of which the quickest counts.
const reaches = 4

// Reach asks what needs no right. An agent without a leader is no error: then
// Leader is "".
func (c *Checkup) Reach(ctx context.Context) (Reached, error) {
	to := Reached{Address: c.cfg.Address}
	for i := range reaches {
		before := time.Now()
		r, err := c.ask(ctx, http.MethodGet, "/v1/status/leader", "", nil, nil)
		if err != nil {
			return to, err
		}
		if r.status != http.StatusOK && !strings.Contains(string(r.body), "No cluster leader") {
			return to, r.err()
		}
		if err := json.Unmarshal(r.body, &to.Leader); err != nil && r.status == http.StatusOK {
			return to, fmt.Errorf("what answers at %s is no Nomad agent: %w", c.cfg.Address, err)
		}
		if i > 0 && r.took >= to.Latency {
			continue
		}
		to.Latency = r.took
		if at, err := http.ParseTime(r.header.Get("Date")); err == nil {
			const half = time.Second / 2 // the header has no parts of a second
			to.Clock = Clock{Ahead: at.Add(half).Sub(before.Add(r.took / 2)), Within: half + r.took/2}
		}
	}
	_ = c.read(ctx, "/v1/regions", "", nil, &to.Regions) // good to know, no more
	return to, nil
}

// Token is who Nomad takes us for. It has no secret.
type Token struct {
	ACL        bool // Nomad asks for rights at all
	Name       string
	Accessor   string
	Management bool
	Policies   []string // and roles
	Expires    time.Time
}

// Token asks which token this is. jobs.ErrDenied: Nomad does not know it, or not any more.
func (c *Checkup) Token(ctx context.Context) (Token, error) {
	var t struct {
		AccessorID     string
		Name           string
		Type           string
		Policies       []string
		Roles          []struct{ Name string }
		ExpirationTime *time.Time
	}
	r, err := c.ask(ctx, http.MethodGet, "/v1/acl/token/self", "", nil, nil)
	switch {
	case err != nil:
		return Token{}, err
	case r.status == http.StatusBadRequest && strings.Contains(string(r.body), "ACL support disabled"):
		return Token{}, nil
	case r.err() != nil:
		return Token{}, r.err()
	}
	if err := json.Unmarshal(r.body, &t); err != nil {
		return Token{}, fmt.Errorf("read token: %w", err)
	}
	if t.AccessorID == "acls-disabled" {
		return Token{}, nil
	}
	token := Token{ACL: true, Name: t.Name, Accessor: t.AccessorID, Management: t.Type == "management",
		Policies: t.Policies, Expires: deref(t.ExpirationTime)}
	for _, role := range t.Roles {
		token.Policies = append(token.Policies, "role "+role.Name)
	}
	return token, nil
}

// Stream opens the event stream of a scope (see Scopes) as a Fleet does, with the
// events of nodes or without, and returns how long its first heartbeat took. A
// refused stream answers 200 and then nothing, which is ErrSilentStream after 2 s.
func (c *Checkup) Stream(ctx context.Context, scope string, ofNodes bool) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, firstLine, ErrSilentStream)
	defer cancel()
	var like Fleet
	like.blind.Store(!ofNodes)
	params, err := url.ParseQuery(like.topics())
	if err != nil {
		return 0, err
	}
	start := time.Now()
	res, err := c.open(ctx, http.MethodGet, "/v1/event/stream", scope, params, nil)
	if err != nil {
		return 0, silentOr(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
		return 0, reply{status: res.StatusCode, body: text}.err()
	}
	var line eventLine
	if err := json.NewDecoder(res.Body).Decode(&line); err != nil {
		return 0, silentOr(ctx, fmt.Errorf("read event stream: %w", err))
	}
	return time.Since(start), nil
}

// ErrSilentStream: an event stream was accepted and said nothing, not even its
// heartbeat: so Nomad refuses a stream for lack of a right.
var ErrSilentStream = errors.New("the event stream answered 200 and then nothing")

func silentOr(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), ErrSilentStream) {
		return ErrSilentStream
	}
	return err
}

// Scopes returns what a Fleet listens to for jobs of these namespaces, one event
// stream each: the namespaces, or "*" alone if there are too many.
func Scopes(namespaces []string) []string {
	p := picture{tracking: map[string]int{}}
	for _, namespace := range namespaces {
		p.tracking[namespace]++
	}
	return p.scopes()
}
