package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// pair is a service with its policy and the job that it runs.
type pair struct{ policy, job string }

// pairs by service, to start a house with.
type pairs map[string]pair

// arguments writes policies and job specs into folders and names those.
func (p pairs) arguments(t *testing.T) []string {
	t.Helper()
	policyFiles, jobFiles := map[string]string{}, map[string]string{}
	for name, x := range p {
		policyFiles[name+".hcl"] = x.policy
		jobFiles[name+".nomad.hcl"] = x.job
	}
	return []string{"--policies", folder(t, policyFiles), "--jobs", folder(t, jobFiles)}
}

// house is one Pilotlight process.
type house struct {
	*process
	home                   string // its home folder, which all its children inherit: their mark
	state                  string
	shared                 bool   // other processes live in this home, too
	data, control, metrics string // URLs
}

func skipIfShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("end-to-end tests start real processes; run them without -short")
	}
}

// environment of a process that lives in home and finds the binary by its name.
func environment(home string) []string {
	return append(os.Environ(), "HOME="+home, "PATH="+filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// anyPort lets every listener choose one.
var anyPort = []string{"--data", "127.0.0.1:0", "--control", "127.0.0.1:0", "--metrics", "127.0.0.1:0"}

// startDev runs pilotlight dev and waits for its greeting. The test's end stops it
// with SIGTERM, and wants exit code 0 and no child left.
func startDev(t *testing.T, args ...string) *house {
	t.Helper()
	return startDevIn(t, t.TempDir(), args...)
}

// startDevIn is startDev with the home and state of an earlier one.
func startDevIn(t *testing.T, home string, args ...string) *house {
	t.Helper()
	h := greetedDev(t, home, args...)
	h.awaitReady(t, h.data)
	return h
}

// awaitReady waits until a listener says that all roles can work.
func (h *house) awaitReady(t *testing.T, listener string) {
	t.Helper()
	await(t, "Pilotlight to be ready", func() error {
		if err := h.running(); err != nil {
			t.Fatalf("%v; it said:\n%s", err, h.said)
		}
		return probe(listener + "/readyz")
	})
}

// greetedDev waits for no more than the greeting.
func greetedDev(t *testing.T, home string, args ...string) *house {
	t.Helper()
	skipIfShort(t)
	state := filepath.Join(home, "state")
	h := startHouse(t, nil, home, append([]string{"dev", "--state", state}, args...)...)
	h.state = state
	h.awaitAddresses(t, greetingLine, func(m []string) {
		*map[string]*string{"requests": &h.data, "web UI": &h.control, "metrics": &h.metrics}[m[1]] = m[2]
	})
	return h
}

// servingField of the log line that serve writes when its listeners are open.
var servingField = regexp.MustCompile(`msg=serving .*data=(\S+) control=(\S+) metrics=(\S+)`)

// startServe runs pilotlight serve with the given roles and waits until it serves.
func startServe(t *testing.T, roles string, args ...string) *house {
	t.Helper()
	return startServeIn(t, t.TempDir(), roles, args...)
}

// startServeIn is startServe with the home and state of another one.
func startServeIn(t *testing.T, home, roles string, args ...string) *house {
	t.Helper()
	return startServeWith(t, nil, home, roles, args...)
}

// startServeWith is startServeIn with variables for its environment.
func startServeWith(t *testing.T, env []string, home, roles string, args ...string) *house {
	t.Helper()
	skipIfShort(t)
	h := startHouse(t, env, home, append([]string{"serve", "--role", roles, "--state", filepath.Join(home, "state")}, args...)...)
	h.state = filepath.Join(home, "state")
	h.awaitAddresses(t, servingField, func(m []string) {
		h.data, h.control, h.metrics = "http://"+m[1], "http://"+m[2], "http://"+m[3]
	})
	h.awaitReady(t, h.metrics)
	return h
}

func startHouse(t *testing.T, env []string, home string, args ...string) *house {
	t.Helper()
	h := &house{home: home}
	h.process = startProcess(t, append(environment(home), env...), binary, append(args, anyPort...)...)
	t.Cleanup(func() { h.stop(t) })
	return h
}

// awaitAddresses waits for the lines that name the three addresses.
func (h *house) awaitAddresses(t *testing.T, line *regexp.Regexp, take func(match []string)) {
	t.Helper()
	await(t, "Pilotlight to say where it listens", func() error {
		for text := range strings.Lines(h.said.String()) {
			if m := line.FindStringSubmatch(strings.TrimRight(text, "\n")); m != nil {
				take(m)
			}
		}
		if h.data != "" && h.control != "" && h.metrics != "" {
			return nil
		}
		if err := h.running(); err != nil {
			t.Fatalf("%v; it said:\n%s", err, h.said)
		}
		return fmt.Errorf("it said so far:\n%s", h.said)
	})
}

// stop ends it with SIGTERM, unless it has ended already.
func (h *house) stop(t *testing.T) {
	t.Helper()
	if h.running() != nil {
		return
	}
	h.signal(syscall.SIGTERM)
	if code := h.exit(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	if left := h.children(t); len(left) > 0 && !h.shared {
		t.Errorf("processes %v outlived it", left)
	}
}

// children are all processes that it, or an earlier house in the same home,
// started and that still live. redis-server writes over its environment, but
// works in the folder of its data.
func (h *house) children(t *testing.T) []int {
	t.Helper()
	list := processesWhere(t, func(dir string) bool {
		return startedWith(dir, "HOME="+h.home) || worksIn(dir, h.home)
	})
	return slices.DeleteFunc(list, func(pid int) bool { return pid == h.pid() })
}

// processesOf a replica.
func processesOf(t *testing.T, replica string) []int {
	t.Helper()
	return processesWhere(t, func(dir string) bool { return startedWith(dir, "NOMAD_ALLOC_ID="+replica) })
}

// service as GET /api/v1/services/NAME tells it.
func (h *house) service(t *testing.T, name string) jobs.Status {
	t.Helper()
	var st jobs.Status
	h.read(t, "/api/v1/services/"+name, &st)
	return st
}

// decisions of a service that changed something, newest first.
func (h *house) decisions(t *testing.T, name string) []decide.Decision {
	t.Helper()
	var list []decide.Decision
	h.read(t, "/api/v1/decisions?service="+name, &list)
	return list
}

// coldStarts of a service, newest first.
func (h *house) coldStarts(t *testing.T, name string) []jobs.ColdStart {
	t.Helper()
	var list []jobs.ColdStart
	h.read(t, "/api/v1/cold-starts?service="+name, &list)
	return list
}

// read decodes what the control plane answers.
func (h *house) read(t *testing.T, path string, v any) {
	t.Helper()
	if err := readJSON(h.control+path, v); err != nil {
		t.Fatal(err)
	}
}

// awaitService waits until what the API says of a service passes check.
func (h *house) awaitService(t *testing.T, name, what string, check func(jobs.Status) bool) jobs.Status {
	t.Helper()
	var st jobs.Status
	await(t, name+" to be "+what, func() error {
		st = h.service(t, name)
		if check(st) {
			return nil
		}
		return fmt.Errorf("it is %s", short(st))
	})
	return st
}

// short is a status without what a message does not need.
func short(st jobs.Status) string {
	b, err := json.Marshal(st)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// ready is a check of awaitService: exactly n ready replicas, and no others.
func ready(n int) func(jobs.Status) bool {
	return func(st jobs.Status) bool { return st.Replicas.Ready == n && len(st.Replicas.List) == n }
}

// atZero is a check of awaitService.
func atZero(st jobs.Status) bool { return st.State == jobs.StateZero && len(st.Replicas.List) == 0 }

// operate sends an operator's command.
func (h *house) operate(t *testing.T, name, verb string, replicas int) {
	t.Helper()
	body := `{"reason":"a test"}`
	if verb == jobs.VerbPin {
		body = fmt.Sprintf(`{"reason":"a test","replicas":%d}`, replicas)
	}
	a := send(t.Context(), http.MethodPost, h.control+"/api/v1/services/"+name+"/"+verb, body, nil)
	a.want(t, http.StatusAccepted)
}

// metric reads the values of one metric, by labels as they are written; absent
// ones are not in the map.
func (h *house) metric(t *testing.T, name string) map[string]string {
	t.Helper()
	a := send(t.Context(), http.MethodGet, h.metrics+"/metrics", "", nil)
	a.want(t, http.StatusOK)
	values := map[string]string{}
	for line := range strings.Lines(a.body) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		base, labels, _ := strings.Cut(series, "{")
		if ok && base == name {
			values[strings.TrimSuffix(labels, "}")] = value
		}
	}
	return values
}

// readJSON decodes the answer of a GET.
func readJSON(url string, v any) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("GET %s: %w", url, err)
	}
	return nil
}

// probe wants 200.
func probe(url string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}
