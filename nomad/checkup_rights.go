package nomad

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/nomad/api"
)

// Right is one thing that the token has to be allowed.
type Right struct {
	Name   string // list-jobs, scale-job, …, node read, agent read
	For    string // what Pilotlight does with it
	Needed bool   // without it nothing works; otherwise something is missing
	State  RightState
	Why    string // why it could not be told, if State is RightUnknown
}

// RightState is what a probe of a right found.
type RightState string

// The states.
const (
	RightGranted RightState = "granted"
	RightMissing RightState = "missing"
	RightUnknown RightState = "unknown"
)

// The rights that are no capability of a namespace.
const (
	RightNodeRead  = "node read"
	RightAgentRead = "agent read"
)

// probe of one right: a request that changes nothing, and that is refused with
// 403 if the right is missing.
type probe struct {
	name, purpose string
	needed        bool
	method, path  string
	body          any
}

// Rights tries everything that Pilotlight does in a namespace, without doing it:
// on a job that does not exist, or as a plan. The error is one of the connection.
func (c *Checkup) Rights(ctx context.Context, namespace string) ([]Right, error) {
	absent := "pilotlight-checkup-" + strings.ToLower(rand.Text()) // by all odds nobody's
	job := tinyJob(absent, namespace)
	of := "/v1/job/" + absent
	var rights []Right
	for _, p := range []probe{
		{"list-jobs", "find jobs and their allocations", true, http.MethodGet, "/v1/jobs", nil},
		{"read-job", "read a job, its evaluations and its events", true, http.MethodGet, of, nil},
		// A scale without a count is a note, and of a job that is not there it is a 404.
		{"scale-job", "launch and stop replicas", true, http.MethodPut, of + "/scale",
			map[string]any{"Target": map[string]string{"Group": "none"}, "Message": "checkup"}},
		{"parse-job", "read job specs", false, http.MethodPut, "/v1/jobs/parse", map[string]any{"JobHCL": tinyHCL}},
		{"plan-job", "see how a registered job differs from its spec", false, http.MethodPut, of + "/plan", map[string]any{"Job": job}},
		// An index that no job has: Nomad refuses it after it has looked at the rights.
		{"register-job", "register job specs", false, http.MethodPut, "/v1/jobs",
			map[string]any{"Job": job, "EnforceIndex": true, "JobModifyIndex": uint64(math.MaxInt64)}},
	} {
		r, err := c.ask(ctx, p.method, p.path, namespace, nil, p.body)
		if err != nil {
			return nil, fmt.Errorf("probe %s: %w", p.name, err)
		}
		rights = append(rights, p.judge(r))
	}
	logs, err := c.logsRight(ctx, namespace)
	return append(rights, logs), err
}

func (p probe) judge(r reply) Right {
	right := Right{Name: p.name, For: p.purpose, Needed: p.needed, State: RightGranted}
	switch {
	case r.denied():
		right.State = RightMissing
	case r.status == http.StatusTooManyRequests, r.status >= 500 && !r.ofAbsentJob():
		right.State, right.Why = RightUnknown, r.err().Error()
	}
	return right
}

// ofAbsentJob reports whether an answer says that the job is not there, which
// Nomad says only to who may know.
func (r reply) ofAbsentJob() bool {
	return strings.Contains(string(r.body), "does not exist") || strings.Contains(string(r.body), "not found")
}

// logsRight can be tried on an allocation only.
func (c *Checkup) logsRight(ctx context.Context, namespace string) (Right, error) {
	right := Right{Name: "read-logs", For: "tell the last lines of a replica that failed", State: RightUnknown}
	var allocs []*api.AllocationListStub
	if err := c.read(ctx, "/v1/allocations", namespace, url.Values{"per_page": {"100"}}, &allocs); err != nil {
		right.Why = "allocations cannot be listed"
		return right, nil //nolint:nilerr // said in the right
	}
	right.Why = "there is no allocation to try it on"
	for _, a := range allocs {
		if len(a.TaskStates) == 0 {
			continue
		}
		task := slices.Sorted(maps.Keys(a.TaskStates))[0]
		r, err := c.ask(ctx, http.MethodGet, "/v1/client/fs/logs/"+a.ID, namespace,
			url.Values{"task": {task}, "type": {"stderr"}, "plain": {"true"}, "origin": {"end"}, "offset": {"0"}}, nil)
		switch {
		case err != nil:
			right.Why = "its node did not answer: " + err.Error()
			continue
		case r.denied():
			right.State, right.Why = RightMissing, ""
		case r.status == http.StatusOK:
			right.State, right.Why = RightGranted, ""
		default:
			right.Why = r.err().Error()
			continue
		}
		break
	}
	return right, nil
}

// ClusterRights tries what belongs to no namespace.
func (c *Checkup) ClusterRights(ctx context.Context) ([]Right, error) {
	var rights []Right
	for _, p := range []probe{
		{RightNodeRead, "see GPUs, their use, and node drains", false, http.MethodGet, "/v1/nodes", nil},
		{RightAgentRead, "see the settings of clients (only doctor asks)", false, http.MethodGet, "/v1/agent/self", nil},
	} {
		r, err := c.ask(ctx, p.method, p.path, "", nil, p.body)
		if err != nil {
			return nil, fmt.Errorf("probe %s: %w", p.name, err)
		}
		rights = append(rights, p.judge(r))
	}
	return rights, nil
}

// NamespaceKnown reports whether Nomad has the namespace. One that the token may
// not see counts as known: its rights tell.
func (c *Checkup) NamespaceKnown(ctx context.Context, namespace string) (bool, error) {
	r, err := c.ask(ctx, http.MethodGet, "/v1/namespace/"+url.PathEscape(namespace), "", nil, nil)
	return r.status != http.StatusNotFound || !strings.Contains(string(r.body), "Namespace not found"), err
}

// Grant returns the line of an ACL policy that allows a right, in a namespace
// where it is one of those.
func Grant(namespace string, right Right) string {
	capability := right.Name
	switch right.Name {
	case RightNodeRead:
		return `node { policy = "read" }`
	case RightAgentRead:
		return `agent { policy = "read" }`
	case "parse-job", "plan-job", "register-job":
		capability = "submit-job" // all three, in every version of Nomad
	}
	return fmt.Sprintf("namespace %q { capabilities = [%q] }", namespace, capability)
}

const tinyHCL = `job "checkup" {
  group "none" {
    count = 0
    task "none" {
      driver = "exec"
    }
  }
}`

// tinyJob asks for nothing.
func tinyJob(id, namespace string) json.RawMessage {
	text, _ := json.Marshal(map[string]any{ // strings and numbers always can be
		"ID": id, "Name": id, "Namespace": namespace, "Type": "service", "Datacenters": []string{"*"},
		"TaskGroups": []any{map[string]any{"Name": "none", "Count": 0,
			"Tasks": []any{map[string]any{"Name": "none", "Driver": "exec", "Config": map[string]any{"command": "/bin/true"}}}}},
	})
	return text
}
