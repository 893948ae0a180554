package nomad

import (
	"net/http"
	"strings"
	"time"
)

// routes are the names of the paths that this package calls, without /v1/ and
// with * for whatever stands there.
var routes = map[string]string{
	"jobs":                      "jobs",
	"jobs/parse":                "jobs-parse",
	"job/*":                     "job",
	"job/*/plan":                "job-plan",
	"job/*/scale":               "job-scale",
	"job/*/evaluations":         "job-evaluations",
	"job/*/allocations":         "job-allocations",
	"allocations":               "allocations",
	"allocation/*":              "allocation",
	"deployments":               "deployments",
	"evaluations":               "evaluations",
	"event/stream":              "event-stream",
	"nodes":                     "nodes",
	"node/*":                    "node",
	"client/stats":              "client-stats",
	"client/allocation/*/stats": "client-allocation-stats",
	"client/fs/logs/*":          "client-logs",
	"agent/self":                "agent-self",
	"status/leader":             "status-leader",
}

// routeOf names the route of a request. A list that waits for news has a name of
// its own: its duration is no latency.
func routeOf(r *http.Request) string {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/v1/")
	name, known := routes[path]
	if !known {
		name, known = routes[starred(path)]
	}
	switch {
	case !known:
		return "other"
	case name != "event-stream" && r.URL.Query().Has("index"):
		return name + "-blocking"
	}
	return name
}

// starred replaces the part of a path that names a thing.
func starred(path string) string {
	parts := strings.Split(path, "/")
	switch {
	case len(parts) > 1 && (parts[0] == "job" || parts[0] == "allocation" || parts[0] == "node"):
		parts[1] = "*"
	case len(parts) > 2 && parts[0] == "client" && parts[1] == "allocation":
		parts[2] = "*"
	case len(parts) > 3 && parts[0] == "client" && parts[1] == "fs":
		parts[3] = "*"
	}
	return strings.Join(parts, "/")
}

// onCall is Config.OnCall.
type onCall = func(method, route string, status int, err error, took time.Duration)

// counted returns c with each call told to fn.
func counted(c *http.Client, fn onCall) *http.Client {
	if fn == nil {
		return c
	}
	told := *c
	told.Transport = &counting{next: c.Transport, tell: fn}
	return &told
}

type counting struct {
	next http.RoundTripper
	tell onCall
}

func (t *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	resp, err := t.next.RoundTrip(r)
	status := 0
	if resp != nil {
		status = resp.StatusCode
	}
	t.tell(r.Method, routeOf(r), status, err, time.Since(began))
	return resp, err
}

// CloseIdleConnections is what http.Client.CloseIdleConnections calls.
func (t *counting) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
