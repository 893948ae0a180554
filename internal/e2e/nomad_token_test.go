package e2e

import (
	"context"
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/jobs"
)

// leastRights are those of the policy that is shipped beside the job specs, for
// the double.
var leastRights = nomaddouble.Rights{
	Capabilities: []string{"list-jobs", "read-job", "scale-job", "submit-job", "parse-job", "read-logs"},
	NodeRead:     true,
}

// leastPolicy is that policy.
func leastPolicy(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "jobs", "specs", "pilotlight-policy.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// newToken makes a token with the least rights that suffice.
func (c *cluster) newToken(t *testing.T) (secret string, revoke func()) {
	t.Helper()
	if c.double != nil {
		secret = rand.Text()
		c.double.SetToken(secret, leastRights)
		return secret, func() { c.double.RevokeToken(secret) }
	}
	name := "pilotlight-" + strings.ToLower(rand.Text()[:8])
	c.must(t, http.MethodPost, "/v1/acl/policy/"+name, map[string]string{"Name": name, "Rules": leastPolicy(t)}, nil)
	t.Cleanup(func() {
		_ = c.ask(context.WithoutCancel(t.Context()), http.MethodDelete, "/v1/acl/policy/"+name, nil, nil)
	})
	var made struct{ AccessorID, SecretID string }
	c.must(t, http.MethodPost, "/v1/acl/token", map[string]any{"Name": name, "Type": "client", "Policies": []string{name}}, &made)
	return made.SecretID, func() { c.must(t, http.MethodDelete, "/v1/acl/token/"+made.AccessorID, nil, nil) }
}

// On a real agent it needs one with ACLs, and a management token in NOMAD_TOKEN.
func TestANomadTokenRevokedMidFlightIsOneClearErrorAndHarmsNoWarmRequest(t *testing.T) {
	test := func(t *testing.T, c *cluster) {
		server := startRedis(t)
		services, ids := pairs{}, map[string]string{}
		for _, name := range []string{"warm", "asleep"} {
			id, job := c.task(t, name, "--latency", "20ms")
			ids[name] = id
			services[name] = pair{runs(id, policyOf(name, replicas(0, 1, 4), toZero("10m"))), job}
		}
		args := append(services.arguments(t), "--redis", server.URL(), "--nomad", c.address)
		client := startServe(t, "activator,web", args...)
		secret, revoke := c.newToken(t)
		scaler := startServeWith(t, []string{"NOMAD_TOKEN=" + secret}, t.TempDir(), "scaler", args...)
		if err := client.translate(t.Context(), "/warm/translate", "first").check("first"); err != nil {
			t.Fatal(err)
		}
		warm := startTraffic(t, client, "/warm/translate")

		revoke()
		said := len(scaler.said.String())
		held := inBackground(func() answer { return client.translate(t.Context(), "/asleep/translate", "held") })
		st := client.awaitService(t, "asleep", "blocked", func(st jobs.Status) bool { return st.Blocked != nil })
		if !strings.Contains(strings.ToLower(*st.Blocked), "permission denied") {
			t.Errorf("blocked_reason is %q", *st.Blocked)
		}
		p := send(t.Context(), http.MethodPost, client.data+"/asleep/translate", wanted("hurried"), map[string]string{"Pilotlight-Deadline": "200ms"}).
			wantProblem(t, http.StatusGatewayTimeout, "deadline-passed")
		t.Logf("a caller is told: %s", p.Reason)
		if !strings.Contains(strings.ToLower(p.Reason), "permission denied") {
			t.Errorf("the waiting caller was told %q", p.Reason)
		}
		pause(t, 12*time.Second) // longer than a picture counts as new, and than the pause between two tries
		var denied []string
		for line := range strings.Lines(scaler.said.String()[said:]) {
			if strings.Contains(strings.ToLower(line), "permission denied") {
				denied = append(denied, line)
			}
		}
		t.Logf("the log says:\n%s", strings.Join(denied, ""))
		if len(denied) == 0 || len(denied) > 8 {
			t.Errorf("%d lines say that permission is denied, want a few, not one a second", len(denied))
		}
		if strings.Contains(scaler.said.String(), secret) {
			t.Error("the token is in the log")
		}
		if err := held.pending(); err != nil {
			t.Error(err)
		}

		scaler.signal(syscall.SIGTERM)
		if code := scaler.exit(t); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		valid, _ := c.newToken(t)
		startServeWith(t, []string{"NOMAD_TOKEN=" + valid}, t.TempDir(), "scaler", args...)
		if err := held.get(t).check("held"); err != nil {
			t.Errorf("held meanwhile: %v", err)
		}
		for name, id := range ids {
			client.awaitService(t, name, "ready", func(st jobs.Status) bool { return ready(1)(st) && st.Blocked == nil })
			c.launchedOnce(t, id, 1)
		}
		warm.unbroken(t)
	}
	t.Parallel()
	skipIfShort(t)
	t.Run("double", func(t *testing.T) {
		t.Parallel()
		c := startCluster(t, nomaddouble.Config{})
		c.token = rand.Text()
		c.double.SetToken(c.token, nomaddouble.Rights{Management: true})
		test(t, c)
	})
	t.Run("agent", func(t *testing.T) {
		t.Parallel()
		c := agentCluster(t)
		if c.token == "" {
			t.Skip("NOMAD_TOKEN is not set: an agent with ACLs and a management token is needed")
		}
		test(t, c)
	})
}
