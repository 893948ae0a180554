package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
)

// cluster is a Nomad: the double, or a real agent on this machine. Pilotlight
// reaches it through the gateway, the test itself directly, as an operator does.
type cluster struct {
	*gateway
	api    string              // Nomad's own address
	token  string              // the operator's; "": none is needed
	double *nomaddouble.Server // nil: a real agent
}

// overBoth runs a test over the double, and over the agent at NOMAD_ADDR where
// that is set. The agent must run on this machine, for the test looks for its
// tasks' processes, and needs the raw_exec driver.
func overBoth(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Parallel()
	skipIfShort(t)
	t.Run("double", func(t *testing.T) {
		t.Parallel()
		test(t, startCluster(t, nomaddouble.Config{}))
	})
	t.Run("agent", func(t *testing.T) {
		t.Parallel()
		test(t, agentCluster(t))
	})
}

// agentCluster is the real agent.
func agentCluster(t *testing.T) *cluster {
	t.Helper()
	skipIfShort(t)
	address := os.Getenv("NOMAD_ADDR")
	if address == "" {
		t.Skip("NOMAD_ADDR is not set: a nomad dev agent with raw_exec is needed")
	}
	return &cluster{gateway: newGateway(t, address), api: address, token: os.Getenv("NOMAD_TOKEN")}
}

// startCluster runs a double; delays and the tasks' environment are filled in.
func startCluster(t *testing.T, cfg nomaddouble.Config) *cluster {
	t.Helper()
	skipIfShort(t)
	if cfg.Delays == (nomaddouble.Delays{}) {
		cfg.Delays = nomaddouble.Quick()
	}
	cfg.Dir, cfg.BaseEnv = t.TempDir(), os.Environ()
	double := nomaddouble.New(cfg)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- double.Run(ctx) }()
	server := httptest.NewServer(double)
	t.Cleanup(func() {
		double.CutStreams()
		server.CloseClientConnections()
		server.Close()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the Nomad double: %v", err)
		}
	})
	return &cluster{gateway: newGateway(t, server.URL), api: server.URL, double: double}
}

// task is a job spec, with a name of its own, that runs the stub. Nomad's
// clients find the binary by its path. The test's end purges the job.
func (c *cluster) task(t *testing.T, name string, args ...string) (id, spec string) {
	t.Helper()
	id = name + "-" + strings.ToLower(rand.Text()[:8])
	t.Cleanup(func() { c.purge(t, id) })
	spec = commandJob(id, binary, append([]string{"stub", "--listen", "${NOMAD_ADDR_http}"}, args...)...)
	return id, strings.Replace(spec, `delay          = "1s"`, `delay          = "5s"`, 1) // Nomad's least
}

// runs is a policy, as policyOf writes it, whose job is another one.
func runs(id, policy string) string {
	before, after, _ := strings.Cut(policy, "  job = ")
	_, after, _ = strings.Cut(after, "\n")
	return before + fmt.Sprintf("  job = %q\n", id) + after
}

// ask sends an operator's call and decodes the answer.
func (c *cluster) ask(ctx context.Context, method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.api+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("X-Nomad-Token", c.token)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, said)
	case into == nil:
		return nil
	}
	return json.Unmarshal(said, into)
}

// must is ask where a failure ends the test.
func (c *cluster) must(t *testing.T, method, path string, body, into any) {
	t.Helper()
	if err := c.ask(t.Context(), method, path, body, into); err != nil {
		t.Fatal(err)
	}
}

// run is nomad job run; variables are given as in a file of them.
func (c *cluster) run(t *testing.T, spec, variables string) {
	t.Helper()
	var job json.RawMessage
	c.must(t, http.MethodPut, "/v1/jobs/parse", map[string]any{"JobHCL": spec, "Canonicalize": true, "Variables": variables}, &job)
	c.must(t, http.MethodPut, "/v1/jobs", map[string]any{"Job": job}, nil)
}

// scale is nomad job scale.
func (c *cluster) scale(t *testing.T, id string, count int) {
	t.Helper()
	c.must(t, http.MethodPut, "/v1/job/"+id+"/scale", map[string]any{
		"Count": count, "Target": map[string]string{"Group": "server"}, "Message": "by an operator"}, nil)
}

// stop is nomad job stop.
func (c *cluster) stop(t *testing.T, id string) {
	t.Helper()
	c.must(t, http.MethodDelete, "/v1/job/"+id, nil, nil)
}

// purge leaves nothing of a job behind.
func (c *cluster) purge(t *testing.T, id string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	if err := c.ask(ctx, http.MethodDelete, "/v1/job/"+id+"?purge=true", nil, nil); err != nil && !strings.Contains(err.Error(), "not found") {
		t.Errorf("purge: %v", err)
	}
}

// registered job, as far as tests look at it.
type registered struct {
	Stop       bool
	Version    int
	TaskGroups []struct {
		Name  string
		Count int
	}
}

// job with this id.
func (c *cluster) job(t *testing.T, id string) registered {
	t.Helper()
	var j registered
	c.must(t, http.MethodGet, "/v1/job/"+id, nil, &j)
	return j
}

// placed is an allocation, as Nomad lists it.
type placed struct {
	ID, Name, NodeName, DesiredStatus, ClientStatus string
	CreateTime                                      int64
}

// allocations that a job has had, oldest first: none is forgotten for hours.
func (c *cluster) allocations(t *testing.T, id string) []placed {
	t.Helper()
	var list []placed
	c.must(t, http.MethodGet, "/v1/job/"+id+"/allocations", nil, &list)
	slices.SortFunc(list, func(a, b placed) int { return int(a.CreateTime - b.CreateTime) })
	return list
}

// launchedOnce wants exactly n allocations of a job, ever: one more is a GPU that
// was bought twice.
func (c *cluster) launchedOnce(t *testing.T, id string, n int) {
	t.Helper()
	if list := c.allocations(t, id); len(list) != n {
		t.Errorf("%s has had %d allocations, want %d: %+v", id, len(list), n, list)
	}
}

// noProcess waits until no task of a job lives.
func noProcess(t *testing.T, id string) {
	t.Helper()
	await(t, "the processes of "+id+" to be gone", func() error {
		if left := processesWhere(t, func(dir string) bool { return startedWith(dir, "NOMAD_JOB_ID="+id) }); len(left) > 0 {
			return fmt.Errorf("still there: %v", left)
		}
		return nil
	})
}

// notice of this kind that a service shows.
func notice(h *house, t *testing.T, service, kind string) string {
	t.Helper()
	var text string
	await(t, service+" to tell "+kind, func() error {
		st := h.service(t, service)
		for _, n := range st.Notices {
			if n.Kind == kind {
				text = n.Text
				return nil
			}
		}
		return fmt.Errorf("it is %s", short(st))
	})
	return text
}

// since rounds for a log of a test.
func since(at time.Time) time.Duration { return time.Since(at).Round(10 * time.Millisecond) }
