package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/internal/redisdb"
	"github.com/pilotlight/pilotlight/nomad"
	"github.com/pilotlight/pilotlight/policies"
)

// cluster serves a Nomad double for as long as the test lasts, and clears what
// the environment says of another one.
func cluster(t *testing.T, cfg nomaddouble.Config) (*nomaddouble.Server, string) {
	t.Helper()
	for _, name := range []string{"NOMAD_ADDR", "NOMAD_TOKEN", "NOMAD_NAMESPACE", "NOMAD_REGION"} {
		t.Setenv(name, "")
	}
	cfg.Delays, cfg.Dir = nomaddouble.Quick(), t.TempDir()
	double := nomaddouble.New(cfg)
	server := httptest.NewServer(double)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- double.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		double.CutStreams()
		server.CloseClientConnections()
		server.Close()
	})
	return double, server.URL
}

func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// said runs a command line and returns what it printed; want -1 is any exit code.
func said(t *testing.T, want int, args ...string) (out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	if code := run(args, streams{strings.NewReader(""), &o, &e}); code != want && want >= 0 {
		t.Errorf("pilotlight %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, &o, &e)
	}
	return o.String(), e.String()
}

// examined runs doctor and returns its findings by check.
func examined(t *testing.T, want int, args ...string) map[string][]finding {
	t.Helper()
	out, _ := said(t, want, append([]string{"doctor", "-o", "json"}, args...)...)
	var report doctorReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	by := map[string][]finding{}
	for _, f := range report.Findings {
		if f.Found == "" || f.Result != resultOK && f.Result != resultSkipped && f.Do == "" {
			t.Errorf("a finding that does not say what was found and what to do: %+v", f)
		}
		by[f.Check] = append(by[f.Check], f)
	}
	return by
}

func results(found []finding) (all []string) {
	for _, f := range found {
		all = append(all, f.Result)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

const webPolicy = `policy "web" {
  job = "web"
  route { models = ["web"] }
  replicas { max = 4 }
  request { timeout = "2m" }
}
`

const webJob = `job "web" {
  group "server" {
    count = 0
    update { max_parallel = 0 }
    network {
      port "http" {}
    }
    task "model" {
      driver       = "docker"
      kill_timeout = "2m"
      config {
        image = "web:1"
      }
      resources {
        device "nvidia/gpu" {}
      }
    }
  }
}
`

func TestDoctorOfAWellSetClusterFindsNothingWrong(t *testing.T) {
	double, address := cluster(t, nomaddouble.Config{MaxKillTimeout: 10 * time.Minute,
		Nodes: []nomaddouble.Node{{Name: "gpu-1", Devices: []nomaddouble.Device{nomaddouble.GPUs(4)}}}})
	double.SetToken("s3cret", nomaddouble.Rights{Capabilities: []string{"list-jobs", "read-job", "scale-job", "submit-job"}, NodeRead: true, AgentRead: true})
	t.Setenv("NOMAD_TOKEN", "s3cret")
	jobsDir := filepath.Dir(written(t, "web.nomad.hcl", webJob))
	by := examined(t, exitDone, "--nomad", address, "--jobs", jobsDir, "--policies", written(t, "web.hcl", webPolicy))
	for check, found := range by {
		if slices.Contains(results(found), resultError) {
			t.Errorf("%s: %+v", check, found)
		}
	}
	if g := by["gpus"][0]; !strings.Contains(g.Found, "4 of 4 GPUs free") || !strings.Contains(g.Details[0], "driver 550.54.15") {
		t.Errorf("GPUs: %+v", g)
	}
	if j := by["jobs"][0]; j.Result != resultOK || !strings.Contains(j.Found, "the first wake registers") {
		t.Errorf("job: %+v", j)
	}
	if n := len(double.Calls(http.MethodGet, "/v1/jobs")); n == 0 {
		t.Error("the double was not asked, so this test shows nothing")
	}
}

func TestDoctorNamesEachMissingRightWithItsLine(t *testing.T) {
	double, address := cluster(t, nomaddouble.Config{})
	double.SetToken("s3cret", nomaddouble.Rights{Capabilities: []string{"read-job"}})
	t.Setenv("NOMAD_TOKEN", "s3cret")
	out, errs := said(t, exitFailure, "doctor", "--nomad", address)
	for _, want := range []string{
		`error    nomad-rights: in namespace "default" the token lacks list-jobs, to find jobs and their allocations`,
		`→ add to the token's policy: namespace "default" { capabilities = ["scale-job"] }`,
		`→ add to the token's policy: namespace "default" { capabilities = ["submit-job"] }`,
		`→ add to the token's policy: node { policy = "read" }`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Contains(out+errs, "s3cret") {
		t.Error("the token is printed")
	}
}

// The policy that is shipped, quoted and linked is one and the same; a token with it
// lacks nothing, and one with less of it lacks something.
func TestTheLeastPolicyLacksNothingAndHasNothingToSpare(t *testing.T) {
	list := leastPolicy()
	list = list[strings.Index(list, "[")+1 : strings.Index(list, "]")]
	var all []string
	for _, name := range strings.Split(list, ",") {
		if name = strings.Trim(name, ` "`); name != "" {
			all = append(all, name)
		}
	}
	lacks := func(capabilities []string) (names []string) {
		double, address := cluster(t, nomaddouble.Config{})
		double.SetToken("s3cret", nomaddouble.Rights{Capabilities: capabilities, NodeRead: true})
		t.Setenv("NOMAD_TOKEN", "s3cret")
		out, _ := said(t, -1, "doctor", "-o", "json", "--nomad", address)
		var report doctorReport
		if err := json.Unmarshal([]byte(out), &report); err != nil {
			t.Fatal(err)
		}
		for _, f := range report.Findings {
			if f.Check == "nomad-rights" && (f.Result == resultError || f.Result == resultWarning) {
				names = append(names, f.Found)
			}
		}
		return names
	}
	if got := lacks(all); got != nil {
		t.Errorf("with %q: %q", all, got)
	}
	for i, name := range all {
		if name == "read-logs" || name == "parse-job" || name == "scale-job" {
			continue // read-logs can be tried on an allocation only; submit-job implies the others
		}
		if got := lacks(slices.Delete(slices.Clone(all), i, i+1)); got == nil {
			t.Errorf("without %s nothing is missing", name)
		}
	}
	if !slices.Contains(all, "read-logs") || !strings.Contains(leastPolicy(), `node { policy = "read" }`) {
		t.Errorf("got %s", leastPolicy())
	}
}

func TestDoctorTellsAJobThatIsNowhere(t *testing.T) {
	_, address := cluster(t, nomaddouble.Config{})
	by := examined(t, exitFailure, "--nomad", address, "--policies", written(t, "web.hcl", webPolicy))
	if j := by["jobs"][0]; j.Result != resultError || !strings.Contains(j.Found, "no job spec here") {
		t.Errorf("job: %+v", j)
	}
}

func TestDrainsNeedTheTimeThatClientsAllow(t *testing.T) {
	files, err := policies.LoadDir(written(t, "web.hcl", webPolicy))
	if err != nil {
		t.Fatal(err)
	}
	p := files[0].Policies[0] // its requests may take 2m
	for _, c := range []struct {
		client, job time.Duration
		want        string
	}{
		{10 * time.Minute, 2 * time.Minute, resultOK},
		{30 * time.Second, 2 * time.Minute, resultWarning},
		{10 * time.Minute, 20 * time.Second, resultWarning},
	} {
		x := &examination{reached: true, policies: []*policies.Policy{p}, nodes: []nomad.Node{{Name: "a"}, {Name: "b"}},
			clients: []nomad.Client{{SettingsWhy: "refused"}, {MaxKillTimeout: &c.client}},
			jobs:    map[*policies.Policy]knownJob{p: {killTimeout: c.job}}}
		if got := x.checkKillTimeouts(t.Context()); len(got) != 1 || got[0].Result != c.want {
			t.Errorf("client %s, job %s: got %+v", c.client, c.job, got)
		}
	}
	x := &examination{reached: true, nodes: []nomad.Node{{Name: "a"}}, clients: []nomad.Client{{SettingsWhy: "refused"}}}
	if got := x.checkKillTimeouts(t.Context()); got[0].Result != resultSkipped || !strings.Contains(got[0].Found, "refused") {
		t.Errorf("not known: %+v", got)
	}
}

func TestDoctorTellsHowARegisteredJobDiffersFromItsSpec(t *testing.T) {
	_, address := cluster(t, nomaddouble.Config{Nodes: []nomaddouble.Node{{Name: "gpu-1", Devices: []nomaddouble.Device{nomaddouble.GPUs(1)}}}})
	register(t, address, webJob, 0)
	jobsDir := filepath.Dir(written(t, "web.nomad.hcl", webJob))
	policy := written(t, "web.hcl", webPolicy)
	if j := examined(t, exitDone, "--nomad", address, "--jobs", jobsDir, "--policies", policy)["jobs"][0]; j.Result != resultOK {
		t.Errorf("the same: %+v", j)
	}
	jobsDir = filepath.Dir(written(t, "web.nomad.hcl", strings.Replace(webJob, "web:1", "web:2", 1)))
	if j := examined(t, exitDone, "--nomad", address, "--jobs", jobsDir, "--policies", policy)["jobs"][0]; j.Result != resultWarning || !strings.Contains(strings.Join(j.Details, "\n"), `"web:1" → "web:2"`) {
		t.Errorf("another image: %+v", j)
	}
}

func TestDoctorWorksWithNothingThereAndSaysSo(t *testing.T) {
	t.Setenv("NOMAD_ADDR", "")
	by := examined(t, exitFailure, "--nomad", "http://127.0.0.1:1", "--redis", "redis://:hidden@127.0.0.1:1")
	for _, check := range []string{"nomad", "redis"} {
		if by[check][0].Result != resultError || strings.Contains(by[check][0].Found, "hidden") {
			t.Errorf("%s: %+v", check, by[check])
		}
	}
	for _, check := range []string{"nomad-token", "nomad-rights", "nomad-events", "nomad-nodes", "nomad-clients", "kill-timeout"} {
		if got := results(by[check]); !slices.Equal(got, []string{resultSkipped}) {
			t.Errorf("%s: %v", check, got)
		}
	}
	if by = examined(t, exitFailure, "--redis", "redis://127.0.0.1:1"); by["nomad"][0].Result != resultSkipped {
		t.Errorf("with only --redis: %+v", by["nomad"])
	}
}

func TestWhatARedisIsJudgedBy(t *testing.T) {
	yes, no := true, false
	good := redisdb.Facts{Version: "7.2.0", AppendOnly: &yes, AppendFsync: "everysec", Snapshots: &no, MaxMemoryPolicy: "noeviction"}
	for _, c := range []struct {
		name          string
		change        func(*redisdb.Facts)
		check, result string
	}{
		{"as it should be", func(*redisdb.Facts) {}, "", resultOK},
		{"a policy that evicts", func(f *redisdb.Facts) { f.MaxMemoryPolicy = "volatile-lru" }, "redis-memory", resultError},
		{"memory that is nearly full", func(f *redisdb.Facts) { f.Memory, f.MaxMemory = 90, 100 }, "redis-memory", resultWarning},
		{"no persistence", func(f *redisdb.Facts) { f.AppendOnly = &no }, "redis-persistence", resultError},
		{"snapshots", func(f *redisdb.Facts) { f.AppendOnly, f.Snapshots = &no, &yes }, "redis-persistence", resultWarning},
		{"settings that are hidden", func(f *redisdb.Facts) { f.AppendFsync = "" }, "redis-persistence", resultWarning},
		{"a disk that is full", func(f *redisdb.Facts) { f.AppendError = "err" }, "redis-persistence", resultError},
		{"a replica", func(f *redisdb.Facts) { f.Replica = true }, "redis-commands", resultError},
		{"no Lua", func(f *redisdb.Facts) { f.WriteError = errors.New("NOPERM") }, "redis-commands", resultError},
		{"replicas that nobody waits for", func(f *redisdb.Facts) { f.Replicas, f.MinReplicas = 1, new(0) }, "redis-replication", resultWarning},
		{"fewer replicas than are waited for", func(f *redisdb.Facts) { f.Replicas = 1 }, "redis-replication", resultError},
		{"a clock that is off", func(f *redisdb.Facts) { f.Ahead = -3 * time.Second }, "redis-clock", resultWarning},
		{"too old a version", func(f *redisdb.Facts) { f.Version = "4.0.1" }, "redis", resultError},
		{"far away", func(f *redisdb.Facts) { f.RoundTrip = 20 * time.Millisecond }, "redis", resultWarning},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := good
			c.change(&f)
			wait := 0
			if strings.HasSuffix(c.name, "waited for") && c.result == resultError {
				wait = 2
			}
			for _, got := range judgeRedis(f, wait) {
				want := resultOK
				if got.Check == c.check {
					want = c.result
				}
				if got.Result != want || want != resultOK && got.Do == "" {
					t.Errorf("got %+v, want %s", got, want)
				}
			}
		})
	}
}

func TestQueriesOfPoliciesAreTriedOnPrometheusAsTheScalerWould(t *testing.T) {
	answers := map[string]string{
		"good":    `{"metric":{},"value":[NOW,"42"]}`,
		"warned":  `{"metric":{},"value":[NOW,"42"]}`,
		"much":    `{"metric":{},"value":[NOW,"420"]}`,
		"several": `{"metric":{"gpu":"0"},"value":[NOW,"1"]},{"metric":{"gpu":"1"},"value":[NOW,"2"]}`,
		"text":    `{"metric":{},"value":[NOW,"NaN"]}`,
		"empty":   "",
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		results, known := answers[r.FormValue("query")]
		if !known {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"status":"error","error":"parse error"}`))
			return
		}
		results = strings.ReplaceAll(results, "NOW", strconv.FormatInt(time.Now().Unix(), 10))
		warnings := ""
		if r.FormValue("query") == "warned" {
			warnings = `"warnings":["no store reached"],`
		}
		_, _ = w.Write([]byte(`{"status":"success",` + warnings + `"data":{"resultType":"vector","result":[` + results + `]}}`))
	}))
	defer server.Close()
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	x := &examination{prometheus: at}
	for query, want := range map[string]struct{ gpu, metric string }{
		"good":    {resultOK, resultOK},
		"warned":  {resultWarning, resultWarning},
		"much":    {resultError, resultOK}, // no percentage
		"several": {resultError, resultError},
		"text":    {resultError, resultError},
		"empty":   {resultWarning, resultWarning},
		"bad(":    {resultError, resultError},
	} {
		x.policies = []*policies.Policy{{Name: "p", GPU: policies.GPU{Source: "prometheus", Query: query},
			Metrics: []policies.Metric{{Name: "m", Source: "prometheus", Query: query}, {Name: "n", Source: "metrics", Query: "n"}}}}
		if got := x.checkPrometheus(t.Context()); len(got) != 2 || got[0].Result != want.gpu || got[1].Result != want.metric {
			t.Errorf("%s: got %+v, want %v", query, got, want)
		}
	}
	x.prometheus = nil
	if got := x.checkPrometheus(t.Context()); got[0].Result != resultSkipped {
		t.Errorf("none named: %+v", got)
	}
}

func TestACheckThatIsNotDoneInTimeIsAnError(t *testing.T) {
	c := check{name: "slow", limit: time.Millisecond, run: func(ctx context.Context) []finding { <-ctx.Done(); return nil }}
	if got := c.within(t.Context()); len(got) != 1 || got[0].Result != resultError {
		t.Errorf("got %+v", got)
	}
}
