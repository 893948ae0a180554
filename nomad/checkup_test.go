package nomad_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/nomad"
)

func newCheckup(t *testing.T, address, token string) *nomad.Checkup {
	t.Helper()
	c, err := nomad.NewCheckup(nomad.Config{Address: address, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func states(t *testing.T, c *nomad.Checkup) map[string]nomad.RightState {
	t.Helper()
	rights, err := c.Rights(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	ofCluster, err := c.ClusterRights(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]nomad.RightState{}
	for _, r := range append(rights, ofCluster...) {
		got[r.Name] = r.State
	}
	return got
}

func TestRightsAreToldApart(t *testing.T) {
	double, address := startDouble(t, nomaddouble.Config{Delays: nomaddouble.Quick()})
	const yes, no, unknown = nomad.RightGranted, nomad.RightMissing, nomad.RightUnknown
	for secret, c := range map[string]struct {
		rights nomaddouble.Rights
		want   map[string]nomad.RightState
	}{
		"least": {
			nomaddouble.Rights{Capabilities: []string{"list-jobs", "read-job", "scale-job"}, NodeRead: true},
			map[string]nomad.RightState{"list-jobs": yes, "read-job": yes, "scale-job": yes, "parse-job": no, "plan-job": no,
				"register-job": no, "read-logs": unknown, nomad.RightNodeRead: yes, nomad.RightAgentRead: no},
		},
		"submit": {
			nomaddouble.Rights{Capabilities: []string{"submit-job"}, AgentRead: true},
			map[string]nomad.RightState{"list-jobs": no, "read-job": no, "scale-job": yes, "parse-job": yes, "plan-job": yes,
				"register-job": yes, "read-logs": unknown, nomad.RightNodeRead: no, nomad.RightAgentRead: yes},
		},
		"none": {
			nomaddouble.Rights{},
			map[string]nomad.RightState{"list-jobs": no, "read-job": no, "scale-job": no, "parse-job": no, "plan-job": no,
				"register-job": no, "read-logs": unknown, nomad.RightNodeRead: no, nomad.RightAgentRead: no},
		},
	} {
		double.SetToken(secret, c.rights)
		if diff := cmp.Diff(c.want, states(t, newCheckup(t, address, secret))); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", secret, diff)
		}
	}
}

func TestTryingRightsChangesNothing(t *testing.T) {
	double, address := startDouble(t, nomaddouble.Config{Delays: nomaddouble.Quick()})
	before := index(t, address)
	for name, state := range states(t, newCheckup(t, address, "")) {
		if state != nomad.RightGranted && name != "read-logs" {
			t.Errorf("%s is %s where everything is allowed", name, state)
		}
	}
	if after := index(t, address); after != before {
		t.Errorf("the index has moved from %s to %s", before, after)
	}
	if n := len(double.Calls(http.MethodPut, "/v1/jobs")); n != 1 {
		t.Errorf("registering was tried %d times, so this test shows nothing", n)
	}
}

// index of Nomad's last change.
func index(t *testing.T, address string) string {
	t.Helper()
	res, err := http.Get(address + "/v1/jobs")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.Header.Get("X-Nomad-Index")
}

func TestAnEmptyListOfJobsIsNoMissingRight(t *testing.T) {
	_, address := startDouble(t, nomaddouble.Config{Delays: nomaddouble.Quick()})
	if got := states(t, newCheckup(t, address, ""))["list-jobs"]; got != nomad.RightGranted {
		t.Errorf("got %s", got)
	}
}

func TestAGrantIsTheLineThatIsMissing(t *testing.T) {
	for name, want := range map[string]string{
		"scale-job": `namespace "ml" { capabilities = ["scale-job"] }`, "parse-job": `namespace "ml" { capabilities = ["submit-job"] }`,
		nomad.RightNodeRead: `node { policy = "read" }`, nomad.RightAgentRead: `agent { policy = "read" }`,
	} {
		if got := nomad.Grant("ml", nomad.Right{Name: name}); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestAStreamThatIsRefusedIsToldFromOneThatLives(t *testing.T) {
	double, address := startDouble(t, nomaddouble.Config{Delays: nomaddouble.Quick()})
	c := newCheckup(t, address, "")
	if _, err := c.Stream(t.Context(), "default", true); err != nil {
		t.Errorf("a living stream: %v", err)
	}
	double.MuteStreams(true)
	if _, err := c.Stream(t.Context(), "default", true); !errors.Is(err, nomad.ErrSilentStream) {
		t.Errorf("a silent stream: %v", err)
	}
}

// The stream that is tried is the one that is listened to: a token that may not see
// a topic of it is found out before anything depends on it.
func TestTheStreamThatIsTriedIsTheFleets(t *testing.T) {
	asked := make(chan url.Values, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Query()
		fmt.Fprint(w, "{}\n")
	}))
	defer server.Close()
	c := newCheckup(t, server.URL, "")
	for _, ofNodes := range []bool{true, false} {
		if _, err := c.Stream(t.Context(), "ml", ofNodes); err != nil {
			t.Fatal(err)
		}
		got := <-asked
		want := []string{"Allocation:*", "Deployment:*", "Evaluation:*", "Job:*"}
		if ofNodes {
			want = append(want, "Node:*")
		}
		slices.Sort(got["topic"])
		if diff := cmp.Diff(url.Values{"topic": want, "namespace": {"ml"}}, got); diff != "" {
			t.Errorf("of nodes: %t (-want +got)\n%s", ofNodes, diff)
		}
	}
}

func TestManyNamespacesAreHeardInOneStream(t *testing.T) {
	if got := nomad.Scopes([]string{"b", "a", "b"}); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %q", got)
	}
	if got := nomad.Scopes(strings.Split("abcdefghi", "")); !slices.Equal(got, []string{"*"}) {
		t.Errorf("got %q", got)
	}
}

func TestReachTellsAClockThatIsOff(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat))
		fmt.Fprint(w, `"127.0.0.1:4647"`)
	}))
	defer server.Close()
	to, err := newCheckup(t, server.URL, "").Reach(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !to.Clock.Off(time.Second) || to.Clock.Off(2*time.Minute) {
		t.Errorf("a clock that is a minute behind: %+v", to.Clock)
	}
}

func TestWhatIsNoNomadIsSaid(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	defer server.Close()
	if _, err := newCheckup(t, server.URL, "").Reach(t.Context()); err == nil || !strings.Contains(err.Error(), "no Nomad agent") {
		t.Errorf("got %v", err)
	}
}

func TestNodesTellTheirGPUs(t *testing.T) {
	gpus := nomaddouble.GPUs(4)
	gpus.Unhealthy = gpus.IDs[3:]
	_, address := startDouble(t, nomaddouble.Config{Delays: nomaddouble.Quick(),
		Nodes: []nomaddouble.Node{{Name: "gpu-1", Devices: []nomaddouble.Device{gpus}}, {Name: "cpu-1"}}})
	spec, ref := job(t)
	spec = parse(t, strings.Replace(spec.Source, "resources {", "resources {\n        device \"nvidia/gpu\" {}", 1))
	fleet := newFleet(t, address)
	if err := fleet.Ensure(t.Context(), spec, ref, false); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Scale(t.Context(), ref, 2, "a test", nil); err != nil {
		t.Fatal(err)
	}
	c := newCheckup(t, address, "")
	var nodes []nomad.Node
	placed := func() bool {
		var err error
		if nodes, err = c.Nodes(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(nodes) == 2 && len(nodes[1].Devices) == 1 && nodes[1].Devices[0].Used == 2
	}
	for deadline := time.Now().Add(10 * time.Second); !placed(); {
		if time.Now().After(deadline) {
			t.Fatalf("got %+v", nodes)
		}
	}
	want := nomad.NodeDevice{Name: "nvidia/gpu/NVIDIA H100 80GB HBM3", Type: "gpu", Healthy: 3, Unhealthy: 1, Used: 2, Memory: "81559 MiB", Driver: "550.54.15"}
	if diff := cmp.Diff(want, nodes[1].Devices[0]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if nodes[0].Name != "cpu-1" || len(nodes[0].Devices) != 0 || !nodes[0].Places() {
		t.Errorf("got %+v", nodes[0])
	}
	there, err := c.Registered(t.Context(), "default", ref.Job)
	if err != nil || there.Groups["server"].Running != 2 || there.Groups["server"].KillTimeout != 2*time.Second {
		t.Errorf("registered: %+v, %v", there, err)
	}
	if _, err := c.Registered(t.Context(), "default", "nobody"); !errors.Is(err, jobs.ErrUnknownJob) {
		t.Errorf("a job that is not there: %v", err)
	}
}

func TestAFrozenClientIsUnknownAndNotWaitedFor(t *testing.T) {
	double, address := startDouble(t, nomaddouble.Config{Delays: nomaddouble.Quick(), Nodes: []nomaddouble.Node{
		{Name: "a"}, {Name: "b", Skew: time.Minute}}})
	c := newCheckup(t, address, "")
	nodes, err := c.Nodes(t.Context())
	if err != nil || len(nodes) != 2 {
		t.Fatalf("got %+v, %v", nodes, err)
	}
	if err := double.SetStatistics("a", nomaddouble.Statistics{Frozen: true}); err != nil {
		t.Fatal(err)
	}
	if frozen := c.Client(t.Context(), nodes[0]); frozen.Clock != nil || frozen.StatsWhy == "" {
		t.Errorf("a frozen client: %+v", frozen)
	}
	if off := c.Client(t.Context(), nodes[1]); off.Clock == nil || !off.Clock.Off(30*time.Second) {
		t.Errorf("a client whose clock is a minute ahead: %+v", off)
	}
}
