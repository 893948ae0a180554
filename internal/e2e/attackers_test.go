package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// attacker is one kind of hostile client: so many of it at once, each again and
// again until ctx ends.
type attacker struct {
	name  string
	many  int
	again time.Duration // how long each rests before it comes again
	once  func(ctx context.Context, at *target)
}

// target is the data plane that is attacked; it counts what came of it.
type target struct {
	address  string // host:port
	url      string
	statuses [600]atomic.Int64
}

// dial opens a connection that ends with ctx; nil if it cannot.
func (at *target) dial(ctx context.Context) net.Conn {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", at.address)
	if err != nil {
		return nil
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	return conn
}

// raw opens a connection, sends text, then a byte at each interval until the
// server ends it; what it answers is read, or not.
func (at *target) raw(ctx context.Context, text string, trickle time.Duration, reads bool) {
	conn := at.dial(ctx)
	if conn == nil {
		return
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, text); err != nil {
		return
	}
	ended := make(chan struct{})
	if reads {
		go func() {
			defer close(ended)
			if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
				at.statuses[resp.StatusCode].Add(1)
			}
		}()
	}
	tick := time.NewTicker(trickle)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ended:
			return
		case <-tick.C:
			if _, err := io.WriteString(conn, "x"); err != nil {
				return
			}
		}
	}
}

// attackClient has no connection left over from one request to the next.
var attackClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}

// ask sends one request, and reads at most 64 KiB of its answer.
func (at *target) ask(ctx context.Context, patience time.Duration, method, path string, body io.Reader, header ...string) (location string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, at.url+path, body)
	if err != nil {
		return ""
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := attackClient.Do(req)
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	at.statuses[resp.StatusCode].Add(1)
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	return resp.Header.Get("Location")
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// manyFields is JSON of 4 MiB that costs a careless reader many times that.
var manyFields = func() []byte {
	var b bytes.Buffer
	b.WriteString(`{"model":"nobody"`)
	for i := 0; b.Len() < 4<<20-40; i++ {
		fmt.Fprintf(&b, `,"%d":[]`, i)
	}
	b.WriteString("}")
	return b.Bytes()
}()

// attackers of a data plane whose service slow never answers, and whose service
// chat streams as much as its prompt.
func attackers() []attacker {
	const post = "POST /slow/x HTTP/1.1\r\nHost: x\r\n"
	whole := bytes.Repeat([]byte("y"), 4<<20)
	prompt := `{"model":"m","stream":true,"prompt":"` + strings.Repeat("a ", 100_000) + `"}`
	return []attacker{
		{"headers that trickle", 40, 0, func(ctx context.Context, at *target) {
			at.raw(ctx, "GET /health HTTP/1.1\r\nX-", 100*time.Millisecond, true)
		}},
		{"connections that send nothing", 500, 0, func(ctx context.Context, at *target) { at.raw(ctx, "", time.Hour, true) }},
		{"bodies that are announced and do not come", 80, 0, func(ctx context.Context, at *target) {
			at.raw(ctx, post+"Content-Length: 4194304\r\n\r\n", time.Second, true)
		}},
		{"bodies for what reads none", 20, 0, func(ctx context.Context, at *target) {
			at.raw(ctx, "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", time.Second, true)
		}},
		{"answers that are asked for and not read", 20, 0, func(ctx context.Context, at *target) {
			at.raw(ctx, strings.Repeat("GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 20_000), time.Second, false)
		}},
		{"streams that are not read", 8, 0, func(ctx context.Context, at *target) {
			at.raw(ctx, fmt.Sprintf("POST /chat/v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(prompt), prompt), time.Hour, false)
		}},
		{"headers without end", 2, 100 * time.Millisecond, func(ctx context.Context, at *target) {
			at.ask(ctx, 5*time.Second, "GET", "/health", nil, "X-Large", strings.Repeat("y", 1<<20))
		}},
		{"headers of many fields", 2, 100 * time.Millisecond, func(ctx context.Context, at *target) {
			var h []string
			for i := range 1000 {
				h = append(h, fmt.Sprint("X-", i), "y")
			}
			at.ask(ctx, 5*time.Second, "GET", "/health", nil, h...)
		}},
		{"bodies without end", 4, 200 * time.Millisecond, func(ctx context.Context, at *target) {
			at.ask(ctx, 5*time.Second, "POST", []string{"/slow/x", "/v1/completions"}[rand.IntN(2)], zeros{}, "Content-Type", "application/json")
		}},
		{"large bodies that wait", 60, 200 * time.Millisecond, func(ctx context.Context, at *target) {
			at.ask(ctx, 5*time.Second, "POST", "/slow/x", bytes.NewReader(whole))
		}},
		{"JSON that unfolds", 8, 200 * time.Millisecond, func(ctx context.Context, at *target) {
			at.ask(ctx, 5*time.Second, "POST", "/v1/completions", bytes.NewReader(manyFields), "Content-Type", "application/json")
		}},
		{"models that nobody has", 2, 10 * time.Millisecond, func(ctx context.Context, at *target) {
			at.ask(ctx, 5*time.Second, "POST", "/v1/completions", strings.NewReader(fmt.Sprintf(`{"model":"m%d"}`, rand.Int())), "Content-Type", "application/json")
		}},
		{"a new key each time", 4, 10 * time.Millisecond, func(ctx context.Context, at *target) {
			at.ask(ctx, time.Second, "POST", "/slow/x", strings.NewReader("y"), "Idempotency-Key", fmt.Sprint(rand.Int()))
		}},
		{"a key of a megabyte", 1, 200 * time.Millisecond, func(ctx context.Context, at *target) {
			at.ask(ctx, 5*time.Second, "POST", "/slow/x", strings.NewReader("y"), "Idempotency-Key", strings.Repeat("k", 1<<20))
		}},
		{"asynchronous, then cancelled", 4, time.Millisecond, func(ctx context.Context, at *target) {
			if location := at.ask(ctx, 5*time.Second, "POST", "/chat/x", bytes.NewReader(whole[:8<<10]), "Prefer", "respond-async"); location != "" {
				at.ask(ctx, 5*time.Second, "DELETE", location, nil)
			}
		}},
	}
}
