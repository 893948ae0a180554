package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pilotlight/pilotlight/jobs"
)

// put saves a policy's text, based on a version; "" names none.
func (h *house) put(t *testing.T, name, text, base, comment string) answer {
	t.Helper()
	header := map[string]string{"Content-Type": "text/hcl", "Accept": "text/hcl", "From": "a test"}
	if base != "" {
		header["If-Match"] = `"` + base + `"`
	}
	return send(t.Context(), http.MethodPut, h.control+"/api/v1/policies/"+name+"?comment="+url.QueryEscape(comment), text, header)
}

// policy is the text in force, with its ETag.
func (h *house) policy(t *testing.T, name string) (text, tag string) {
	t.Helper()
	a := send(t.Context(), http.MethodGet, h.control+"/api/v1/policies/"+name, "", map[string]string{"Accept": "text/hcl"})
	a.want(t, http.StatusOK)
	return a.body, a.header.Get("ETag")
}

func TestASavedPolicyIsObeyedAtTheNextDecisionAndNoEditIsLost(t *testing.T) {
	t.Parallel()
	one := policyOf("translate", replicas(0, 1, 1), toZero("10m"))
	three := strings.Replace(one, "max = 1", "max = 3", 1)
	h := startDev(t, pairs{"translate": {one, stubJob("translate", "--latency", "1s")}}.arguments(t)...)

	// One replica is all that the policy allows, whatever waits.
	var answers []later
	for i := range 8 {
		answers = append(answers, inBackground(func() answer { return h.translate(t.Context(), "/translate", fmt.Sprint(i)) }))
	}
	h.awaitService(t, "translate", "at its maximum with others waiting", func(st jobs.Status) bool {
		return st.Replicas.Ready == 1 && st.Replicas.Wanted == 1 && st.Demand.Held > 3 && st.PolicyVersion == 1
	})

	wrong := strings.Replace(one, "max = 1", "max = \"many\"", 1)
	p := h.put(t, "translate", wrong, "1", "wrong").wantProblem(t, http.StatusUnprocessableEntity, "invalid-policy")
	line := 1 + strings.Count(wrong[:strings.Index(wrong, "many")], "\n")
	if len(p.Errors) != 1 || p.Errors[0].Field != "replicas.max" || p.Errors[0].Line != line || p.Errors[0].Allowed == "" {
		t.Errorf("errors %+v, want one of replicas.max in line %d with what is allowed", p.Errors, line)
	}
	if text, tag := h.policy(t, "translate"); text != one || tag != `"1"` {
		t.Errorf("after a refused edit the policy is %s:\n%s", tag, text)
	}

	saved := h.put(t, "translate", three, "1", "more at once")
	saved.want(t, http.StatusOK)
	if tag := saved.header.Get("ETag"); tag != `"2"` {
		t.Errorf("ETag %s, want 2", tag)
	}
	h.awaitService(t, "translate", "grown under the new policy", func(st jobs.Status) bool {
		return st.Replicas.Wanted > 1 && st.PolicyVersion == 2
	})
	obeyed := false
	for _, d := range h.decisions(t, "translate") {
		if d.To > 1 && d.PolicyVersion != 2 {
			t.Errorf("decision %+v goes beyond the policy of its version", d)
		}
		obeyed = obeyed || d.To > 1 && d.PolicyVersion == 2
	}
	if !obeyed {
		t.Error("no decision under the new version")
	}

	// A second editor, who has still the first version, loses nothing and
	// overwrites nothing.
	lost := h.put(t, "translate", strings.Replace(one, "max = 1", "max = 2", 1), "1", "mine")
	lost.want(t, http.StatusPreconditionFailed)
	if !strings.Contains(lost.body, `"version":2`) || !strings.Contains(lost.body, "more at once") {
		t.Errorf("the conflict does not name the version that won: %s", lost.body)
	}
	h.put(t, "translate", three, "", "blind").want(t, http.StatusPreconditionRequired)
	if text, tag := h.policy(t, "translate"); text != three || tag != `"2"` {
		t.Errorf("after the conflict the policy is %s:\n%s", tag, text)
	}
	for i, l := range answers {
		if err := l.get(t).check(fmt.Sprint(i)); err != nil {
			t.Errorf("request %d: %v", i, err)
		}
	}
}

func TestPoliciesOutliveARestartAndAWrongFileAtTheNextOneChangesNothing(t *testing.T) {
	t.Parallel()
	startRedis(t) // only to skip where no redis-server is; dev starts one of its own
	home := t.TempDir()
	text := policyOf("translate", replicas(0, 1, 1), toZero("10m"))
	edited := strings.Replace(text, "max = 1", "max = 3", 1)
	args := pairs{"translate": {text, stubJob("translate")}}.arguments(t)
	h := startDevIn(t, home, args...)
	h.put(t, "translate", edited, "1", "kept").want(t, http.StatusOK)
	if err := h.translate(t.Context(), "/translate", "x").check("x"); err != nil {
		t.Fatal(err)
	}
	await(t, "the cold start to be stored", func() error {
		if len(h.coldStarts(t, "translate")) != 1 {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	h.stop(t)

	dir := args[1]
	file := filepath.Join(dir, "translate.hcl")
	if err := os.WriteFile(file, []byte(strings.Replace(text, "max = 1", "maximum = 1", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := startProcess(t, environment(home), binary,
		append(append([]string{"dev", "--state", filepath.Join(home, "state")}, args...), anyPort...)...)
	if code := broken.exit(t); code != 1 && code != 2 {
		t.Errorf("exit code %d with a wrong policy file, want 1 or 2", code)
	}
	if said := broken.said.String(); !strings.Contains(said, file) || !strings.Contains(said, "maximum") {
		t.Errorf("it did not name file and field:\n%s", said)
	}

	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	again := startDevIn(t, home, args...)
	if got, tag := again.policy(t, "translate"); got != edited || tag != `"2"` {
		t.Errorf("after the restart the policy is %s:\n%s\nwant the edited one, version 2", tag, got)
	}
	again.awaitService(t, "translate", "at zero after the restart", func(st jobs.Status) bool {
		return atZero(st) && st.Replicas.Wanted == 0 && st.PolicyVersion == 2
	})
	if starts := again.coldStarts(t, "translate"); len(starts) != 1 {
		t.Errorf("cold starts after the restart: %+v, want the one of before", starts)
	}
	if err := again.translate(t.Context(), "/translate", "y").check("y"); err != nil {
		t.Error(err)
	}
}
