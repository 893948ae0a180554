package web

import (
	"context"
	"errors"
	"html"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// onCluster gives the server a cluster with room for two replicas of two GPUs.
func onCluster(asked *atomic.Int32) func(*Config) {
	return func(cfg *Config) {
		cfg.Room = func(_ context.Context, p *policies.Policy) (jobs.Room, error) {
			asked.Add(1)
			if p.Job != "translate-apertium" {
				return jobs.Room{}, errors.New("asked about " + p.Job)
			}
			return jobs.Room{PerReplica: 2, Device: "nvidia/gpu", GPUs: 4, Nodes: 1, Replicas: 2, Where: "datacenter dc1"}, nil
		}
	}
}

const beyond = "3 × 2 GPUs = 6 GPUs, but the cluster has 4 healthy nvidia/gpu on 1 node in datacenter dc1: at most 2 can run at once"

func TestAMaxBeyondTheClusterIsAWarningAtItsLineWhereverADraftIsJudged(t *testing.T) {
	var asked atomic.Int32
	s, _, _ := newTestServer(t, onCluster(&asked))

	w := call(s, "POST", "/api/v1/policies/translate/validate", translateText, asHCL)
	wantStatus(t, w, 200)
	v := decode[Verdict](t, w)
	if !v.Valid || len(v.Warnings) != 1 || v.Warnings[0].Field != "replicas.max" || v.Warnings[0].Line != 12 || v.Warnings[0].Message != beyond ||
		v.Warnings[0].Allowed != "at most 2, or more nodes" {
		t.Errorf("validate: %+v", v)
	}
	fits := strings.Replace(translateText, "max         = 3", "max         = 2", 1)
	if v := decode[Verdict](t, call(s, "POST", "/api/v1/policies/translate/validate", fits, asHCL)); len(v.Warnings) != 0 {
		t.Errorf("a max that fits: %+v", v)
	}
	clash := strings.Replace(translateText, `policy "translate"`, `policy "other"`, 1)
	if v := decode[Verdict](t, call(s, "POST", "/api/v1/policies/other/validate", clash, asHCL)); v.Valid || len(v.Warnings) != 1 {
		t.Errorf("what is wrong beside others has its warnings too: %+v", v)
	}

	body := html.UnescapeString(post(s, "/policies/translate", "base", "1", "text", translateText, "do", "check").Body.String())
	if !strings.Contains(body, beyond) || !strings.Contains(body, `<li data-line="12">`) || strings.Contains(body, `class="wrong"`) {
		t.Error("the editor does not show it at its line, or as an error")
	}
}

func TestASaveIsNeitherRefusedNorAskedAboutAndTheWarningComesWithTheAnswer(t *testing.T) {
	var asked atomic.Int32
	s, _, _ := newTestServer(t, onCluster(&asked))

	w := post(s, "/policies/translate", "base", "1", "text", "# more\n"+translateText, "do", "save", "by", "ada")
	wantStatus(t, w, 303)
	if asked.Load() != 0 {
		t.Error("the cluster was asked before the save of a form")
	}
	body := html.UnescapeString(call(s, "GET", "/policies/translate?saved=2", "").Body.String())
	if !strings.Contains(body, "Saved as version 2") || !strings.Contains(body, beyond) || !strings.Contains(body, `<li data-line="13">`) {
		t.Error("the page that says saved does not say the warning")
	}

	w = call(s, "PUT", "/api/v1/policies/translate", translateText, asHCL, `If-Match: "2"`)
	wantStatus(t, w, 200)
	want := `299 pilotlight "line 12: replicas.max: ` + beyond + `; allowed: at most 2, or more nodes"`
	if got := w.Header().Get("Warning"); got != want {
		t.Errorf("PUT: Warning is\n%s\nwant\n%s", got, want)
	}
	w = call(s, "POST", "/api/v1/policies/translate/rollback", `{"version":2}`, asJSON)
	wantStatus(t, w, 200)
	if got := w.Header().Get("Warning"); !strings.Contains(got, beyond) {
		t.Errorf("rollback: Warning is %s", got)
	}
	unheard := strings.Replace(translateText, "translate-apertium", "unheard-of", 1)
	w = call(s, "PUT", "/api/v1/policies/translate", unheard, asHCL, `If-Match: "4"`)
	wantStatus(t, w, 200)
	if got := w.Header().Values("Warning"); len(got) != 2 || !strings.Contains(got[1], `line 3: job: no job spec of the id \"unheard-of\" is known here`) {
		t.Errorf("a quote inside a warning: %q", got)
	}
}

func TestAClusterThatIsSilentFailsNoSaveAndIsSaid(t *testing.T) {
	s, _, store := newTestServer(t, func(cfg *Config) {
		cfg.Room = func(ctx context.Context, _ *policies.Policy) (jobs.Room, error) {
			if until, ok := ctx.Deadline(); !ok || time.Until(until) > 2*time.Second {
				t.Error("the cluster is asked without a deadline")
			}
			return jobs.Room{}, errors.New("no answer of Nomad within 1s")
		}
	})
	w := call(s, "PUT", "/api/v1/policies/translate", "# more\n"+translateText, asHCL, takeV1)
	wantStatus(t, w, 200)
	if got := w.Header().Get("Warning"); !strings.Contains(got, "line 13: replicas.max: 3 could not be compared with the GPUs of the cluster (no answer of Nomad within 1s)") {
		t.Errorf("Warning is %s", got)
	}
	if v, err := store.Get(t.Context(), "translate"); err != nil || v.Version != 2 {
		t.Errorf("version %d in force, want 2", v.Version)
	}
}
