package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// gateway stands between Pilotlight and Nomad. It notes the calls that write, and
// faults that no Nomad can be asked for are made here: an outage, and an answer
// that does not come.
type gateway struct {
	address string // for --nomad
	proxy   *httputil.ReverseProxy

	mu     sync.Mutex
	away   bool
	gone   context.CancelFunc // ends what is on its way
	open   context.Context    // until it goes away
	writes []written
	still  []*standstill // for the next scale calls
}

// written is a call that changes something.
type written struct {
	method, path string
	body         []byte
	stood        bool // it stood still before it reached Nomad
}

// standstill befalls a scale call: nothing comes back, for good.
type standstill struct {
	before  bool          // Nomad does not see the call
	reached chan struct{} // closed when it stands
}

// newGateway starts one in front of Nomad's own address.
func newGateway(t *testing.T, nomad string) *gateway {
	t.Helper()
	target, err := url.Parse(nomad)
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{proxy: &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32},
		FlushInterval: -1, // the event stream
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}}
	g.open, g.gone = context.WithCancel(context.WithoutCancel(t.Context()))
	server := httptest.NewServer(g)
	t.Cleanup(func() {
		g.setAway(true)
		server.CloseClientConnections()
		server.Close()
	})
	g.address = server.URL
	return g
}

// setAway lets no call through, and ends those on their way without an answer.
func (g *gateway) setAway(away bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.away = away
	if away {
		g.gone()
		return
	}
	g.open, g.gone = context.WithCancel(context.WithoutCancel(g.open))
}

// standStill keeps the next scale call from being answered, and with before set
// also from reaching Nomad. The channel is closed when it has come.
func (g *gateway) standStill(before bool) <-chan struct{} {
	s := &standstill{before: before, reached: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.still = append(g.still, s)
	return s.reached
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller has gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	g.mu.Lock()
	away, open := g.away, g.open
	var still *standstill
	if r.Method != http.MethodGet {
		if strings.HasSuffix(r.URL.Path, "/scale") && len(g.still) > 0 && !away {
			still, g.still = g.still[0], g.still[1:]
		}
		if !away {
			g.writes = append(g.writes, written{r.Method, r.URL.Path, body, still != nil && still.before})
		}
	}
	g.mu.Unlock()
	if away {
		panic(http.ErrAbortHandler)
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(open, cancel)()
	r = r.WithContext(ctx)
	if still != nil {
		if !still.before {
			g.proxy.ServeHTTP(httptest.NewRecorder(), r)
		}
		close(still.reached)
		<-ctx.Done()
		panic(http.ErrAbortHandler)
	}
	g.proxy.ServeHTTP(w, r)
}

// writesTo a path that reached Nomad, oldest first.
func (g *gateway) writesTo(path string) []written {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(g.writes), func(w written) bool { return w.path != path || w.stood })
}

// scaleCall is the body of a scale call, as Nomad reads it.
type scaleCall struct {
	Count   *int
	Target  map[string]string
	Message string
	Meta    map[string]any
}

// scaleCalls of Pilotlight that named a count and reached Nomad, oldest first.
func (g *gateway) scaleCalls(t *testing.T, job string) []scaleCall {
	t.Helper()
	var list []scaleCall
	for _, w := range g.writesTo("/v1/job/" + job + "/scale") {
		var s scaleCall
		if err := json.Unmarshal(w.body, &s); err != nil {
			t.Fatalf("scale call %s: %v", w.body, err)
		}
		if s.Count != nil {
			list = append(list, s)
		}
	}
	return list
}
