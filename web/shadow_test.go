package web

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// fakeShadows keeps at most one shadow, that of translate.
type fakeShadows struct {
	mu       sync.Mutex
	draft    *jobs.Shadow
	standing *jobs.ShadowStanding
	steps    []jobs.ShadowStep
	decided  []decide.Decision
}

func (f *fakeShadows) SetShadow(_ context.Context, _ string, s jobs.Shadow) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.draft = &s
	return nil
}

func (f *fakeShadows) RemoveShadow(context.Context, string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	there := f.draft != nil
	f.draft = nil
	return there, nil
}

func (f *fakeShadows) Shadow(_ context.Context, service string) (*jobs.Shadow, *jobs.ShadowStanding, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if service != "translate" {
		return nil, nil, nil
	}
	return f.draft, f.standing, nil
}

func (f *fakeShadows) ShadowSteps(context.Context, string, int) ([]jobs.ShadowStep, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.steps, nil
}

func (f *fakeShadows) ShadowDecisions(context.Context, string, int) ([]decide.Decision, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.decided, nil
}

func TestAShadowIsSetReadAndEnded(t *testing.T) {
	shadows := &fakeShadows{}
	s, _, _ := newTestServer(t, func(c *Config) { c.Shadows = shadows })
	const at = "/api/v1/policies/translate/shadow"
	wantStatus(t, call(s, "GET", at, ""), 404)
	wantStatus(t, call(s, "DELETE", at, ""), 404)
	wantStatus(t, call(s, "PUT", at, strings.Replace(draftText1, "max         = 3", "max         = -3", 1), asHCL), 422)
	wantStatus(t, call(s, "PUT", at, draftText1), 415)
	other := strings.NewReplacer(`"translate"`, `"other"`, "/translate", "/other", "translate-apertium", "other-job").Replace(draftText1)
	wantStatus(t, call(s, "PUT", "/api/v1/policies/other/shadow", other, asHCL), 404)
	if shadows.draft != nil {
		t.Fatal("one that was refused was set")
	}
	first := decode[ShadowInfo](t, call(s, "PUT", at+"?comment=longer", draftText1, asHCL, "From: ada"))
	if first.Shadow.Author != "ada" || first.Shadow.Comment != "longer" || first.Shadow.Text != draftText1 || first.Shadow.ID == "" || first.Standing != nil {
		t.Errorf("set: %+v", first)
	}
	second := decode[ShadowInfo](t, call(s, "PUT", at, draftText1, asHCL))
	if second.Shadow.ID == first.Shadow.ID {
		t.Error("the same draft set again is the same shadow: its figures would go on")
	}
	wantStatus(t, call(s, "GET", at, ""), 200)
	wantStatus(t, call(s, "DELETE", at, ""), 204)
	wantStatus(t, call(s, "GET", at, ""), 404)
}

func TestTheDecisionsOfAShadowAreAskedForByTheirOwnName(t *testing.T) {
	shadows := &fakeShadows{decided: []decide.Decision{{Service: "translate", From: 1, To: 2, Rule: "load"}}}
	s, _, _ := newTestServer(t, func(c *Config) { c.Shadows = shadows })
	if list := decode[[]decide.Decision](t, call(s, "GET", "/api/v1/decisions?service=translate&shadow=true", "")); len(list) != 1 || list[0].To != 2 {
		t.Errorf("of the shadow: %v", list)
	}
	if list := decode[[]decide.Decision](t, call(s, "GET", "/api/v1/decisions?service=translate", "")); len(list) != 0 {
		t.Errorf("of the policy: %v", list)
	}
	wantStatus(t, call(s, "GET", "/api/v1/decisions?shadow=true", ""), 400)
	wantStatus(t, call(s, "GET", "/api/v1/decisions?service=translate&shadow=yes", ""), 400)
}

func TestThePageOfAServiceComparesItsShadow(t *testing.T) {
	shadows := &fakeShadows{}
	s, services, _ := newTestServer(t, func(c *Config) { c.Shadows = shadows })
	now := time.Now()
	services.set(func(f *fakeServices) { f.statuses = []jobs.Status{readyStatus("translate", now)} })
	if page := call(s, "GET", "/services/translate", "").Body.String(); strings.Contains(page, "shadow-title") {
		t.Error("without a shadow the page speaks of one")
	}
	form := url.Values{"do": {"shadow"}, "base": {"1"}, "text": {draftText1}, "comment": {"<b>longer</b>"}, "by": {"ada"}}
	w := call(s, "POST", "/policies/translate", form.Encode(), "Content-Type: application/x-www-form-urlencoded")
	if w.Code != 303 || w.Header().Get("Location") != "/services/translate#shadow" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	wantParts := func(parts ...string) {
		t.Helper()
		page := call(s, "GET", "/services/translate", "").Body.String()
		for _, part := range parts {
			if !strings.Contains(page, part) {
				t.Errorf("the page lacks %s", part)
			}
		}
	}
	wantParts("A draft of ada decides beside", "&lt;b&gt;longer&lt;/b&gt;", "It has not decided yet", "It has not changed its count yet.")
	shadows.mu.Lock()
	shadows.standing = &jobs.ShadowStanding{At: now, ObservedS: 7200, Wanted: 2, LiveWanted: 1, DiffersS: 1800, GPUSeconds: 9000, LiveGPUSeconds: 7200, Decisions: 1}
	shadows.steps = []jobs.ShadowStep{{At: now.Add(-2 * time.Hour), Wanted: 1, Live: 1}, {At: now.Add(-30 * time.Minute), Wanted: 2, Live: 1}}
	shadows.decided = []decide.Decision{{Service: "translate", At: now, From: 1, To: 2, Rule: "load", Reason: "9 in flight need 2 replicas"}}
	shadows.mu.Unlock()
	wantParts("It wants 2 replicas; the policy in force wants 1. Over 2h it would have used 2.50 GPU-hours, 25 % more than the 2.00 that were used; the two wanted different counts for 25 % of that time.",
		"wanted by the shadow", `<polyline class="wanted" points="36.0,`, "9 in flight need 2 replicas", "End the shadow")
	shadows.mu.Lock()
	shadows.standing.Failure = "the draft is not valid in this version of the program"
	shadows.mu.Unlock()
	wantParts("It does not decide: the draft is not valid in this version of the program.")
	if w := call(s, "POST", "/policies/translate/shadow", ""); w.Code != 303 || shadows.draft != nil {
		t.Errorf("ended: %d", w.Code)
	}
	wantStatus(t, call(s, "POST", "/policies/translate/shadow", ""), 303) // twice is once
}
