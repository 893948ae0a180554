package web

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/scaler/decide"
)

func TestDecisionsThatChangedNothingAreLeftOutUnlessAPersonOrAFaultCausedThem(t *testing.T) {
	s, services, _ := newTestServer(t)
	now := time.Now()
	var stored []decide.Decision
	for i, rule := range []string{"idle", "level", "any-demand", "load", "max", "min", "asleep", "brake", "down-gate", "paused", "pinned", "unknown-demand", "wake",
		"blocked", "by-hand", "deployed", "other-victim", "purged", "returned", "stopped"} {
		stored = append(stored, decide.Decision{Service: "translate", At: now.Add(-time.Duration(i) * time.Second), From: 1, To: 1, Rule: rule, Reason: "the rule " + rule})
	}
	stored = append(stored, decide.Decision{Service: "translate", At: now.Add(-time.Hour), From: 1, To: 0, Rule: "to-zero", Reason: "the rule to-zero"})
	services.set(func(f *fakeServices) { f.decided = stored })

	var rules []string
	for _, d := range decode[[]decide.Decision](t, call(s, "GET", "/api/v1/decisions", "")) {
		rules = append(rules, d.Rule)
	}
	want := []string{"asleep", "brake", "down-gate", "paused", "pinned", "unknown-demand", "wake",
		"blocked", "by-hand", "deployed", "other-victim", "purged", "returned", "stopped", "to-zero"}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Errorf("API (-want +got):\n%s", diff)
	}
	for path, most := range map[string]int{"/decisions": len(want), "/services/translate": 12} {
		body := call(s, "GET", path, "").Body.String()
		for _, d := range stored {
			told := strings.Contains(body, d.Reason)
			if want := slices.Contains(want[:most], d.Rule); told != want {
				t.Errorf("%s tells %q: %v, want %v", path, d.Rule, told, want)
			}
		}
	}
}

func TestTheLimitIsFilledFromBeyondDecisionsThatAreLeftOut(t *testing.T) {
	s, services, _ := newTestServer(t)
	var stored []decide.Decision
	for i := range 900 {
		d := decide.Decision{Service: "translate", At: time.Now().Add(-time.Duration(i) * time.Second), Rule: "idle"}
		if i%100 == 99 {
			d.To, d.Rule = 1, "any-demand"
		}
		stored = append(stored, d)
	}
	services.set(func(f *fakeServices) { f.decided = stored })
	for limit, want := range map[string]int{"1": 1, "8": 8, "50": 9} {
		if got := decode[[]decide.Decision](t, call(s, "GET", "/api/v1/decisions?limit="+limit, "")); len(got) != want {
			t.Errorf("limit %s: %d decisions, want %d", limit, len(got), want)
		}
	}
}
