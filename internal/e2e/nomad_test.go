package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/internal/stub"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// startNomad runs a Nomad double on a loopback port.
func startNomad(t *testing.T) (*nomaddouble.Server, string) {
	t.Helper()
	double := nomaddouble.New(nomaddouble.Config{Delays: nomaddouble.Quick(), Dir: t.TempDir(), BaseEnv: os.Environ()})
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- double.Run(ctx) }()
	api := httptest.NewServer(double)
	t.Cleanup(func() {
		double.CutStreams()
		api.CloseClientConnections()
		api.Close()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the Nomad double: %v", err)
		}
	})
	return double, api.URL
}

// scaleCall is the body of a scale call, as Nomad reads it.
type scaleCall struct {
	Count   *int
	Target  map[string]string
	Message string
	Meta    map[string]any
}

// scaleCalls that named a count, oldest first.
func scaleCalls(t *testing.T, double *nomaddouble.Server, job string) []scaleCall {
	t.Helper()
	var list []scaleCall
	for _, c := range double.Calls("", "/v1/job/"+job+"/scale") {
		if len(c.Body) == 0 {
			continue // somebody read the status
		}
		var s scaleCall
		if err := json.Unmarshal(c.Body, &s); err != nil {
			t.Fatalf("scale call %s: %v", c.Body, err)
		}
		if s.Count != nil {
			list = append(list, s)
		}
	}
	return list
}

func TestThroughTheNomadAPIAJobIsRegisteredScaledProbedAskedDrainedAndScaledDown(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	double, api := startNomad(t)
	log := filepath.Join(t.TempDir(), "executions")
	// Nomad's client finds the binary by its path, not by its name.
	job := merciless(commandJob("translate", binary, "stub", "--listen", "${NOMAD_ADDR_http}", "--load", "300ms", "--latency", "1s", "--log-file", log))
	h := startServe(t, "activator,scaler,web", append(pairs{
		"translate": {policyOf("translate", replicas(0, 2, 1), toZero("10m")), job},
	}.arguments(t), "--redis", server.URL(), "--nomad", api)...)
	if calls := scaleCalls(t, double, "translate"); len(calls) > 0 {
		t.Errorf("scaled before anybody asked: %+v", calls)
	}

	first := h.translate(t.Context(), "/translate", "first")
	if err := first.check("first"); err != nil {
		t.Fatal(err)
	}
	if got := first.header.Get("Pilotlight-Cold-Start"); got != "true" {
		t.Errorf("Pilotlight-Cold-Start: %q, want true", got)
	}
	st := h.awaitService(t, "translate", "ready", ready(1))
	replica := st.Replicas.List[0]
	if replica.ID != first.header.Get("Pilotlight-Replica") || !strings.Contains(replica.Address, ":") {
		t.Errorf("replica %+v, want %s with its address", replica, first.header.Get("Pilotlight-Replica"))
	}
	if stats := statsOf(t, replica.Address); stats.Replica != replica.ID || stats.Finished != 1 {
		t.Errorf("at the learnt address: %+v, want the allocation of that id, which has answered once", stats)
	}
	registered := slices.DeleteFunc(double.Calls("", "/v1/jobs"), func(c nomaddouble.Call) bool { return len(c.Body) == 0 })
	if len(registered) != 1 {
		t.Errorf("registered %d times, want once", len(registered))
	}

	// It drains: what runs finishes before the count falls.
	running := inBackground(func() answer { return h.translate(t.Context(), "/translate", "running") })
	await(t, "it to run", func() error {
		if n := count(executions(t, log), stub.EventStarted, ""); n != 2 {
			return fmt.Errorf("%d executions", n)
		}
		return nil
	})
	h.operate(t, "translate", jobs.VerbSleep, 0)
	h.awaitService(t, "translate", "draining", func(st jobs.Status) bool { return st.Replicas.Draining == 1 })
	if err := running.get(t).check("running"); err != nil {
		t.Errorf("what ran when it was put to sleep: %v", err)
	}
	h.awaitService(t, "translate", "at zero", atZero)
	await(t, "the allocation's process to be gone", func() error {
		if left := processesOf(t, replica.ID); len(left) > 0 {
			return fmt.Errorf("still there: %v", left)
		}
		return nil
	})

	calls := scaleCalls(t, double, "translate")
	if len(calls) != 2 {
		t.Fatalf("scale calls %+v, want one up and one down", calls)
	}
	for i, want := range []int{1, 0} {
		c := calls[i]
		if *c.Count != want || c.Target["Group"] != "server" {
			t.Errorf("scale call %d: count %d of %v, want %d of group server", i, *c.Count, c.Target, want)
		}
		if c.Message == "" {
			t.Errorf("scale call %d gives no reason", i)
		}
		for _, key := range []string{"service", "rule", "policy_version", "epoch"} {
			if value, ok := c.Meta[key].(string); !ok || value == "" {
				t.Errorf("scale call %d: metadata %v without %s", i, c.Meta, key)
			}
		}
	}
	decided := h.decisions(t, "translate")
	if up := slices.IndexFunc(decided, func(d decide.Decision) bool { return d.To == 1 && d.Reason == calls[0].Message }); up < 0 {
		t.Errorf("the reason that Nomad was given, %q, is of none of the decisions %+v", calls[0].Message, decided)
	}
	if starts := h.coldStarts(t, "translate"); len(starts) != 1 || starts[0].DurMS <= 0 || time.Duration(starts[0].DurMS)*time.Millisecond > patience {
		t.Errorf("cold starts %+v, want the one", starts)
	}
}
